-- Connections of every kind share one table, one id space and one name space per tenant.
CREATE TABLE connections (
    tenant_id   uuid        NOT NULL,
    id          uuid        NOT NULL,
    kind        text        NOT NULL,
    type        text        NOT NULL,
    config_name text        NOT NULL COLLATE "C",
    host        text        NOT NULL,
    account_ref text,
    credential  bytea,
    version     bigint      NOT NULL,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz,
    CONSTRAINT connections_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT connections_kind_check CHECK (kind IN ('aggregator', 'database', 'rest')),
    CONSTRAINT connections_config_name_check CHECK (char_length(config_name) BETWEEN 1 AND 100),
    -- Both are part of an index row, which has to fit a third of a page.
    CONSTRAINT connections_host_check CHECK (octet_length(host) <= 512),
    CONSTRAINT connections_account_ref_check CHECK (char_length(account_ref) BETWEEN 1 AND 200),
    CONSTRAINT connections_aggregator_check CHECK (
        kind <> 'aggregator'
        OR (type IN ('pluggy', 'belvo') AND account_ref IS NOT NULL
            AND (credential IS NOT NULL OR deleted_at IS NOT NULL))
    )
);
COMMENT ON TABLE connections IS 'What a tenant reaches data through: aggregators, databases, REST endpoints.';
COMMENT ON COLUMN connections.tenant_id IS 'Who owns it.';
COMMENT ON COLUMN connections.id IS 'Its identifier, unique over all kinds.';
COMMENT ON COLUMN connections.kind IS 'aggregator, database or rest; each surface shows only its own.';
COMMENT ON COLUMN connections.type IS 'The vendor of an aggregator; the engine of a database.';
COMMENT ON COLUMN connections.config_name IS 'The tenant''s name for it; ordered byte by byte, the same on every machine.';
COMMENT ON COLUMN connections.host IS 'The base URL of an aggregator.';
COMMENT ON COLUMN connections.account_ref IS 'What the vendor calls the data: a Pluggy item, a Belvo link.';
COMMENT ON COLUMN connections.credential IS 'The sealed credential; wiped when the connection is deleted.';
COMMENT ON COLUMN connections.version IS 'Counts changes; the entity tag.';
COMMENT ON COLUMN connections.created_at IS 'When it was made.';
COMMENT ON COLUMN connections.updated_at IS 'When it last changed.';
COMMENT ON COLUMN connections.deleted_at IS 'When it was deleted; the row stays, for what refers to it.';

CREATE UNIQUE INDEX connections_tenant_id_config_name_key
    ON connections (tenant_id, config_name) WHERE deleted_at IS NULL;
COMMENT ON INDEX connections_tenant_id_config_name_key IS 'A living name is unique in its tenant; a deleted one is free again.';
-- The list reads one of these and nothing else, wherever the page begins.
CREATE INDEX connections_aggregators_idx
    ON connections (tenant_id, config_name, id)
    INCLUDE (type, host, account_ref, version, created_at, updated_at)
    WHERE kind = 'aggregator' AND deleted_at IS NULL;
COMMENT ON INDEX connections_aggregators_idx IS 'Serves the list of aggregator connections without touching the table.';
CREATE INDEX connections_aggregators_by_vendor_idx
    ON connections (tenant_id, type, config_name, id)
    INCLUDE (host, account_ref, version, created_at, updated_at)
    WHERE kind = 'aggregator' AND deleted_at IS NULL;
COMMENT ON INDEX connections_aggregators_by_vendor_idx IS 'Serves the list of one vendor''s connections without touching the table.';

ALTER TABLE connections ENABLE ROW LEVEL SECURITY;
ALTER TABLE connections FORCE ROW LEVEL SECURITY;
CREATE POLICY connections_tenant ON connections TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON connections TO discovery_app;
