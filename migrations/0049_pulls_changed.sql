-- Asked for with every pull: whether one that ended since the last success has changed rows, whatever became
-- of it. Without this, all pulls of the connection are looked through.
CREATE INDEX pulls_changed_idx ON pulls (tenant_id, connection_id, finished_at)
    WHERE inserted + deleted > 0;
COMMENT ON INDEX pulls_changed_idx IS 'Finds the pulls of a connection that changed rows, by when they ended.';
