-- How far each account was read.
CREATE TABLE cursors (
    tenant_id     uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    account_id    uuid        NOT NULL,
    watermark     timestamptz,
    window_at     timestamptz,
    full_at       timestamptz,
    CONSTRAINT cursors_pkey PRIMARY KEY (tenant_id, connection_id, account_id),
    CONSTRAINT cursors_account_fkey
        FOREIGN KEY (tenant_id, account_id) REFERENCES accounts (tenant_id, id)
);
COMMENT ON TABLE cursors IS 'How far each account was read; moves only when a listing was read to its end.';
COMMENT ON COLUMN cursors.tenant_id IS 'Who owns it.';
COMMENT ON COLUMN cursors.connection_id IS 'The connection.';
COMMENT ON COLUMN cursors.account_id IS 'The account.';
COMMENT ON COLUMN cursors.watermark IS 'Everything that the vendor took in before this instant was read.';
COMMENT ON COLUMN cursors.window_at IS 'When the recent past was last read as a whole.';
COMMENT ON COLUMN cursors.full_at IS 'When everything was last read.';

ALTER TABLE cursors ENABLE ROW LEVEL SECURITY;
ALTER TABLE cursors FORCE ROW LEVEL SECURITY;
CREATE POLICY cursors_tenant ON cursors TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON cursors TO discovery_app;
