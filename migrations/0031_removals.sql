-- Deleted connections whose rows are still to be removed. They may be many, so that it takes a while.
CREATE TABLE removals (
    tenant_id     uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    asked_at      timestamptz NOT NULL,
    place         text        NOT NULL COLLATE "C" DEFAULT '',
    CONSTRAINT removals_pkey PRIMARY KEY (tenant_id, connection_id),
    CONSTRAINT removals_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id)
);
COMMENT ON TABLE removals IS 'Deleted connections whose transactions are still to be removed, some at a time. One that is done has no row.';
COMMENT ON COLUMN removals.tenant_id IS 'Who owned the connection.';
COMMENT ON COLUMN removals.connection_id IS 'The connection.';
COMMENT ON COLUMN removals.asked_at IS 'When it was deleted.';
COMMENT ON COLUMN removals.place IS 'How far it has come: everything up to this name of the vendor is removed.';

ALTER TABLE removals ENABLE ROW LEVEL SECURITY;
ALTER TABLE removals FORCE ROW LEVEL SECURITY;
CREATE POLICY removals_tenant ON removals TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
CREATE POLICY removals_system ON removals TO discovery_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON removals TO discovery_app;
GRANT SELECT ON removals TO discovery_system;

-- What was deleted before there were removals.
INSERT INTO removals (tenant_id, connection_id, asked_at)
SELECT tenant_id, id, deleted_at FROM connections
WHERE kind = 'aggregator' AND deleted_at IS NOT NULL;
