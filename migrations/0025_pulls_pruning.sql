-- Pulls that are over are cleared away after 90 days. Those that changed rows stay, since every version of a row names
-- the pull that wrote it, and so does the last success of each connection.
CREATE INDEX pulls_prunable_idx ON pulls (tenant_id, finished_at)
    WHERE finished_at IS NOT NULL AND inserted = 0 AND updated = 0 AND deleted = 0;
COMMENT ON INDEX pulls_prunable_idx IS 'Finds what is older than it has to be kept.';
COMMENT ON TABLE pulls IS 'Pulls: those that wait are the queue, the others its history. Those that changed nothing are kept for 90 days.';
GRANT DELETE ON pulls TO discovery_system;
