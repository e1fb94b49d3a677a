-- That webhooks come by a good token and from a wrong source is what an operator has to hear of.
ALTER TABLE webhook_tokens ADD COLUMN last_refused_at timestamptz;
COMMENT ON COLUMN webhook_tokens.last_refused_at IS 'When a webhook by it was last refused, because its source was not accepted.';
GRANT UPDATE (last_refused_at) ON webhook_tokens TO discovery_app;
GRANT SELECT (last_refused_at), UPDATE (last_refused_at) ON webhook_tokens TO discovery_system;
