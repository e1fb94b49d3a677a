-- Connections to databases and REST endpoints: what they offer, and how they were found to be.
ALTER TABLE connections
    ADD COLUMN attributes           jsonb,
    ADD COLUMN health               text,
    ADD COLUMN checked_at           timestamptz,
    ADD COLUMN last_seen_at         timestamptz,
    ADD COLUMN schema_discovered_at timestamptz,
    ADD CONSTRAINT connections_health_check CHECK (
        health IN ('AVAILABLE', 'UNREACHABLE', 'UNKNOWN')),
    ADD CONSTRAINT connections_source_check CHECK (
        kind = 'aggregator'
        OR (attributes IS NOT NULL AND health IS NOT NULL AND account_ref IS NULL
            AND (credential IS NOT NULL OR deleted_at IS NOT NULL))),
    ADD CONSTRAINT connections_database_check CHECK (
        kind <> 'database' OR type IN ('postgres', 'mysql')),
    ADD CONSTRAINT connections_rest_check CHECK (kind <> 'rest' OR type = 'rest-generic');
COMMENT ON COLUMN connections.type IS 'The vendor of an aggregator; the type of the connector that reaches a database or a REST endpoint.';
COMMENT ON COLUMN connections.host IS 'The base URL of an aggregator or a REST endpoint; the host of a database.';
COMMENT ON COLUMN connections.attributes IS 'What else it takes to find a database or a REST endpoint, without secrets.';
COMMENT ON COLUMN connections.health IS 'How the database or REST endpoint was found when it was last looked at.';
COMMENT ON COLUMN connections.checked_at IS 'When it was last looked at; a refresh begins with those that waited longest.';
COMMENT ON COLUMN connections.last_seen_at IS 'When the database or REST endpoint last let us in.';
COMMENT ON COLUMN connections.schema_discovered_at IS 'When its tables were last listed.';

-- Nothing that a look at a source writes is in here, so a look never writes to an index.
CREATE INDEX connections_sources_idx ON connections (tenant_id, kind, config_name, id)
    WHERE kind IN ('database', 'rest') AND deleted_at IS NULL;
COMMENT ON INDEX connections_sources_idx IS 'Serves the lists of database and REST connections.';

CREATE TABLE discovered_tables (
    tenant_id     uuid  NOT NULL,
    connection_id uuid  NOT NULL,
    table_name    text  NOT NULL COLLATE "C",
    columns       jsonb NOT NULL,
    CONSTRAINT discovered_tables_pkey PRIMARY KEY (tenant_id, connection_id, table_name),
    CONSTRAINT discovered_tables_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id),
    -- Part of an index row, which has to fit a third of a page.
    CONSTRAINT discovered_tables_table_name_check CHECK (octet_length(table_name) <= 1024)
);
COMMENT ON TABLE discovered_tables IS 'The tables that a database or REST endpoint was last found to offer.';
COMMENT ON COLUMN discovered_tables.tenant_id IS 'Who owns the connection.';
COMMENT ON COLUMN discovered_tables.connection_id IS 'The connection.';
COMMENT ON COLUMN discovered_tables.table_name IS 'The name, exactly as the source spells it; ordered byte by byte.';
COMMENT ON COLUMN discovered_tables.columns IS 'The columns in the source''s order: name, type, nullable.';

ALTER TABLE discovered_tables ENABLE ROW LEVEL SECURITY;
ALTER TABLE discovered_tables FORCE ROW LEVEL SECURITY;
CREATE POLICY discovered_tables_tenant ON discovered_tables TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE, DELETE ON discovered_tables TO discovery_app;

CREATE TABLE refreshes (
    tenant_id   uuid NOT NULL,
    lease       uuid,
    lease_until timestamptz,
    finished_at timestamptz,
    CONSTRAINT refreshes_pkey PRIMARY KEY (tenant_id),
    CONSTRAINT refreshes_lease_check CHECK ((lease IS NULL) = (lease_until IS NULL))
);
COMMENT ON TABLE refreshes IS 'At most one refresh of a tenant''s connections runs, whichever process it runs in.';
COMMENT ON COLUMN refreshes.tenant_id IS 'Whose connections.';
COMMENT ON COLUMN refreshes.lease IS 'Who runs the refresh; nobody when there is none.';
COMMENT ON COLUMN refreshes.lease_until IS 'When whoever runs it is given up.';
COMMENT ON COLUMN refreshes.finished_at IS 'When every connection was last looked at by one refresh.';

ALTER TABLE refreshes ENABLE ROW LEVEL SECURITY;
ALTER TABLE refreshes FORCE ROW LEVEL SECURITY;
CREATE POLICY refreshes_tenant ON refreshes TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON refreshes TO discovery_app;
