-- Webhook tokens: the secret itself is never here, only its hash.
CREATE TABLE webhook_tokens (
    tenant_id     uuid        NOT NULL,
    id            uuid        NOT NULL,
    connection_id uuid        NOT NULL,
    vendor        text        NOT NULL,
    token_hash    bytea       NOT NULL,
    prefix        text        NOT NULL,
    created_at    timestamptz NOT NULL,
    expires_at    timestamptz,
    revoked_at    timestamptz,
    last_used_at  timestamptz,
    CONSTRAINT webhook_tokens_pkey PRIMARY KEY (tenant_id, id),
    CONSTRAINT webhook_tokens_connection_fkey
        FOREIGN KEY (tenant_id, connection_id) REFERENCES connections (tenant_id, id),
    CONSTRAINT webhook_tokens_token_hash_check CHECK (octet_length(token_hash) = 32),
    CONSTRAINT webhook_tokens_prefix_check CHECK (char_length(prefix) = 8)
);
COMMENT ON TABLE webhook_tokens IS 'Tokens minted for the vendors'' webhooks, each bound to one connection.';
COMMENT ON COLUMN webhook_tokens.tenant_id IS 'Who owns it: the tenant of every webhook that comes in by it.';
COMMENT ON COLUMN webhook_tokens.id IS 'Its identifier; what logs show in place of the token.';
COMMENT ON COLUMN webhook_tokens.connection_id IS 'The connection it is bound to, by id: a name may be given to another connection.';
COMMENT ON COLUMN webhook_tokens.vendor IS 'The vendor whose webhooks it admits.';
COMMENT ON COLUMN webhook_tokens.token_hash IS 'SHA-256 of the token.';
COMMENT ON COLUMN webhook_tokens.prefix IS 'The first eight characters, by which an operator tells tokens apart.';
COMMENT ON COLUMN webhook_tokens.created_at IS 'When it was minted.';
COMMENT ON COLUMN webhook_tokens.expires_at IS 'When it ends by itself: after the grace that a rotation leaves it.';
COMMENT ON COLUMN webhook_tokens.revoked_at IS 'When it was revoked.';
COMMENT ON COLUMN webhook_tokens.last_used_at IS 'When a webhook last came in by it.';

-- A webhook brings nothing but the token, so this is the one index that does not begin with the tenant.
CREATE INDEX webhook_tokens_token_hash_idx ON webhook_tokens (token_hash);
COMMENT ON INDEX webhook_tokens_token_hash_idx IS 'Finds the binding of an incoming webhook; its tenant is not known before.';
CREATE INDEX webhook_tokens_tenant_id_connection_id_idx ON webhook_tokens (tenant_id, connection_id);
COMMENT ON INDEX webhook_tokens_tenant_id_connection_id_idx IS 'Finds the tokens to revoke with their connection.';

ALTER TABLE webhook_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhook_tokens FORCE ROW LEVEL SECURITY;
CREATE POLICY webhook_tokens_tenant ON webhook_tokens TO discovery_app
    USING (tenant_id = current_tenant()) WITH CHECK (tenant_id = current_tenant());
GRANT SELECT, INSERT, UPDATE (expires_at, revoked_at, last_used_at) ON webhook_tokens TO discovery_app;
