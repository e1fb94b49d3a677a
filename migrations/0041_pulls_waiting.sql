-- The same index once more. The planner can't tell indexes of an empty table apart and takes the newest; webhooks
-- look for the pull that waits before there are statistics, and through the list of all pulls of a connection
-- that costs more with each of them.
DROP INDEX pulls_waiting_idx;
CREATE UNIQUE INDEX pulls_waiting_idx ON pulls (tenant_id, connection_id)
    WHERE state IN ('queued', 'retrying');
COMMENT ON INDEX pulls_waiting_idx IS 'At most one pull of a connection waits; whatever asks for another one joins it.';
