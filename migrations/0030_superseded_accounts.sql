-- A connection may be led to another item or link, and what it read before is then of the past.
ALTER TABLE accounts
    ADD COLUMN superseded_at timestamptz,
    ADD COLUMN retired_at    timestamptz,
    ADD CONSTRAINT accounts_retired_check CHECK (retired_at IS NULL OR superseded_at IS NOT NULL);
COMMENT ON COLUMN accounts.superseded_at IS 'When the connection was led elsewhere; cleared once it is listed there too. Until then it is not asked for.';
COMMENT ON COLUMN accounts.retired_at IS 'When its rows were removed, because the other place was read whole and does not list it; it is in no list from then on.';
