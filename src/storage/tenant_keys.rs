//! `tenant_keys`: the wrapped data key of a tenant.

use chrono::{DateTime, Utc};

use super::{StorageError, TenantTx};
use crate::vault::WrappedKey;

impl TenantTx {
    /// The tenant's data key, if anything was ever sealed for it.
    pub async fn tenant_key(&mut self) -> Result<Option<WrappedKey>, StorageError> {
        let row = sqlx::query!(
            "SELECT ring_key_id, wrapped_key FROM tenant_keys WHERE tenant_id = $1",
            self.tenant.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(row.map(|row| WrappedKey::from_stored(row.ring_key_id, row.wrapped_key)))
    }

    /// Stores the tenant's first data key. When another request was faster its key stands, and is
    /// what a following [`tenant_key`](Self::tenant_key) answers.
    pub async fn offer_tenant_key(
        &mut self,
        key: &WrappedKey,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO tenant_keys (tenant_id, ring_key_id, wrapped_key, created_at, wrapped_at)
             VALUES ($1, $2, $3, $4, $4)
             ON CONFLICT (tenant_id) DO NOTHING",
            self.tenant.0,
            key.ring_key_id(),
            key.as_bytes(),
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
