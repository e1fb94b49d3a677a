//! `webhook_tokens`: what is kept of a minted token.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    StorageError, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::domain::{
    connection::ConfigName,
    ids::{ConnectionId, WebhookTokenId},
    vendor::Vendor,
    webhook_token::{WebhookToken, WebhookTokenRecord},
};

/// When webhooks came in for a connection, whichever of its tokens they came by.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LastWebhooks {
    /// When one was last accepted.
    pub accepted_at: Option<DateTime<Utc>>,
    /// When those began that were accepted one after another until then.
    pub accepted_since: Option<DateTime<Utc>>,
    /// When one was last refused for its source.
    pub refused_at: Option<DateTime<Utc>>,
    /// When those began that were refused one after another until then.
    pub refused_since: Option<DateTime<Utc>>,
}

/// A token to remember.
#[derive(Debug)]
pub struct NewWebhookToken<'a> {
    /// The record's identifier.
    pub id: WebhookTokenId,
    /// The connection it is bound to.
    pub connection: ConnectionId,
    /// That connection's vendor.
    pub vendor: Vendor,
    /// The token; only its hash and its first characters are stored.
    pub token: &'a WebhookToken,
    /// When it was minted.
    pub now: DateTime<Utc>,
}

struct Row {
    id: Uuid,
    vendor: String,
    connection_id: Uuid,
    config_name: String,
    prefix: String,
    created_at: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for WebhookTokenRecord {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        Ok(Self {
            id: WebhookTokenId(row.id),
            vendor: row.vendor.parse().map_err(|_| StorageError::Inconsistent {
                table: "webhook_tokens",
                column: "vendor",
                id: row.id,
            })?,
            connection_id: ConnectionId(row.connection_id),
            connection_config_name: ConfigName::from_stored(row.config_name),
            prefix: row.prefix,
            created_at: row.created_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            last_used_at: row.last_used_at,
        })
    }
}

/// One list query; the order is part of the text.
macro_rules! list_query {
    ($tx:expr, $compare:tt, $direction:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"SELECT t.id, t.vendor, t.connection_id, c.config_name, t.prefix,
                      t.created_at, t.expires_at, t.revoked_at, t.last_used_at
               FROM webhook_tokens t
               JOIN connections c ON c.tenant_id = t.tenant_id AND c.id = t.connection_id
               WHERE t.tenant_id = $1 AND c.tenant_id = $1
                 AND t.id "# + $compare + " $2 ORDER BY t.id " + $direction + " LIMIT $3",
            $($argument),+
        )
        .fetch_all(&mut *$tx)
        .await?
    };
}

impl TenantTx {
    /// Remembers a token.
    pub async fn insert_webhook_token(
        &mut self,
        new: &NewWebhookToken<'_>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO webhook_tokens
                 (tenant_id, id, connection_id, vendor, token_hash, prefix, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            self.tenant.0,
            new.id.0,
            new.connection.0,
            new.vendor.as_str(),
            &new.token.hash()[..],
            new.token.prefix(),
            new.now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// A page of the tenant's tokens, newest first.
    pub async fn list_webhook_tokens(
        &mut self,
        start: &PageStart<Uuid>,
        limit: u16,
    ) -> Result<Page<WebhookTokenRecord>, StorageError> {
        let tenant = self.tenant.0;
        let most = rows_to_ask(limit);
        let (id, backwards) = match start {
            PageStart::First => (Uuid::max(), false),
            PageStart::After(id) => (*id, false),
            PageStart::Before(id) => (*id, true),
        };
        let tx = &mut *self.tx;
        let rows = if backwards {
            list_query!(tx, ">", "ASC", tenant, id, most)
        } else {
            list_query!(tx, "<", "DESC", tenant, id, most)
        };
        Page::of(rows, limit, start)
    }

    /// The connection that a token is bound to.
    pub async fn connection_of_webhook_token(
        &mut self,
        id: WebhookTokenId,
    ) -> Result<Option<ConnectionId>, StorageError> {
        let connection = sqlx::query_scalar!(
            "SELECT connection_id FROM webhook_tokens WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(connection.map(ConnectionId))
    }

    /// A token's record, held against other changes until this transaction is over.
    pub async fn lock_webhook_token(
        &mut self,
        id: WebhookTokenId,
    ) -> Result<Option<WebhookTokenRecord>, StorageError> {
        sqlx::query_as!(
            Row,
            "SELECT t.id, t.vendor, t.connection_id, c.config_name, t.prefix,
                    t.created_at, t.expires_at, t.revoked_at, t.last_used_at
             FROM webhook_tokens t
             JOIN connections c ON c.tenant_id = t.tenant_id AND c.id = t.connection_id
             WHERE t.tenant_id = $1 AND c.tenant_id = $1 AND t.id = $2
             FOR NO KEY UPDATE OF t",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// When webhooks were last accepted for a connection, and when they were last refused for their
    /// source.
    pub async fn last_webhooks_of(
        &mut self,
        connection: ConnectionId,
    ) -> Result<LastWebhooks, StorageError> {
        Ok(sqlx::query_as!(
            LastWebhooks,
            "SELECT max(last_used_at) AS accepted_at, max(used_since) AS accepted_since,
                    max(last_refused_at) AS refused_at, max(refused_since) AS refused_since
             FROM webhook_tokens WHERE tenant_id = $1 AND connection_id = $2",
            self.tenant.0,
            connection.0
        )
        .fetch_one(&mut *self.tx)
        .await?)
    }

    /// Revokes one token. One that is revoked already stays as it is.
    pub async fn revoke_webhook_token(
        &mut self,
        id: WebhookTokenId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE webhook_tokens SET revoked_at = $3
             WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL",
            self.tenant.0,
            id.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Revokes every token of a connection; answers how many still lived.
    pub async fn revoke_webhook_tokens_of(
        &mut self,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<u64, StorageError> {
        let done = sqlx::query!(
            "UPDATE webhook_tokens SET revoked_at = $3
             WHERE tenant_id = $1 AND connection_id = $2 AND revoked_at IS NULL",
            self.tenant.0,
            connection.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }

    /// Lets a token live until `end` and no longer; an earlier end stands.
    pub async fn expire_webhook_token(
        &mut self,
        id: WebhookTokenId,
        end: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE webhook_tokens SET expires_at = least(expires_at, $3)
             WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0,
            end
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
