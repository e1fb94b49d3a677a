-- Pending rows are few, and those who ask for them would read everything else. Nearly nothing is written
-- for the others: they are not in these indexes.
CREATE INDEX transactions_pending_of_tenant_idx ON transactions (tenant_id, civil_date, id)
    WHERE status = 'pending';
COMMENT ON INDEX transactions_pending_of_tenant_idx IS 'Lists a tenant''s pending rows by day.';
CREATE INDEX transactions_pending_of_account_idx
    ON transactions (tenant_id, account_id, civil_date, id) WHERE status = 'pending';
COMMENT ON INDEX transactions_pending_of_account_idx IS 'Lists an account''s pending rows by day.';
