-- Transactions, as they are now. What a row was before is in transaction_versions.
--
-- This is the table that pulls are fast or slow by: it has no foreign key, and no index that is not
-- read by a query named beside it.
CREATE TABLE transactions (
    tenant_id                  uuid        NOT NULL,
    connection_id              uuid        NOT NULL,
    account_id                 uuid        NOT NULL,
    id                         uuid        NOT NULL,
    pull_id                    uuid        NOT NULL,
    date                       timestamptz NOT NULL,
    first_seen_at              timestamptz NOT NULL,
    updated_at                 timestamptz NOT NULL,
    changed_xid                xid8        NOT NULL DEFAULT pg_current_xact_id(),
    added_xid                  xid8        NOT NULL DEFAULT pg_current_xact_id(),
    civil_date                 date        NOT NULL,
    version                    integer     NOT NULL DEFAULT 1,
    vendor_id                  text        NOT NULL COLLATE "C",
    direction                  text        NOT NULL,
    status                     text        NOT NULL,
    amount                     numeric     NOT NULL,
    currency                   text        NOT NULL,
    amount_in_account_currency numeric,
    description                text        NOT NULL,
    details                    jsonb       NOT NULL,
    content_hash               bytea       NOT NULL,
    deleted_at                 timestamptz,
    missing_since              timestamptz,
    missing_pull_id            uuid,
    replaces_id                uuid,
    CONSTRAINT transactions_pkey PRIMARY KEY (tenant_id, connection_id, vendor_id),
    CONSTRAINT transactions_tenant_id_id_key UNIQUE (tenant_id, id),
    CONSTRAINT transactions_direction_check CHECK (direction IN ('debit', 'credit')),
    CONSTRAINT transactions_status_check CHECK (status IN ('pending', 'posted')),
    CONSTRAINT transactions_content_hash_check CHECK (octet_length(content_hash) = 16),
    CONSTRAINT transactions_missing_check CHECK ((missing_since IS NULL) = (missing_pull_id IS NULL))
);
COMMENT ON TABLE transactions IS 'Pulled transactions as they are now, tombstones included.';
COMMENT ON COLUMN transactions.tenant_id IS 'Who owns it.';
COMMENT ON COLUMN transactions.connection_id IS 'The connection it was pulled through.';
COMMENT ON COLUMN transactions.account_id IS 'The account it belongs to. Not a foreign key: it would be looked up for every row of every page.';
COMMENT ON COLUMN transactions.id IS 'Its identifier, ours.';
COMMENT ON COLUMN transactions.pull_id IS 'The pull that made it what it is now.';
COMMENT ON COLUMN transactions.date IS 'When it happened.';
COMMENT ON COLUMN transactions.first_seen_at IS 'When it was first pulled.';
COMMENT ON COLUMN transactions.updated_at IS 'When it became what it is now.';
COMMENT ON COLUMN transactions.changed_xid IS 'The database transaction that last changed it: its place in the change feed.';
COMMENT ON COLUMN transactions.added_xid IS 'The database transaction by which it appeared, or appeared again after a deletion.';
COMMENT ON COLUMN transactions.civil_date IS 'The calendar day that a book-keeper would write down.';
COMMENT ON COLUMN transactions.version IS 'Counts what the change feed told of it.';
COMMENT ON COLUMN transactions.vendor_id IS 'What the vendor calls it.';
COMMENT ON COLUMN transactions.direction IS 'Which way the money went, from the holder''s view.';
COMMENT ON COLUMN transactions.status IS 'Whether the bank still may change its mind.';
COMMENT ON COLUMN transactions.amount IS 'Signed from the holder''s view: money out is negative, for cards too.';
COMMENT ON COLUMN transactions.currency IS 'What the amount is counted in.';
COMMENT ON COLUMN transactions.amount_in_account_currency IS 'The same in the account''s currency, where that is another one.';
COMMENT ON COLUMN transactions.description IS 'What the bank wrote on it.';
COMMENT ON COLUMN transactions.details IS 'What only some have: category, payment method, counterparty, references, card.';
COMMENT ON COLUMN transactions.content_hash IS 'Stands for all that the vendor tells of it: a row that comes with the same one is not written.';
COMMENT ON COLUMN transactions.deleted_at IS 'When it was found gone at the vendor.';
COMMENT ON COLUMN transactions.missing_since IS 'When a complete listing first lacked it; a second one that agrees deletes it.';
COMMENT ON COLUMN transactions.missing_pull_id IS 'The pull of that listing: the same pull can''t agree with itself.';
COMMENT ON COLUMN transactions.replaces_id IS 'The deleted transaction that this one is the same as, under another name of the vendor.';
COMMENT ON CONSTRAINT transactions_pkey ON transactions IS 'Finds the rows of a page by the vendor''s names.';
COMMENT ON CONSTRAINT transactions_tenant_id_id_key ON transactions IS 'Finds one by its identifier.';

-- Not only of the living rows: tombstones are few, and without statistics the planner believes that
-- next to nothing lives, which makes a partial index over a whole tenant look as good as any.
CREATE INDEX transactions_of_account_idx ON transactions (tenant_id, account_id, civil_date, id);
COMMENT ON INDEX transactions_of_account_idx IS 'Lists an account''s rows by day, and a connection''s account by account; reads the rows of a window.';
CREATE INDEX transactions_of_tenant_idx ON transactions (tenant_id, civil_date, id);
COMMENT ON INDEX transactions_of_tenant_idx IS 'Lists a tenant''s rows by day.';
CREATE INDEX transactions_changes_idx ON transactions (tenant_id, changed_xid, id);
COMMENT ON INDEX transactions_changes_idx IS 'Serves the change feed.';
CREATE INDEX transactions_tombstones_idx
    ON transactions (tenant_id, account_id, deleted_at) WHERE deleted_at IS NOT NULL;
COMMENT ON INDEX transactions_tombstones_idx IS 'Finds what a new row may replace; costs nothing until something is deleted.';
CREATE UNIQUE INDEX transactions_replacements_idx
    ON transactions (tenant_id, replaces_id) WHERE replaces_id IS NOT NULL;
COMMENT ON INDEX transactions_replacements_idx IS 'A row is replaced by one other at most.';

ALTER TABLE transactions ENABLE ROW LEVEL SECURITY;
ALTER TABLE transactions FORCE ROW LEVEL SECURITY;
CREATE POLICY transactions_tenant ON transactions TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON transactions TO discovery_app;
