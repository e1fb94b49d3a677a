-- A pull asks its deliveries what they say. Without knowing since when they came in, it would look through
-- all that came in for its connection in the last month.
ALTER TABLE pulls ADD COLUMN hints_since timestamptz NOT NULL DEFAULT '-infinity';
COMMENT ON COLUMN pulls.hints_since IS 'No delivery that asks for this pull came in earlier.';
