-- Who did what. Rows are only ever added, and each holds the hash of the one before it.
CREATE TABLE audit_log (
    tenant_id     uuid        NOT NULL,
    sequence      bigint      NOT NULL,
    at            timestamptz NOT NULL,
    subject       text        NOT NULL,
    action        text        NOT NULL,
    resource_id   uuid        NOT NULL,
    previous_hash bytea       NOT NULL,
    hash          bytea       NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (tenant_id, sequence),
    CONSTRAINT audit_log_hash_check CHECK (octet_length(hash) = 32 AND octet_length(previous_hash) = 32)
);
COMMENT ON TABLE audit_log IS 'Who did what to which connection or token; append-only, a hash chain per tenant.';
COMMENT ON COLUMN audit_log.tenant_id IS 'Whose chain it is.';
COMMENT ON COLUMN audit_log.sequence IS 'The place in the chain, from 1, without gaps.';
COMMENT ON COLUMN audit_log.at IS 'When it was done.';
COMMENT ON COLUMN audit_log.subject IS 'The subject of the caller''s token.';
COMMENT ON COLUMN audit_log.action IS 'What was done, as resource.verb.';
COMMENT ON COLUMN audit_log.resource_id IS 'What it was done to.';
COMMENT ON COLUMN audit_log.previous_hash IS 'The hash of the entry before; zeros in the first.';
COMMENT ON COLUMN audit_log.hash IS 'SHA-256 over the previous hash and every other column.';

ALTER TABLE audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_log FORCE ROW LEVEL SECURITY;
CREATE POLICY audit_log_tenant ON audit_log TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
-- The chains are verified by the operator's check, tenant after tenant.
CREATE POLICY audit_log_system ON audit_log FOR SELECT TO discovery_system USING (true);
GRANT SELECT, INSERT ON audit_log TO discovery_app;
GRANT SELECT ON audit_log TO discovery_system;
