-- no-transaction
-- What deliveries_of_connection_idx serves instead. The version before may sort the deliveries of a connection that it
-- lists, until it is gone; to keep both would make webhooks dearer for as long.
DROP INDEX CONCURRENTLY IF EXISTS deliveries_tenant_id_connection_id_received_at_id_idx;
