//! Aggregator connections: create, read, list, change, delete.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{App, AppError, pull_run::SWEEP_EVERY};
use crate::{
    domain::{
        audit::AuditAction,
        base_url::BaseUrl,
        caller::Caller,
        connection::{AccountRef, AggregatorConnection, ConfigName, Version},
        credential::Credential,
        ids::ConnectionId,
        pull::PullReason,
        status::{CredentialState, Finding, SourceState},
        vendor::Vendor,
    },
    storage::{ConnectionChange, NewConnection, Page, PageStart, TenantTx},
};

/// A connection as an operator asks for it; every part is checked already.
#[derive(Debug)]
pub struct NewAggregator {
    /// The aggregator.
    pub vendor: Vendor,
    /// The tenant's name for it.
    pub config_name: ConfigName,
    /// Where the vendor's API is.
    pub base_url: BaseUrl,
    /// What to read there.
    pub account_ref: AccountRef,
    /// What the vendor accepts as proof.
    pub credential: Credential,
}

/// What becomes of the sealed credential.
#[derive(Debug)]
pub enum CredentialChange {
    /// It stays as it is.
    Keep,
    /// Another one takes its place.
    Rotate(Credential),
}

/// A change as an operator asks for it; every part is checked already.
#[derive(Debug)]
pub struct AggregatorChange {
    /// The name from now on.
    pub config_name: ConfigName,
    /// The base URL from now on.
    pub base_url: BaseUrl,
    /// The account reference from now on.
    pub account_ref: AccountRef,
    /// What becomes of the credential.
    pub credential: CredentialChange,
    /// The versions the operator is willing to change; `None` for any.
    pub expected: Option<Vec<Version>>,
}

impl App {
    /// Makes a connection, its credential sealed for it alone.
    pub async fn create_aggregator_connection(
        &self,
        caller: &Caller,
        new: NewAggregator,
    ) -> Result<AggregatorConnection, AppError> {
        let now = self.0.parts.clock.now();
        let connection = AggregatorConnection {
            id: ConnectionId::new(&*self.0.parts.clock, &*self.0.parts.random),
            vendor: new.vendor,
            config_name: new.config_name,
            base_url: new.base_url,
            account_ref: new.account_ref,
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let credential = self
            .seal_credential(&mut tx, caller, connection.id, &new.credential)
            .await?;
        tx.insert_aggregator_connection(&NewConnection {
            connection: &connection,
            credential: &credential,
        })
        .await?;
        // So that data is there before the first webhook.
        self.ask_for_pull(&mut tx, connection.id, PullReason::Initial, None)
            .await?;
        // Whatever becomes of that pull, the connection is looked at again.
        tx.schedule_sweep(connection.id, now + SWEEP_EVERY).await?;
        tx.audit(
            &caller.subject,
            AuditAction::ConnectionCreated,
            connection.id.0,
            now,
        )
        .await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %connection.id,
            vendor = %connection.vendor,
            "an aggregator connection was created"
        );
        Ok(connection)
    }

