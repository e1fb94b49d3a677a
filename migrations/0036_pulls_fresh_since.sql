-- Since when rows are fresh: the last success alone does not tell.
ALTER TABLE pulls ADD COLUMN fresh_since timestamptz;
COMMENT ON COLUMN pulls.fresh_since IS 'Of one that succeeded: when the successes of its connection began that followed each other in time, with no failure in between.';
