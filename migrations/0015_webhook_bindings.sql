-- A webhook brings nothing but its token, so the look-up of what the token is bound to crosses tenants.
-- It sees what it takes to judge a webhook and nothing else: no name, no host, no credential.
CREATE POLICY webhook_tokens_bindings ON webhook_tokens TO discovery_system
    USING (true) WITH CHECK (true);
GRANT SELECT (tenant_id, id, connection_id, vendor, token_hash, expires_at, revoked_at, last_used_at),
      UPDATE (last_used_at)
    ON webhook_tokens TO discovery_system;

CREATE POLICY connections_bindings ON connections FOR SELECT TO discovery_system USING (true);
GRANT SELECT (tenant_id, id, kind, type, account_ref, deleted_at) ON connections TO discovery_system;
