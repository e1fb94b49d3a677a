//! `refreshes`: at most one refresh of a tenant's connections at a time.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{StorageError, TenantTx};

impl TenantTx {
    /// Takes the tenant's refresh until `until`, if nobody has it; answers whether it was free.
    pub async fn take_refresh(
        &mut self,
        lease: Uuid,
        now: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "INSERT INTO refreshes AS r (tenant_id, lease, lease_until) VALUES ($1, $2, $4)
             ON CONFLICT (tenant_id) DO UPDATE SET lease = $2, lease_until = $4
             WHERE r.lease IS NULL OR r.lease_until <= $3",
            self.tenant.0,
            lease,
            now,
            until
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives the refresh back, if it is still this lease's; `finished` says when it came to its end,
    /// if it did.
    pub async fn release_refresh(
        &mut self,
        lease: Uuid,
        finished: Option<DateTime<Utc>>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE refreshes
             SET lease = NULL, lease_until = NULL, finished_at = coalesce($3, finished_at)
             WHERE tenant_id = $1 AND lease = $2",
            self.tenant.0,
            lease,
            finished
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// When a refresh last came to its end.
    pub async fn last_refresh(&mut self) -> Result<Option<DateTime<Utc>>, StorageError> {
        let finished = sqlx::query_scalar!(
            "SELECT finished_at FROM refreshes WHERE tenant_id = $1",
            self.tenant.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(finished.flatten())
    }
}
