COMMENT ON COLUMN deliveries.key_expires IS 'Whether the same key stands for another event once the pull that this one asked for has begun.';

-- Room that is given back is taken by later deliveries, so after a month every range of pages has some
-- of every age, and an index of ranges finds nothing any more. What is old is found connection by
-- connection, through the index that lists them.
DROP INDEX deliveries_received_at_idx;

-- A day's worth is a thirtieth of the table, so vacuum comes about daily and the room is used again.
ALTER TABLE deliveries SET (autovacuum_vacuum_scale_factor = 0.03);
