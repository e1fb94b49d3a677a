-- no-transaction
-- What pulls_next_idx serves instead, for the version before as well: whoever asks what is due means its predicate.
DROP INDEX CONCURRENTLY IF EXISTS pulls_due_idx;
