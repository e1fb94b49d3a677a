-- Since when webhooks are accepted, or refused, without a break: the last one alone does not tell.
ALTER TABLE webhook_tokens ADD COLUMN used_since timestamptz, ADD COLUMN refused_since timestamptz;
COMMENT ON COLUMN webhook_tokens.used_since IS 'When the webhooks of its connection began to be accepted without one refused or a long silence in between, as of last_used_at.';
COMMENT ON COLUMN webhook_tokens.refused_since IS 'When the webhooks of its connection began to be refused without one accepted in between, as of last_refused_at.';
GRANT SELECT (used_since, refused_since), UPDATE (used_since, refused_since)
    ON webhook_tokens TO discovery_system;
