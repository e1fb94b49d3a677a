-- The inbox: every webhook that was accepted.
CREATE TABLE deliveries (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    token_id      uuid        NOT NULL,
    event         text        NOT NULL,
    event_key     text        NOT NULL,
    key_expires   boolean     NOT NULL,
    body          bytea       NOT NULL,
    outcome       text        NOT NULL,
    hint          text        NOT NULL,
    hint_account  text,
    hint_since    timestamptz,
    hint_ids      text[],
    pull_id       uuid,
    received_at   timestamptz NOT NULL,
    CONSTRAINT deliveries_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT deliveries_outcome_check CHECK (outcome IN ('queued', 'ignored', 'unmatched')),
    CONSTRAINT deliveries_hint_check CHECK (
        hint IN ('nothing', 'source', 'created', 'updated', 'deleted', 'window', 'full')),
    CONSTRAINT deliveries_pull_check CHECK ((outcome = 'queued') = (pull_id IS NOT NULL))
);
COMMENT ON TABLE deliveries IS 'Accepted webhooks, each event of a connection once. Kept for 30 days.';
COMMENT ON COLUMN deliveries.tenant_id IS 'Who owns the connection.';
COMMENT ON COLUMN deliveries.id IS 'Its identifier, made of the connection and the event''s key: the same event comes to the same row.';
COMMENT ON COLUMN deliveries.connection_id IS 'The connection it came in for. Not a foreign key: the inbox is written thousands of times a second, and a deleted connection keeps its row.';
COMMENT ON COLUMN deliveries.token_id IS 'The token it came in by.';
COMMENT ON COLUMN deliveries.event IS 'What the vendor calls the kind of event.';
COMMENT ON COLUMN deliveries.event_key IS 'What the vendor''s redeliveries of one event have in common.';
COMMENT ON COLUMN deliveries.key_expires IS 'Whether the same key may stand for another event after an hour.';
COMMENT ON COLUMN deliveries.body IS 'What was sent, byte for byte.';
COMMENT ON COLUMN deliveries.outcome IS 'What became of it.';
COMMENT ON COLUMN deliveries.hint IS 'What it says may have changed.';
COMMENT ON COLUMN deliveries.hint_account IS 'In which account, by the vendor''s name.';
COMMENT ON COLUMN deliveries.hint_since IS 'Since when, by the vendor''s clock.';
COMMENT ON COLUMN deliveries.hint_ids IS 'Which rows, by the vendor''s names.';
COMMENT ON COLUMN deliveries.pull_id IS 'The pull that it asked for.';
COMMENT ON COLUMN deliveries.received_at IS 'When it came in.';

CREATE INDEX deliveries_tenant_id_connection_id_received_at_id_idx
    ON deliveries (tenant_id, connection_id, received_at, id);
COMMENT ON INDEX deliveries_tenant_id_connection_id_received_at_id_idx IS 'Lists the deliveries of a connection, and finds the hints of a pull.';

ALTER TABLE deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE deliveries FORCE ROW LEVEL SECURITY;
CREATE POLICY deliveries_tenant ON deliveries TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
-- The intake writes what came in for every tenant at once, and the pruning clears it away.
CREATE POLICY deliveries_system ON deliveries TO discovery_system USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE (pull_id, outcome) ON deliveries TO discovery_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON deliveries TO discovery_system;
