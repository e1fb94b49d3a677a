-- no-transaction
-- What deliveries_of_connection_idx serves instead, for the version before as well.
DROP INDEX CONCURRENTLY IF EXISTS deliveries_tenant_id_connection_id_received_at_id_idx;
