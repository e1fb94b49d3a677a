-- Accounts, as they were last pulled.
CREATE TABLE accounts (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    vendor_id     text        NOT NULL COLLATE "C",
    type          text        NOT NULL,
    subtype       text,
    name          text,
    masked_number text,
    currency      text,
    balance       numeric,
    bank_id       text,
    first_seen_at timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CONSTRAINT accounts_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT accounts_tenant_id_connection_id_vendor_id_key
        UNIQUE (tenant_id, connection_id, vendor_id),
    CONSTRAINT accounts_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id),
    CONSTRAINT accounts_type_check CHECK (type IN ('bank', 'card', 'loan', 'investment', 'other'))
);
COMMENT ON TABLE accounts IS 'The accounts behind a connection, as they were last pulled.';
COMMENT ON COLUMN accounts.tenant_id IS 'Who owns it.';
COMMENT ON COLUMN accounts.id IS 'Its identifier.';
COMMENT ON COLUMN accounts.connection_id IS 'The connection it was pulled through.';
COMMENT ON COLUMN accounts.vendor_id IS 'What the vendor calls it.';
COMMENT ON COLUMN accounts.type IS 'What kind it is; decides how the vendor''s signs are read.';
COMMENT ON COLUMN accounts.subtype IS 'The vendor''s finer word for the kind.';
COMMENT ON COLUMN accounts.name IS 'What the bank calls it.';
COMMENT ON COLUMN accounts.masked_number IS 'The last digits of its number; the whole number is never stored.';
COMMENT ON COLUMN accounts.currency IS 'What its balance is counted in.';
COMMENT ON COLUMN accounts.balance IS 'What the holder has (positive) or owes (negative) there.';
COMMENT ON COLUMN accounts.bank_id IS 'The bank''s own identifier; outlives a connection that is made anew.';
COMMENT ON COLUMN accounts.first_seen_at IS 'When it was first pulled.';
COMMENT ON COLUMN accounts.updated_at IS 'When a pull last found it changed.';

ALTER TABLE accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE accounts FORCE ROW LEVEL SECURITY;
CREATE POLICY accounts_tenant ON accounts TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON accounts TO discovery_app;
