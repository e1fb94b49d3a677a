//! Sealing what a connection proves itself with.

use super::{App, AppError};
use crate::{
    domain::{
        caller::Caller,
        credential::Credential,
        ids::{ConnectionId, TenantId},
    },
    storage::TenantTx,
    vault::{Binding, Sealed, WrappedKey},
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
