-- Nothing looks through it any more: old deliveries are found connection by connection.
DROP INDEX deliveries_received_at_idx;
