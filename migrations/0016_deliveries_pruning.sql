-- Old deliveries are found by when they came in. They lie in that order, so an index of ranges is a few pages.
CREATE INDEX deliveries_received_at_idx ON deliveries USING brin (received_at);
COMMENT ON INDEX deliveries_received_at_idx IS 'Finds what is older than it has to be kept, whoever''s it is.';
