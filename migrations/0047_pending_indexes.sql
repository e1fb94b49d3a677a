-- What is built while rows are written stays half-built when that is cut short, and is then not built again.
DO $$
DECLARE
    half_built regclass;
BEGIN
    FOR half_built IN
        SELECT indexrelid FROM pg_index
        WHERE NOT indisvalid
          AND indexrelid IN ('transactions_pending_of_tenant_idx'::regclass,
                             'transactions_pending_of_account_idx'::regclass)
    LOOP
        EXECUTE format('REINDEX INDEX %s', half_built);
    END LOOP;
END
$$;
COMMENT ON INDEX transactions_pending_of_tenant_idx IS 'Lists a tenant''s pending rows by day.';
COMMENT ON INDEX transactions_pending_of_account_idx IS 'Lists an account''s pending rows by day.';
