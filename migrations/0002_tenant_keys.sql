-- One data key per tenant; everything sealed for the tenant is sealed with it.
CREATE TABLE tenant_keys (
    tenant_id   uuid        NOT NULL,
    ring_key_id text        NOT NULL,
    wrapped_key bytea       NOT NULL,
    created_at  timestamptz NOT NULL,
    wrapped_at  timestamptz NOT NULL,
    CONSTRAINT tenant_keys_pkey PRIMARY KEY (tenant_id)
);
COMMENT ON TABLE tenant_keys IS 'The data key of each tenant, wrapped by a key of the key ring. Deleting a row makes every secret of its tenant unreadable for good.';
COMMENT ON COLUMN tenant_keys.tenant_id IS 'Whose key it is.';
COMMENT ON COLUMN tenant_keys.ring_key_id IS 'The key ring entry that wraps it.';
COMMENT ON COLUMN tenant_keys.wrapped_key IS 'The data key, encrypted.';
COMMENT ON COLUMN tenant_keys.created_at IS 'When the data key was made.';
COMMENT ON COLUMN tenant_keys.wrapped_at IS 'When it was last wrapped.';

ALTER TABLE tenant_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenant_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant_keys_tenant ON tenant_keys TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
-- Re-wrapping walks the tenants.
CREATE POLICY tenant_keys_system ON tenant_keys TO discovery_system
    USING (true) WITH CHECK (true);
GRANT SELECT, INSERT ON tenant_keys TO discovery_app;
GRANT SELECT, UPDATE (ring_key_id, wrapped_key, wrapped_at) ON tenant_keys TO discovery_system;
