-- no-transaction
-- Pending rows are few, and those who ask for them would read everything else. Nearly nothing is written for the
-- others: they are not in this index. It is built while rows are written, alone in its file since that can't be
-- part of a transaction.
CREATE INDEX CONCURRENTLY IF NOT EXISTS transactions_pending_of_tenant_idx
    ON transactions (tenant_id, civil_date, id) WHERE status = 'pending';
