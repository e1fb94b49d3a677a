-- While a new version takes the place of an old one, the old one deletes connections too, and knows nothing of
-- removals. So the database asks for them, and the next release may leave it to the server.
CREATE FUNCTION ask_for_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO removals (tenant_id, connection_id, asked_at)
    VALUES (NEW.tenant_id, NEW.id, NEW.deleted_at)
    ON CONFLICT DO NOTHING;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION ask_for_removal() IS 'Asks that the rows of a connection be removed when it is deleted.';
CREATE TRIGGER connections_ask_for_removal
    AFTER UPDATE OF deleted_at ON connections FOR EACH ROW
    WHEN (NEW.kind = 'aggregator' AND OLD.deleted_at IS NULL AND NEW.deleted_at IS NOT NULL)
    EXECUTE FUNCTION ask_for_removal();
COMMENT ON TRIGGER connections_ask_for_removal ON connections IS 'Writes removals.';

-- What was deleted until now. Row level security is forced on the owner of the tables too, who would see none
-- of it; until this transaction is over nobody else comes by.
ALTER TABLE connections NO FORCE ROW LEVEL SECURITY;
ALTER TABLE removals NO FORCE ROW LEVEL SECURITY;
INSERT INTO removals (tenant_id, connection_id, asked_at)
SELECT tenant_id, id, deleted_at FROM connections
WHERE kind = 'aggregator' AND deleted_at IS NOT NULL
ON CONFLICT DO NOTHING;
ALTER TABLE connections FORCE ROW LEVEL SECURITY;
ALTER TABLE removals FORCE ROW LEVEL SECURITY;
