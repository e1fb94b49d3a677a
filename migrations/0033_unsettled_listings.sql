-- While a listing is read its rows may move from page to page, and one that moves to a page that was read
-- is in none. Such a listing is begun anew, but not for ever.
ALTER TABLE pulls ADD COLUMN unsettled bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN pulls.unsettled IS 'Listings in which rows moved each time they were read; they are read again by the next pull that asks for them.';
