-- An attempt that the vendor cuts short has read part of what it was told of. The next one reads the rest.
ALTER TABLE deliveries ADD COLUMN heard_at timestamptz;
COMMENT ON COLUMN deliveries.heard_at IS 'When the first attempt began that knew of it and did not come to its end: what was read since then is not read again for it.';
GRANT UPDATE (heard_at) ON deliveries TO discovery_app;

ALTER TABLE cursors
    ADD COLUMN named_at timestamptz,
    ADD COLUMN named_to text COLLATE "C",
    ADD CONSTRAINT cursors_named_check CHECK (num_nulls(named_at, named_to) IN (0, 2));
COMMENT ON COLUMN cursors.named_at IS 'How far rows were read by name, in the order in which attempts heard of them: of those heard of at this instant, up to named_to.';
COMMENT ON COLUMN cursors.named_to IS 'The last name that was read.';

ALTER TABLE pulls
    ADD COLUMN named_at timestamptz,
    ADD COLUMN named_to text COLLATE "C",
    ADD CONSTRAINT pulls_named_check CHECK (num_nulls(named_at, named_to) IN (0, 2));
COMMENT ON COLUMN pulls.named_at IS 'The same as cursors.named_at, for rows that were named without their account.';
COMMENT ON COLUMN pulls.named_to IS 'The last name that was read.';
