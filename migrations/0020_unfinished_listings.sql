-- A listing may be longer than the vendor lets one attempt read. The next attempt goes on where it was.
ALTER TABLE cursors
    ADD COLUMN backfill_from    date,
    ADD COLUMN backfill_to      date,
    ADD COLUMN backfill_at      timestamptz,
    ADD COLUMN listing          text,
    ADD COLUMN listing_mark     text,
    ADD COLUMN listing_total    bigint,
    ADD COLUMN listing_began_at timestamptz,
    ADD COLUMN listing_noted_at timestamptz,
    ADD CONSTRAINT cursors_backfill_check
        CHECK (num_nulls(backfill_from, backfill_to, backfill_at) IN (0, 3)),
    ADD CONSTRAINT cursors_listing_check
        CHECK (num_nulls(listing, listing_mark, listing_began_at, listing_noted_at) IN (0, 4));
COMMENT ON COLUMN cursors.backfill_from IS 'The first of the days that were last read because they were asked for.';
COMMENT ON COLUMN cursors.backfill_to IS 'The last of those days.';
COMMENT ON COLUMN cursors.backfill_at IS 'When the reading of those days began.';
COMMENT ON COLUMN cursors.listing IS 'The listing that was begun and not read to its end: full, or the first and the last day.';
COMMENT ON COLUMN cursors.listing_mark IS 'Where its next page begins, in the vendor''s words; written with the page before.';
COMMENT ON COLUMN cursors.listing_total IS 'How many rows the vendor said it has, if it did: if that changes, the place is lost.';
COMMENT ON COLUMN cursors.listing_began_at IS 'When it was begun.';
COMMENT ON COLUMN cursors.listing_noted_at IS 'When it had come to this place.';