    /// One connection.
    pub async fn aggregator_connection(
        &self,
        caller: &Caller,
        id: ConnectionId,
    ) -> Result<AggregatorConnection, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let connection = tx.aggregator_connection(id).await?;
        connection.ok_or(AppError::ConnectionNotFound)
    }

    /// A page of the tenant's connections, ordered by config name, then id.
    pub async fn list_aggregator_connections(
        &self,
        caller: &Caller,
        vendor: Option<Vendor>,
        start: &PageStart<(String, Uuid)>,
        limit: u16,
    ) -> Result<Page<AggregatorConnection>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        Ok(tx.list_aggregator_connections(vendor, start, limit).await?)
    }

    /// Changes a connection. The vendor never changes; the credential only when asked to.
    pub async fn update_aggregator_connection(
        &self,
        caller: &Caller,
        id: ConnectionId,
        change: AggregatorChange,
    ) -> Result<AggregatorConnection, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let current = tx
            .lock_aggregator_connection(id)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        if change
            .expected
            .as_ref()
            .is_some_and(|versions| !versions.contains(&current.version))
        {
            return Err(AppError::ConnectionChanged);
        }
        let (credential, action) = match &change.credential {
            CredentialChange::Keep => (None, AuditAction::ConnectionUpdated),
            CredentialChange::Rotate(credential) => (
                Some(
                    self.seal_credential(&mut tx, caller, id, credential)
                        .await?,
                ),
                AuditAction::CredentialRotated,
            ),
        };
        tx.update_aggregator_connection(
            id,
            &ConnectionChange {
                config_name: &change.config_name,
                base_url: &change.base_url,
                account_ref: &change.account_ref,
                credential: credential.as_ref(),
                now,
            },
        )
        .await?;
        self.forget_what_was_of_another(&mut tx, &current, &change, now)
            .await?;
        let leads_elsewhere =
            current.base_url != change.base_url || current.account_ref != change.account_ref;
        let reads_another =
            leads_elsewhere || matches!(change.credential, CredentialChange::Rotate(_));
        // What somebody asked for is still to be done.
        let mut days = None;
        if leads_elsewhere {
            // Whatever reads the old place just now must not have the last word on what is of the past.
            days = tx.call_off_running(id, now).await?;
            tx.supersede_accounts(id, now).await?;
        }
        if reads_another {
            self.ask_for_pull(&mut tx, id, PullReason::Initial, days)
                .await?;
        }
        if leads_elsewhere {
            // Places in listings of the old place are of no use in the new one.
            tx.forget_listings(id).await?;
        }
        tx.audit(&caller.subject, action, id.0, now).await?;
        tx.commit().await?;
        self.0.bindings.forget(id);
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %id,
            vendor = %current.vendor,
            action = action.as_str(),
            "an aggregator connection was changed"
        );
        Ok(AggregatorConnection {
            config_name: change.config_name,
            base_url: change.base_url,
            account_ref: change.account_ref,
            version: Version(current.version.0 + 1),
            updated_at: now,
            ..current
        })
    }

    /// A verdict on a credential or a source that is another one from now on says nothing any more.
    async fn forget_what_was_of_another(
        &self,
        tx: &mut TenantTx,
        current: &AggregatorConnection,
        change: &AggregatorChange,
        now: DateTime<Utc>,
    ) -> Result<(), AppError> {
        let moved = current.base_url != change.base_url;
        let rotated = matches!(change.credential, CredentialChange::Rotate(_));
        let credential = (rotated || moved)
            .then(|| Finding::new(CredentialState::Unknown, "changed_since_last_check"));
        let source = (moved || current.account_ref != change.account_ref)
            .then(|| Finding::new(SourceState::Unknown, "changed_since_last_check"));
        if credential.is_some() || source.is_some() {
            tx.record_findings(current.id, credential.as_ref(), source.as_ref(), now)
                .await?;
        }
        Ok(())
    }

    /// Deletes a connection: its name is free, its credential is gone, its tokens are revoked, and its
    /// rows are removed soon after.
    pub async fn delete_aggregator_connection(
        &self,
        caller: &Caller,
        id: ConnectionId,
    ) -> Result<(), AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        if !tx.delete_aggregator_connection(id, now).await? {
            return Err(AppError::ConnectionNotFound);
        }
        let tokens = tx.revoke_webhook_tokens_of(id, now).await?;
        let pulls = tx.cancel_pulls_of(id, now).await?;
        tx.forget_sweep(id).await?;
        tx.ask_for_removal(id, now).await?;
        tx.audit(&caller.subject, AuditAction::ConnectionDeleted, id.0, now)
            .await?;
        tx.commit().await?;
        self.0.bindings.forget(id);
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %id,
            tokens.revoked = tokens,
            pulls.cancelled = pulls,
            "an aggregator connection was deleted"
        );
        Ok(())
    }
}
