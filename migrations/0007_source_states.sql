-- What is known of the health of each connection.
CREATE TABLE source_states (
    tenant_id         uuid          NOT NULL,
    connection_id     uuid          NOT NULL,
    credential        text          NOT NULL,
    credential_reason text          NOT NULL,
    credential_since  timestamptz   NOT NULL,
    source            text          NOT NULL,
    source_reason     text          NOT NULL,
    source_since      timestamptz   NOT NULL,
    recent_tests      timestamptz[] NOT NULL DEFAULT '{}',
    CONSTRAINT source_states_pkey PRIMARY KEY (tenant_id, connection_id),
    CONSTRAINT source_states_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id),
    CONSTRAINT source_states_credential_check CHECK (
        credential IN ('ok', 'invalid', 'disabled', 'throttled', 'unreachable', 'unknown')),
    CONSTRAINT source_states_source_check CHECK (
        source IN ('ok', 'updating', 'waiting_user', 'login_error', 'outdated',
                   'consent_expired', 'gone', 'unknown')),
    CONSTRAINT source_states_recent_tests_check CHECK (cardinality(recent_tests) <= 10)
);
COMMENT ON TABLE source_states IS 'The verdicts of a connection''s status that come from looking at the vendor. A connection without a row was never looked at.';
COMMENT ON COLUMN source_states.tenant_id IS 'Who owns the connection.';
COMMENT ON COLUMN source_states.connection_id IS 'The connection.';
COMMENT ON COLUMN source_states.credential IS 'Whether the vendor accepts the credential.';
COMMENT ON COLUMN source_states.credential_reason IS 'Why the credential''s verdict is what it is, as a stable word.';
COMMENT ON COLUMN source_states.credential_since IS 'When the credential''s verdict became what it is.';
COMMENT ON COLUMN source_states.source IS 'How the item or link at the vendor does.';
COMMENT ON COLUMN source_states.source_reason IS 'Why the source''s verdict is what it is, as a stable word.';
COMMENT ON COLUMN source_states.source_since IS 'When the source''s verdict became what it is.';
COMMENT ON COLUMN source_states.recent_tests IS 'When the connection was last tested by hand; at most ten in a minute are let through.';

ALTER TABLE source_states ENABLE ROW LEVEL SECURITY;
ALTER TABLE source_states FORCE ROW LEVEL SECURITY;
CREATE POLICY source_states_tenant ON source_states TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON source_states TO discovery_app;
