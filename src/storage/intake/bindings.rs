//! What webhook tokens are bound to. A webhook brings no tenant, so these look-ups cross tenants; what
//! they find decides whose the webhook is.

use chrono::{DateTime, Utc};
use sqlx::{PgPool, postgres::types::PgInterval};
use uuid::Uuid;

use super::super::{StorageError, Store};
use crate::domain::{
    connection::AccountRef,
    ids::{ConnectionId, TenantId, WebhookTokenId},
    status::WebhookState,
    vendor::Vendor,
};

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

/// What happened by a token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WebhookNote {
    /// Who owns it.
    pub tenant: TenantId,
    /// The token's record.
    pub token: WebhookTokenId,
    /// When a webhook by it was last accepted, if one was.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When one was last refused for its source, if one was.
    pub refused_at: Option<DateTime<Utc>>,
}

impl Store {
    /// What a token is bound to; nothing if it is unknown, revoked, or of a deleted connection.
    pub async fn webhook_binding(
        &self,
        hash: TokenHash,
    ) -> Result<Option<WebhookBinding>, StorageError> {
        let found = find(&self.bindings, &[hash]).await?;
        Ok(found.into_iter().next().map(|(_, binding)| binding))
    }

    /// The same of tokens that were known just now, on a connection that nobody else waits for;
    /// one that is no good any more is left out.
    pub async fn webhook_bindings_again(
        &self,
        hashes: &[TokenHash],
    ) -> Result<Vec<(TokenHash, WebhookBinding)>, StorageError> {
        find(&self.known_bindings, hashes).await
    }

    /// The same of tokens that strangers may have made up, where nobody waits for it.
    pub async fn webhook_bindings_of_refused(
        &self,
        hashes: &[TokenHash],
    ) -> Result<Vec<(TokenHash, WebhookBinding)>, StorageError> {
        find(&self.webhook_notes, hashes).await
    }

    /// Notes what happened by tokens: to the minute, but so that it can be told whether the last webhook
    /// of a connection was accepted. Answers which could not be written, because somebody, an operator or
    /// another process, held their rows: nobody is waited for.
    pub async fn note_webhooks(
        &self,
        notes: &[WebhookNote],
    ) -> Result<Vec<WebhookTokenId>, StorageError> {
        let tenants: Vec<Uuid> = notes.iter().map(|note| note.tenant.0).collect();
        let ids: Vec<Uuid> = notes.iter().map(|note| note.token.0).collect();
        let accepted: Vec<_> = notes.iter().map(|note| note.accepted_at).collect();
        let refused: Vec<_> = notes.iter().map(|note| note.refused_at).collect();
        let silence = PgInterval {
            days: WebhookState::SILENCE_DAYS,
            ..PgInterval::default()
        };
        let left = sqlx::query_scalar!(
            r#"WITH noted AS (
                   SELECT t.tenant_id, t.id, t.last_used_at, t.last_refused_at,
                          note.accepted_at, note.refused_at,
                          before.accepted_at AS accepted_before, before.accepted_since,
                          before.refused_at AS refused_before, before.refused_since,
                          greatest(note.accepted_at, before.accepted_at) AS accepted_by_now,
                          greatest(note.refused_at, before.refused_at) AS refused_by_now
                   FROM (SELECT tenant_id, id, max(accepted_at) AS accepted_at,
                                max(refused_at) AS refused_at
                         FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[])
                                  AS note (tenant_id, id, accepted_at, refused_at)
                         GROUP BY tenant_id, id) AS note
                   JOIN webhook_tokens t ON t.tenant_id = note.tenant_id AND t.id = note.id
                   -- A connection may have several tokens, and its last webhook came by one.
                   CROSS JOIN LATERAL (
                       SELECT max(o.last_used_at) AS accepted_at,
                              max(o.used_since) AS accepted_since,
                              max(o.last_refused_at) AS refused_at,
                              max(o.refused_since) AS refused_since
                       FROM webhook_tokens o
                       WHERE o.tenant_id = t.tenant_id AND o.connection_id = t.connection_id
                   ) AS before
               ), due AS MATERIALIZED (
                   SELECT tenant_id, id,
                          CASE WHEN last_used_at IS NULL
                                    OR last_used_at <= accepted_at - interval '1 minute'
                                    OR refused_by_now > last_used_at
                               THEN accepted_at END AS accepted_at,
                          CASE WHEN accepted_before >= accepted_at - $5::interval
                                    AND accepted_before >= coalesce(refused_by_now, '-infinity')
                               THEN coalesce(accepted_since, accepted_before)
                               ELSE accepted_at END AS accepted_since,
                          CASE WHEN last_refused_at IS NULL
                                    OR last_refused_at <= refused_at - interval '1 minute'
                                    OR accepted_by_now >= last_refused_at
                               THEN refused_at END AS refused_at,
                          CASE WHEN refused_before > coalesce(accepted_by_now, '-infinity')
                               THEN coalesce(refused_since, refused_before)
                               ELSE refused_at END AS refused_since
                   FROM noted
               ), held AS (
                   SELECT due.* FROM due
                   JOIN webhook_tokens t ON t.tenant_id = due.tenant_id AND t.id = due.id
                   WHERE due.accepted_at IS NOT NULL OR due.refused_at IS NOT NULL
                   FOR NO KEY UPDATE OF t SKIP LOCKED
               ), written AS (
                   UPDATE webhook_tokens t SET
                       last_used_at = greatest(t.last_used_at, held.accepted_at),
                       used_since = CASE WHEN held.accepted_at IS NULL THEN t.used_since
                                         ELSE held.accepted_since END,
                       last_refused_at = greatest(t.last_refused_at, held.refused_at),
                       refused_since = CASE WHEN held.refused_at IS NULL THEN t.refused_since
                                            ELSE held.refused_since END
                   FROM held WHERE t.tenant_id = held.tenant_id AND t.id = held.id
                   RETURNING t.tenant_id, t.id
               )
               SELECT due.id AS "id!" FROM due
               LEFT JOIN written ON written.tenant_id = due.tenant_id AND written.id = due.id
               WHERE written.id IS NULL
                 AND (due.accepted_at IS NOT NULL OR due.refused_at IS NOT NULL)"#,
            &tenants,
            &ids,
            &accepted as &[Option<DateTime<Utc>>],
            &refused as &[Option<DateTime<Utc>>],
            silence
        )
        .fetch_all(&self.webhook_notes)
        .await?;
        Ok(left.into_iter().map(WebhookTokenId).collect())
    }
}

async fn find(
    pool: &PgPool,
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
    .fetch_all(pool)
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
