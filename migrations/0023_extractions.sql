-- Extractions: queue and history in one, as pulls are.
CREATE TABLE extractions (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    status        text        NOT NULL,
    request       jsonb       NOT NULL,
    due_at        timestamptz NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0,
    failures      integer     NOT NULL DEFAULT 0,
    lease         uuid,
    lease_until   timestamptz,
    tables        integer     NOT NULL DEFAULT 0,
    chunks        integer     NOT NULL DEFAULT 0,
    rows          bigint      NOT NULL DEFAULT 0,
    bytes         bigint      NOT NULL DEFAULT 0,
    error_class   text,
    error_message text,
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    rows_until    timestamptz,
    CONSTRAINT extractions_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT extractions_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id),
    CONSTRAINT extractions_status_check CHECK (
        status IN ('PENDING', 'SUBMITTED', 'EXTRACTING', 'COMPLETE', 'FAILED', 'CANCELLED')),
    CONSTRAINT extractions_lease_check CHECK (
        (status IN ('SUBMITTED', 'EXTRACTING')) = (lease IS NOT NULL))
);
COMMENT ON TABLE extractions IS 'Every extraction there ever was: those that are pending are the queue, the others its history.';
COMMENT ON COLUMN extractions.tenant_id IS 'Who owns it.';
COMMENT ON COLUMN extractions.id IS 'Its identifier.';
COMMENT ON COLUMN extractions.connection_id IS 'Whose tables are read.';
COMMENT ON COLUMN extractions.status IS 'Where it is in its life; SUBMITTED and EXTRACTING have a worker.';
COMMENT ON COLUMN extractions.request IS 'What was asked for: tables, days, filters.';
COMMENT ON COLUMN extractions.due_at IS 'Not to be begun before.';
COMMENT ON COLUMN extractions.attempts IS 'How often it was begun; part of the key of its rows, so that attempts never mix.';
COMMENT ON COLUMN extractions.failures IS 'How many of those count against the most there may be.';
COMMENT ON COLUMN extractions.lease IS 'Proves that a worker still is the one that runs it; every write of that worker carries it.';
COMMENT ON COLUMN extractions.lease_until IS 'When the worker is given up, unless it gives a sign of life before.';
COMMENT ON COLUMN extractions.tables IS 'Tables that were read to their end.';
COMMENT ON COLUMN extractions.chunks IS 'Pieces that its rows are kept in.';
COMMENT ON COLUMN extractions.rows IS 'Rows that are here.';
COMMENT ON COLUMN extractions.bytes IS 'Bytes of their lines, before sealing.';
COMMENT ON COLUMN extractions.error_class IS 'Why the last attempt failed, as a stable word.';
COMMENT ON COLUMN extractions.error_message IS 'The same in words; never with data of the source.';
COMMENT ON COLUMN extractions.created_at IS 'When it was asked for.';
COMMENT ON COLUMN extractions.updated_at IS 'When something last happened to it.';
COMMENT ON COLUMN extractions.started_at IS 'When it was first begun.';
COMMENT ON COLUMN extractions.finished_at IS 'When it came to its end.';
COMMENT ON COLUMN extractions.rows_until IS 'Until when its rows are kept; nothing once they are gone.';

CREATE UNIQUE INDEX extractions_running_idx ON extractions (tenant_id, connection_id)
    WHERE status IN ('SUBMITTED', 'EXTRACTING');
COMMENT ON INDEX extractions_running_idx IS 'At most one extraction of a connection runs, so that a tenant''s database has one reader of ours.';
CREATE INDEX extractions_due_idx ON extractions (tenant_id, due_at) WHERE status = 'PENDING';
COMMENT ON INDEX extractions_due_idx IS 'Finds the extraction that is next.';
CREATE INDEX extractions_leased_idx ON extractions (tenant_id, lease_until) WHERE lease IS NOT NULL;
COMMENT ON INDEX extractions_leased_idx IS 'Finds those whose worker is gone.';
CREATE INDEX extractions_rows_until_idx ON extractions (tenant_id, rows_until) WHERE rows_until IS NOT NULL;
COMMENT ON INDEX extractions_rows_until_idx IS 'Finds those whose rows are kept long enough.';
CREATE INDEX extractions_of_connection_idx ON extractions (tenant_id, connection_id, id);
COMMENT ON INDEX extractions_of_connection_idx IS 'Lists the extractions of a connection.';

ALTER TABLE extractions ENABLE ROW LEVEL SECURITY;
ALTER TABLE extractions FORCE ROW LEVEL SECURITY;
CREATE POLICY extractions_tenant ON extractions TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE ON extractions TO discovery_app;
-- Workers serve every tenant.
CREATE POLICY extractions_system ON extractions TO discovery_system USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON extractions TO discovery_system;

CREATE TABLE extraction_chunks (
    tenant_id     uuid    NOT NULL,
    extraction_id uuid    NOT NULL,
    attempt       integer NOT NULL,
    position      integer NOT NULL,
    table_name    text    NOT NULL,
    rows          integer NOT NULL,
    lines         bytea   NOT NULL,
    CONSTRAINT extraction_chunks_pkey PRIMARY KEY (tenant_id, extraction_id, attempt, position),
    CONSTRAINT extraction_chunks_extraction_fkey
        FOREIGN KEY (tenant_id, extraction_id) REFERENCES extractions (tenant_id, id)
);
-- What is sealed does not get smaller by packing.
ALTER TABLE extraction_chunks ALTER COLUMN lines SET STORAGE EXTERNAL;
COMMENT ON TABLE extraction_chunks IS 'Extracted rows, sealed, a few hundred kilobytes in a piece.';
COMMENT ON COLUMN extraction_chunks.tenant_id IS 'Who owns them.';
COMMENT ON COLUMN extraction_chunks.extraction_id IS 'The extraction.';
COMMENT ON COLUMN extraction_chunks.attempt IS 'Which of its attempts read them; only those of the last one count.';
COMMENT ON COLUMN extraction_chunks.position IS 'Their place among the pieces, from zero.';
COMMENT ON COLUMN extraction_chunks.table_name IS 'The table that they are of.';
COMMENT ON COLUMN extraction_chunks.rows IS 'How many rows there are in it.';
COMMENT ON COLUMN extraction_chunks.lines IS 'A JSON object a line, sealed with the tenant''s data key for just this place.';

ALTER TABLE extraction_chunks ENABLE ROW LEVEL SECURITY;
ALTER TABLE extraction_chunks FORCE ROW LEVEL SECURITY;
CREATE POLICY extraction_chunks_tenant ON extraction_chunks TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, DELETE ON extraction_chunks TO discovery_app;
