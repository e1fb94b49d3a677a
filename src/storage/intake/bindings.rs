//! What webhook tokens are bound to. A webhook brings no tenant, so these look-ups cross tenants; what
//! they find decides whose the webhook is.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::super::{StorageError, Store};
use crate::domain::{
    connection::AccountRef,
    ids::{ConnectionId, TenantId, WebhookTokenId},
    vendor::Vendor,
};

/// How exactly it is kept when a token was last used.
const USE_RESOLUTION: TimeDelta = TimeDelta::minutes(1);

/// The SHA-256 of a token.
pub type TokenHash = [u8; 32];

/// What a token that is not revoked is bound to: a connection that lives.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookBinding {
    /// The token's record.
    pub token: WebhookTokenId,
    /// Who owns the connection.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
    /// Its vendor.
    pub vendor: Vendor,
    /// What it reads there.
    pub account_ref: AccountRef,
    /// When the token ends by itself, if ever.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Store {
    /// What these tokens are bound to; a token that is unknown, revoked, or of a deleted connection
    /// is left out.
    pub async fn webhook_bindings(
        &self,
        hashes: &[TokenHash],
    ) -> Result<Vec<(TokenHash, WebhookBinding)>, StorageError> {
        let hashes: Vec<&[u8]> = hashes.iter().map(<[u8; 32]>::as_slice).collect();
        let rows = sqlx::query!(
            r#"SELECT t.token_hash, t.id, t.tenant_id, t.connection_id, t.vendor, t.expires_at,
                      c.account_ref AS "account_ref!"
               FROM webhook_tokens t
               JOIN connections c ON c.tenant_id = t.tenant_id AND c.id = t.connection_id
               WHERE t.token_hash = ANY ($1) AND t.revoked_at IS NULL
                 AND c.kind = 'aggregator' AND c.type = t.vendor AND c.deleted_at IS NULL"#,
            &hashes as &[&[u8]]
        )
        .fetch_all(&self.bindings)
        .await?;
        rows.into_iter()
            .map(|row| {
                let inconsistent = |column| StorageError::Inconsistent {
                    table: "webhook_tokens",
                    column,
                    id: row.id,
                };
                let hash = <TokenHash>::try_from(row.token_hash.as_slice())
                    .map_err(|_| inconsistent("token_hash"))?;
                let binding = WebhookBinding {
                    token: WebhookTokenId(row.id),
                    tenant: TenantId(row.tenant_id),
                    connection: ConnectionId(row.connection_id),
                    vendor: row.vendor.parse().map_err(|_| inconsistent("vendor"))?,
                    account_ref: AccountRef::from_stored(row.account_ref),
                    expires_at: row.expires_at,
                };
                Ok((hash, binding))
            })
            .collect()
    }

    /// Notes that these tokens were used, to the minute.
    pub async fn note_webhook_tokens_used<'a>(
        &self,
        tokens: impl Iterator<Item = &'a WebhookBinding>,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        let (tenants, ids): (Vec<Uuid>, Vec<Uuid>) = tokens
            .map(|binding| (binding.tenant.0, binding.token.0))
            .unzip();
        // Whoever holds a row, an operator or another process, is not waited for: the next minute
        // brings another chance.
        sqlx::query!(
            "WITH stale AS (
                 SELECT t.tenant_id, t.id FROM webhook_tokens t
                 JOIN unnest($1::uuid[], $2::uuid[]) AS used (tenant_id, id)
                   ON used.tenant_id = t.tenant_id AND used.id = t.id
                 WHERE t.last_used_at IS NULL OR t.last_used_at <= $4
                 FOR NO KEY UPDATE OF t SKIP LOCKED
             )
             UPDATE webhook_tokens t SET last_used_at = $3 FROM stale
             WHERE t.tenant_id = stale.tenant_id AND t.id = stale.id",
            &tenants,
            &ids,
            now,
            now - USE_RESOLUTION
        )
        .execute(&self.bindings)
        .await?;
        Ok(())
    }

    /// Notes that webhooks by these tokens were refused for their source, to the minute.
    pub async fn note_webhook_tokens_refused<'a>(
        &self,
        tokens: impl Iterator<Item = &'a WebhookBinding>,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        let (tenants, ids): (Vec<Uuid>, Vec<Uuid>) = tokens
            .map(|binding| (binding.tenant.0, binding.token.0))
            .unzip();
        sqlx::query!(
            "WITH stale AS (
                 SELECT t.tenant_id, t.id FROM webhook_tokens t
                 JOIN unnest($1::uuid[], $2::uuid[]) AS used (tenant_id, id)
                   ON used.tenant_id = t.tenant_id AND used.id = t.id
                 WHERE t.last_refused_at IS NULL OR t.last_refused_at <= $4
                 FOR NO KEY UPDATE OF t SKIP LOCKED
             )
             UPDATE webhook_tokens t SET last_refused_at = $3 FROM stale
             WHERE t.tenant_id = stale.tenant_id AND t.id = stale.id",
            &tenants,
            &ids,
            now,
            now - USE_RESOLUTION
        )
        .execute(&self.bindings)
        .await?;
        Ok(())
    }
}
