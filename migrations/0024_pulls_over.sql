-- A pull that is retried ends long after the ones that were asked for later, so which one ended last is
-- told by when it ended and not by its identifier.
CREATE INDEX pulls_over_idx ON pulls (tenant_id, connection_id, finished_at)
    WHERE state IN ('succeeded', 'failed');
COMMENT ON INDEX pulls_over_idx IS 'Finds the last success of a connection, and what failed after it.';
