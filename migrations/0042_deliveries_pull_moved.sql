-- A delivery that came in long ago may be made to ask for a pull that was made just now: it is replayed, or its pull
-- hands over what it was to do. Whoever moves it, a server of the version before as well, the pull has to look that far
-- back. Deliveries are rarely moved, and writing new ones costs nothing by this.
CREATE FUNCTION look_back_to_moved_delivery() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE pulls SET hints_since = NEW.received_at
    WHERE tenant_id = NEW.tenant_id AND id = NEW.pull_id AND hints_since > NEW.received_at;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION look_back_to_moved_delivery() IS 'Makes a pull look as far back as what asks for it came in.';
CREATE TRIGGER deliveries_look_back_to_moved
    AFTER UPDATE OF pull_id ON deliveries FOR EACH ROW
    WHEN (OLD.pull_id IS DISTINCT FROM NEW.pull_id)
    EXECUTE FUNCTION look_back_to_moved_delivery();
COMMENT ON TRIGGER deliveries_look_back_to_moved ON deliveries IS 'Writes pulls.hints_since.';
COMMENT ON COLUMN pulls.hints_since IS 'No delivery that asks for this pull came in earlier, but for how far the clocks of two machines may be apart.';
