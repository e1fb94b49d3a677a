-- no-transaction
-- Whoever looks for the pull of one connection has the state in common with pulls_due_idx, and where statistics were
-- made while nothing waited, that index looks as good as the right one; then all that waits is read for each
-- connection. This one only serves those who ask when it is due.
CREATE INDEX CONCURRENTLY IF NOT EXISTS pulls_next_idx ON pulls (tenant_id, priority, due_at)
    WHERE state IN ('queued', 'retrying') AND due_at IS NOT NULL;
