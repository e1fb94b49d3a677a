COMMENT ON COLUMN deliveries.key_expires IS 'Whether the same key stands for another event once the pull that this one asked for has begun.';

-- Room that is given back is taken by later deliveries, so after a month every range of pages has some
-- of every age, and deliveries_received_at_idx finds nothing any more: what is old is found connection by
-- connection, through the index that lists them. It stays until the next release all the same, since
-- servers of the version before this one still look through it while this one is rolled out.

-- A day's worth is a thirtieth of the table, so vacuum comes about daily and the room is used again.
ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.03);
