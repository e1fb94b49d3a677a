//! Sealing what a connection proves itself with.

use std::time::Duration;

use super::{App, AppError};
use crate::{
    connectors::Source,
    domain::{
        base_url::BaseUrl,
        caller::Caller,
        credential::Credential,
        ids::{ConnectionId, TenantId},
    },
    storage::{AccessToConnection, TenantTx},
    vault::{Binding, Sealed, WrappedKey},
    vendors::{Access, ErrorKind, VendorError, budget::Share},
};

/// The place of a connection's credential; a value sealed for one row opens in no other.
pub(super) fn credential_binding(tenant: TenantId, connection: ConnectionId) -> Binding {
    Binding {
        tenant,
        table: "connections",
        row: connection.0,
        column: "credential",
    }
}

impl App {
    /// Seals a credential for the row of `connection`.
    pub(super) async fn seal_credential(
        &self,
        tx: &mut TenantTx,
        caller: &Caller,
        connection: ConnectionId,
        credential: &Credential,
    ) -> Result<Sealed, AppError> {
        let key = self.tenant_key(tx, caller.tenant).await?;
        let binding = credential_binding(caller.tenant, connection);
        Ok(self
            .0
            .parts
            .vault
            .seal_credential(&key, &binding, credential)?)
    }

    /// Seals what proves who we are to a source, for the row of `connection`.
    pub(super) async fn seal_source(
        &self,
        tx: &mut TenantTx,
        caller: &Caller,
        connection: ConnectionId,
        source: &Source,
    ) -> Result<Sealed, AppError> {
        let key = self.tenant_key(tx, caller.tenant).await?;
        let binding = credential_binding(caller.tenant, connection);
        let vault = &self.0.parts.vault;
        Ok(match source {
            Source::Database { login, .. } => vault.seal_database_login(&key, &binding, login)?,
            Source::Rest { auth, .. } => {
                let (who, secret) = auth.pair();
                let pair = Credential::new(who.to_owned(), secret.to_owned());
                vault.seal_credential(&key, &binding, &pair)?
            }
        })
    }

    /// What it takes to reach a connection's source, if nothing on our side stands against it. The
    /// caller says how long it may take.
    pub(super) fn access_to(
        &self,
        tenant: TenantId,
        stored: &AccessToConnection,
    ) -> Result<Result<Access, VendorError>, AppError> {
        let connection = &stored.connection;
        let refused = |kind, code| {
            Ok(Err(
                VendorError::new(connection.vendor, kind).with_code(code)
            ))
        };
        // The list may have become shorter since the connection was made.
        let policy = self.host_policy(connection.vendor);
        if BaseUrl::parse(connection.base_url.as_str(), policy).is_err() {
            return refused(ErrorKind::AddressRefused, "base_url_not_allowed");
        }
        let Some(key) = &stored.key else {
            return refused(ErrorKind::Unreadable, "data_key_destroyed");
        };
        let binding = credential_binding(tenant, connection.id);
        let vault = &self.0.parts.vault;
        Ok(Ok(Access {
            base_url: connection.base_url.clone(),
            credential: vault.open_credential(key, &binding, &stored.credential)?,
            account_ref: connection.account_ref.clone(),
            patience: Duration::ZERO,
            call_timeout: Duration::ZERO,
            deadline: None,
            share: Share::Half,
        }))
    }

    /// The tenant's data key; made when the first secret of the tenant is sealed.
    async fn tenant_key(
        &self,
        tx: &mut TenantTx,
        tenant: TenantId,
    ) -> Result<WrappedKey, AppError> {
        if let Some(key) = tx.tenant_key().await? {
            return Ok(key);
        }
        let offered = self.0.parts.vault.new_data_key(tenant);
        tx.offer_tenant_key(&offered, self.0.parts.clock.now())
            .await?;
        // Another request may have been faster; the stored key is the tenant's key.
        tx.tenant_key()
            .await?
            .ok_or_else(|| AppError::Internal("a tenant key vanished while it was made".into()))
    }
}
