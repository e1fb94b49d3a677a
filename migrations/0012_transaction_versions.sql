-- What transactions were before they became what they are. The present version is the row itself, so
-- that a row which never changes costs nothing here.
CREATE TABLE transaction_versions (
    tenant_id      uuid        NOT NULL,
    transaction_id uuid        NOT NULL,
    version        integer     NOT NULL,
    pull_id        uuid        NOT NULL,
    written_at     timestamptz NOT NULL,
    replaced_at    timestamptz NOT NULL,
    snapshot       jsonb       NOT NULL,
    CONSTRAINT transaction_versions_pkey PRIMARY KEY (tenant_id, transaction_id, version)
);
COMMENT ON TABLE transaction_versions IS 'Superseded versions of transactions; append-only.';
COMMENT ON COLUMN transaction_versions.tenant_id IS 'Who owns it.';
COMMENT ON COLUMN transaction_versions.transaction_id IS 'The transaction.';
COMMENT ON COLUMN transaction_versions.version IS 'Which of its versions, from one.';
COMMENT ON COLUMN transaction_versions.pull_id IS 'The pull that had written it.';
COMMENT ON COLUMN transaction_versions.written_at IS 'When it was written.';
COMMENT ON COLUMN transaction_versions.replaced_at IS 'When the next version took its place.';
COMMENT ON COLUMN transaction_versions.snapshot IS 'What it was; amounts as text, so that no digit is lost.';

ALTER TABLE transaction_versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE transaction_versions FORCE ROW LEVEL SECURITY;
CREATE POLICY transaction_versions_tenant ON transaction_versions TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT ON transaction_versions TO discovery_app;

-- A trigger, so that no way of writing a row can forget it; an insert does not fire it.
CREATE FUNCTION keep_superseded_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO transaction_versions
        (tenant_id, transaction_id, version, pull_id, written_at, replaced_at, snapshot)
    VALUES (OLD.tenant_id, OLD.id, OLD.version, OLD.pull_id, OLD.updated_at, NEW.updated_at,
        jsonb_strip_nulls(jsonb_build_object(
            'accountId', OLD.account_id,
            'date', OLD.date,
            'civilDate', OLD.civil_date,
            'description', OLD.description,
            'direction', OLD.direction,
            'amount', OLD.amount::text,
            'currency', OLD.currency,
            'amountInAccountCurrency', OLD.amount_in_account_currency::text,
            'status', OLD.status,
            'details', OLD.details,
            'replacesId', OLD.replaces_id,
            'deletedAt', OLD.deleted_at)));
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION keep_superseded_version() IS 'Keeps what a transaction was when its version is counted up.';
CREATE TRIGGER transactions_keep_superseded_version
    AFTER UPDATE ON transactions FOR EACH ROW
    WHEN (OLD.version IS DISTINCT FROM NEW.version)
    EXECUTE FUNCTION keep_superseded_version();
COMMENT ON TRIGGER transactions_keep_superseded_version ON transactions IS 'Writes transaction_versions.';
