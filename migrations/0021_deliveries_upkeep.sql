COMMENT ON COLUMN deliveries.key_expires IS 'Whether the same key stands for another event once the pull that this one asked for has begun.';
