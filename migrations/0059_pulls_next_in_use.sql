-- What was cut short while it was built is still half-built, and would not be used. Only then is it built anew,
-- beside nobody who writes.
DO $$
BEGIN
    IF NOT (SELECT indisvalid FROM pg_index WHERE indexrelid = 'pulls_next_idx'::regclass) THEN
        REINDEX INDEX pulls_next_idx;
    END IF;
END
$$;
COMMENT ON INDEX pulls_next_idx IS 'Finds the next pull of each tenant.';
