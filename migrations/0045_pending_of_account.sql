-- no-transaction
-- The same for those who ask for the pending rows of one account.
CREATE INDEX CONCURRENTLY IF NOT EXISTS transactions_pending_of_account_idx
    ON transactions (tenant_id, account_id, civil_date, id) WHERE status = 'pending';
