//! Webhook tokens: mint, list, revoke, rotate.

use chrono::TimeDelta;
use uuid::Uuid;

use super::{App, AppError};
use crate::{
    domain::{
        audit::AuditAction,
        caller::Caller,
        connection::ConfigName,
        ids::{ConnectionId, WebhookTokenId},
        vendor::Vendor,
        webhook_token::{WebhookToken, WebhookTokenRecord},
    },
    storage::{NewWebhookToken, Page, PageStart, TenantTx},
};

/// A token that was just minted; the only time it is seen.
#[derive(Debug)]
pub struct MintedToken {
    /// The record's identifier.
    pub id: WebhookTokenId,
    /// The token.
    pub token: WebhookToken,
    /// The vendor whose webhooks it admits.
    pub vendor: Vendor,
    /// The URL to give to the vendor.
    pub webhook_url: String,
}

impl App {
    /// Mints a token bound to the connection that has this name now.
    pub async fn mint_webhook_token(
        &self,
        caller: &Caller,
        vendor: Vendor,
        connection: &ConfigName,
    ) -> Result<MintedToken, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let connection = tx
            .share_aggregator_connection_named(vendor, connection)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let minted = self.mint(&mut tx, connection.id, vendor).await?;
        tx.audit(
            &caller.subject,
            AuditAction::TokenMinted,
            minted.id.0,
            self.0.parts.clock.now(),
        )
        .await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %connection.id,
            webhook_token.id = %minted.id,
            %vendor,
            "a webhook token was minted"
        );
        Ok(minted)
    }

    /// A page of the tenant's tokens, newest first.
    pub async fn list_webhook_tokens(
        &self,
        caller: &Caller,
        start: &PageStart<Uuid>,
        limit: u16,
    ) -> Result<Page<WebhookTokenRecord>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        Ok(tx.list_webhook_tokens(start, limit).await?)
    }

    /// Revokes a token. Revoking it again changes nothing.
    pub async fn revoke_webhook_token(
        &self,
        caller: &Caller,
        id: WebhookTokenId,
    ) -> Result<(), AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let record = tx
            .lock_webhook_token(id)
            .await?
            .ok_or(AppError::WebhookTokenNotFound)?;
        if record.revoked_at.is_some() {
            return Ok(());
        }
        tx.revoke_webhook_token(id, now).await?;
        tx.audit(&caller.subject, AuditAction::TokenRevoked, id.0, now)
            .await?;
        tx.commit().await?;
        self.0.bindings.forget(record.connection_id);
        tracing::info!(
            tenant.id = %caller.tenant,
            webhook_token.id = %id,
            "a webhook token was revoked"
        );
        Ok(())
    }

    /// Mints a successor for the same connection; the old token lives on for `grace`, so that the
    /// vendor's side can be changed without losing a webhook.
    pub async fn rotate_webhook_token(
        &self,
        caller: &Caller,
        id: WebhookTokenId,
        grace: TimeDelta,
    ) -> Result<MintedToken, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let connection = tx
            .connection_of_webhook_token(id)
            .await?
            .ok_or(AppError::WebhookTokenNotFound)?;
        // The connection first, as a deletion does it: or the successor would be minted between the
        // deletion's look at the tokens and its end, and outlive its connection.
        if !tx.share_connection(connection).await? {
            return Err(AppError::WebhookTokenEnded);
        }
        let old = tx
            .lock_webhook_token(id)
            .await?
            .ok_or(AppError::WebhookTokenNotFound)?;
        if !old.is_live(now) {
            return Err(AppError::WebhookTokenEnded);
        }
        let minted = self.mint(&mut tx, old.connection_id, old.vendor).await?;
        tx.expire_webhook_token(id, now + grace).await?;
        tx.audit(&caller.subject, AuditAction::TokenRotated, minted.id.0, now)
            .await?;
        tx.commit().await?;
        self.0.bindings.forget(old.connection_id);
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %old.connection_id,
            webhook_token.id = %minted.id,
            webhook_token.predecessor = %id,
            "a webhook token was rotated"
        );
        Ok(minted)
    }

    async fn mint(
        &self,
        tx: &mut TenantTx,
        connection: ConnectionId,
        vendor: Vendor,
    ) -> Result<MintedToken, AppError> {
        let token = WebhookToken::mint(&*self.0.parts.random);
        let id = WebhookTokenId::new(&*self.0.parts.clock, &*self.0.parts.random);
        tx.insert_webhook_token(&NewWebhookToken {
            id,
            connection,
            vendor,
            token: &token,
            now: self.0.parts.clock.now(),
        })
        .await?;
        Ok(MintedToken {
            id,
            webhook_url: webhook_url(&self.0.parts.public_url, vendor, &token),
            token,
            vendor,
        })
    }
}

fn webhook_url(public_url: &str, vendor: Vendor, token: &WebhookToken) -> String {
    format!(
        "{public_url}/v1/discovery/webhooks/{vendor}/{}",
        token.expose()
    )
}
