-- Where the building of deliveries_of_connection_idx was cut short it is still half-built, and would not be used. Only
-- then is it built anew; webhooks wait for that, or are told to come again.
DO $$
BEGIN
    IF NOT (SELECT indisvalid FROM pg_index WHERE indexrelid = 'deliveries_of_connection_idx'::regclass) THEN
        REINDEX INDEX deliveries_of_connection_idx;
    END IF;
END
$$;
COMMENT ON INDEX deliveries_of_connection_idx IS 'Lists the deliveries of a connection, and finds the hints of a pull.';
