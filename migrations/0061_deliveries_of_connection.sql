-- no-transaction
-- The same as the index it follows, but for the identifier: each webhook writes an entry, and one that is a quarter
-- shorter takes less of its time. Deliveries of one instant are few, and are put in order when they are read.
CREATE INDEX CONCURRENTLY IF NOT EXISTS deliveries_of_connection_idx
    ON deliveries (tenant_id, connection_id, received_at);
