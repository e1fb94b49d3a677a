-- When each connection is next looked at without being told to.
CREATE TABLE sweeps (
    tenant_id     uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    due_at        timestamptz NOT NULL,
    CONSTRAINT sweeps_pkey PRIMARY KEY (tenant_id, connection_id),
    CONSTRAINT sweeps_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id)
);
COMMENT ON TABLE sweeps IS 'The calendar: webhooks get lost, so every connection is read again from time to time. A deleted connection has no row.';
COMMENT ON COLUMN sweeps.tenant_id IS 'Who owns the connection.';
COMMENT ON COLUMN sweeps.connection_id IS 'The connection.';
COMMENT ON COLUMN sweeps.due_at IS 'When it is read again.';

-- One calendar for all tenants: what is due is found without asking each of them.
CREATE INDEX sweeps_due_at_idx ON sweeps (due_at);
COMMENT ON INDEX sweeps_due_at_idx IS 'Finds what is due, whoever''s it is.';

ALTER TABLE sweeps ENABLE ROW LEVEL SECURITY;
ALTER TABLE sweeps FORCE ROW LEVEL SECURITY;
CREATE POLICY sweeps_tenant ON sweeps TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY sweeps_system ON sweeps TO discovery_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON sweeps TO discovery_app;
GRANT SELECT, UPDATE (due_at) ON sweeps TO discovery_system;

-- Connections from before there were pulls are read for the first time.
INSERT INTO sweeps (tenant_id, connection_id, due_at)
SELECT tenant_id, id, now() FROM connections WHERE kind = 'aggregator' AND deleted_at IS NULL;
