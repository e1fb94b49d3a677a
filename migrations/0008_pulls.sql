-- Pulls: queue and history in one.
CREATE TABLE pulls (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    state         text        NOT NULL,
    reason        text        NOT NULL,
    window_from   date,
    window_to     date,
    demand        smallint    NOT NULL DEFAULT 0,
    priority      smallint    NOT NULL,
    due_at        timestamptz NOT NULL,
    attempts      integer     NOT NULL DEFAULT 0,
    lease         uuid,
    lease_until   timestamptz,
    accounts      integer     NOT NULL DEFAULT 0,
    pages         bigint      NOT NULL DEFAULT 0,
    seen          bigint      NOT NULL DEFAULT 0,
    inserted      bigint      NOT NULL DEFAULT 0,
    updated       bigint      NOT NULL DEFAULT 0,
    unchanged     bigint      NOT NULL DEFAULT 0,
    deleted       bigint      NOT NULL DEFAULT 0,
    quarantined   bigint      NOT NULL DEFAULT 0,
    missed        bigint      NOT NULL DEFAULT 0,
    error_class   text,
    error_message text,
    asked_at      timestamptz NOT NULL,
    created_at    timestamptz NOT NULL,
    started_at    timestamptz,
    finished_at   timestamptz,
    CONSTRAINT pulls_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT pulls_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id),
    CONSTRAINT pulls_state_check CHECK (
        state IN ('queued', 'running', 'retrying', 'succeeded', 'failed', 'cancelled')),
    CONSTRAINT pulls_reason_check CHECK (
        reason IN ('initial', 'webhook', 'manual', 'sweep', 'backfill')),
    CONSTRAINT pulls_lease_check CHECK ((state = 'running') = (lease IS NOT NULL)),
    CONSTRAINT pulls_demand_check CHECK (demand BETWEEN 0 AND 2),
    CONSTRAINT pulls_window_check CHECK (window_from <= window_to)
);
COMMENT ON TABLE pulls IS 'Every pull there ever was: those that wait are the queue, the others its history.';
COMMENT ON COLUMN pulls.tenant_id IS 'Who owns it.';
COMMENT ON COLUMN pulls.id IS 'Its identifier.';
COMMENT ON COLUMN pulls.connection_id IS 'What is pulled.';
COMMENT ON COLUMN pulls.state IS 'Where it is in its life.';
COMMENT ON COLUMN pulls.reason IS 'What asked for it first.';
COMMENT ON COLUMN pulls.window_from IS 'The first day that was asked for, of a backfill.';
COMMENT ON COLUMN pulls.window_to IS 'The last day that was asked for, of a backfill.';
COMMENT ON COLUMN pulls.demand IS 'How much is asked for: 0 what the events name, 1 also the recent past, 2 everything the vendor keeps.';
COMMENT ON COLUMN pulls.priority IS 'The lower, the sooner among those that are due.';
COMMENT ON COLUMN pulls.due_at IS 'Not to be begun before.';
COMMENT ON COLUMN pulls.attempts IS 'How often it was begun.';
COMMENT ON COLUMN pulls.lease IS 'Proves that a worker still is the one that runs it; every write of that worker carries it.';
COMMENT ON COLUMN pulls.lease_until IS 'When the worker is given up, unless it gives a sign of life before.';
COMMENT ON COLUMN pulls.accounts IS 'Accounts that were read.';
COMMENT ON COLUMN pulls.pages IS 'Pages that were written.';
COMMENT ON COLUMN pulls.seen IS 'Rows that the vendor sent.';
COMMENT ON COLUMN pulls.inserted IS 'Rows that were new.';
COMMENT ON COLUMN pulls.updated IS 'Rows that had changed.';
COMMENT ON COLUMN pulls.unchanged IS 'Rows that were known already.';
COMMENT ON COLUMN pulls.deleted IS 'Rows that were gone.';
COMMENT ON COLUMN pulls.quarantined IS 'Rows that could not be read.';
COMMENT ON COLUMN pulls.missed IS 'Changes that no webhook had announced.';
COMMENT ON COLUMN pulls.error_class IS 'Why the last attempt failed, as a stable word.';
COMMENT ON COLUMN pulls.error_message IS 'The same in words; never with data of the vendor.';
COMMENT ON COLUMN pulls.asked_at IS 'When more than single rows was last asked for; what an attempt has read since need not be read again by the next one.';
COMMENT ON COLUMN pulls.created_at IS 'When it was asked for.';
COMMENT ON COLUMN pulls.started_at IS 'When it was first begun.';
COMMENT ON COLUMN pulls.finished_at IS 'When it came to its end.';

CREATE UNIQUE INDEX pulls_waiting_idx ON pulls (tenant_id, connection_id)
    WHERE state IN ('queued', 'retrying');
COMMENT ON INDEX pulls_waiting_idx IS 'At most one pull of a connection waits; whatever asks for another one joins it.';
CREATE UNIQUE INDEX pulls_running_idx ON pulls (tenant_id, connection_id) WHERE state = 'running';
COMMENT ON INDEX pulls_running_idx IS 'At most one pull of a connection runs.';
CREATE INDEX pulls_tenant_id_connection_id_id_idx ON pulls (tenant_id, connection_id, id);
COMMENT ON INDEX pulls_tenant_id_connection_id_id_idx IS 'Lists the pulls of a connection.';

ALTER TABLE pulls ENABLE ROW LEVEL SECURITY;
ALTER TABLE pulls FORCE ROW LEVEL SECURITY;
CREATE POLICY pulls_tenant ON pulls TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
-- Workers serve every tenant.
CREATE POLICY pulls_system ON pulls TO discovery_system USING (true) WITH CHECK (true);
-- What a worker looks for, whoever's it is; these are few, whatever the history holds.
CREATE INDEX pulls_due_idx ON pulls (tenant_id, priority, due_at) WHERE state IN ('queued', 'retrying');
COMMENT ON INDEX pulls_due_idx IS 'Finds the next pull of each tenant.';
CREATE INDEX pulls_leased_idx ON pulls (tenant_id, lease_until) WHERE state = 'running';
COMMENT ON INDEX pulls_leased_idx IS 'Counts the running pulls of each tenant, and finds those whose worker is gone.';
GRANT SELECT, INSERT, UPDATE ON pulls TO discovery_app;
GRANT SELECT, INSERT, UPDATE ON pulls TO discovery_system;
