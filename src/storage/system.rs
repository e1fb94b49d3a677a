//! Queries that cross tenants. The others are those of the inbox (`intake`), of the workers (`queue`) and
//! the walk through the deliveries that grew old (`deliveries`); whoever reviews these has reviewed all.

use chrono::{DateTime, Utc};

use super::{
    MigrationState, StorageError, SystemTx,
    audit::{Entry, GENESIS},
    migrate,
};
use crate::{
    domain::ids::{ConnectionId, TenantId},
    vault::WrappedKey,
};

/// A tenant's data key, found while walking the tenants.
#[derive(Debug)]
pub struct StoredTenantKey {
    /// Whose it is.
    pub tenant: TenantId,
    /// The key, wrapped.
    pub key: WrappedKey,
}

/// A chain of the audit log that does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BrokenChain {
    /// Whose chain it is.
    pub tenant: TenantId,
    /// The first entry that is missing or was changed.
    pub sequence: i64,
}

impl SystemTx {
    /// How far the schema is.
    pub async fn migration_state(&mut self) -> Result<MigrationState, StorageError> {
        Ok(migrate::state_of(&mut self.tx).await?)
    }

    /// What the database's clock tells at this moment.
    pub async fn clock(&mut self) -> Result<DateTime<Utc>, StorageError> {
        Ok(sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#)
            .fetch_one(&mut *self.tx)
            .await?)
    }

    /// How many data keys each key ring entry wraps, by entry.
    pub async fn count_tenant_keys(&mut self) -> Result<Vec<(String, u64)>, StorageError> {
        let rows = sqlx::query!(
            r#"SELECT ring_key_id, count(*) AS "count!"
               FROM tenant_keys GROUP BY ring_key_id ORDER BY ring_key_id"#
        )
        .fetch_all(&mut *self.tx)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| (row.ring_key_id, row.count.unsigned_abs()))
            .collect())
    }

    /// Some of the data keys that are not wrapped by `primary`, held until this transaction is
    /// over. Those that another run holds are left to it.
    pub async fn take_tenant_keys_to_rewrap(
        &mut self,
        primary: &str,
        after: TenantId,
        limit: u16,
    ) -> Result<Vec<StoredTenantKey>, StorageError> {
        let rows = sqlx::query!(
            "SELECT tenant_id, ring_key_id, wrapped_key FROM tenant_keys
             WHERE ring_key_id <> $1 AND tenant_id > $2
             ORDER BY tenant_id LIMIT $3
             FOR UPDATE SKIP LOCKED",
            primary,
            after.0,
            i64::from(limit)
        )
        .fetch_all(&mut *self.tx)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| StoredTenantKey {
                tenant: TenantId(row.tenant_id),
                key: WrappedKey::from_stored(row.ring_key_id, row.wrapped_key),
            })
            .collect())
    }

    /// Replaces the wrap of a data key that this transaction holds.
    pub async fn rewrap_tenant_key(
        &mut self,
        tenant: TenantId,
        key: &WrappedKey,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE tenant_keys SET ring_key_id = $2, wrapped_key = $3, wrapped_at = $4
             WHERE tenant_id = $1",
            tenant.0,
            key.ring_key_id(),
            key.as_bytes(),
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Some of the connections whose rows are still to be removed, those that wait longest first.
    pub async fn removals(
        &mut self,
        most: i64,
    ) -> Result<Vec<(TenantId, ConnectionId)>, StorageError> {
        let rows = sqlx::query!(
            "SELECT tenant_id, connection_id FROM removals ORDER BY asked_at LIMIT $1",
            most
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let named = rows
            .into_iter()
            .map(|row| (TenantId(row.tenant_id), ConnectionId(row.connection_id)));
        Ok(named.collect())
    }

    /// Recomputes every chain of the audit log; answers how many entries hold and the first one of
    /// each chain that does not.
    pub async fn verify_audit_log(&mut self) -> Result<(u64, Vec<BrokenChain>), StorageError> {
        const PAGE: i64 = 1000;
        let (mut checked, mut broken) = (0, Vec::<BrokenChain>::new());
        let (mut tenant, mut sequence, mut hash) = (uuid::Uuid::nil(), 0, GENESIS.to_vec());
        loop {
            let page = sqlx::query!(
                "SELECT tenant_id, sequence, at, subject, action, resource_id, previous_hash, hash
                 FROM audit_log WHERE (tenant_id, sequence) > ($1, $2)
                 ORDER BY tenant_id, sequence LIMIT $3",
                tenant,
                sequence,
                PAGE
            )
            .fetch_all(&mut *self.tx)
            .await?;
            for row in &page {
                if row.tenant_id != tenant {
                    (tenant, sequence, hash) = (row.tenant_id, 0, GENESIS.to_vec());
                }
                let entry = Entry {
                    tenant: TenantId(tenant),
                    sequence: row.sequence,
                    at: row.at,
                    subject: &row.subject,
                    action: &row.action,
                    resource: row.resource_id,
                };
                let holds = row.sequence == sequence + 1
                    && row.previous_hash == hash
                    && row.hash == entry.hash(&hash);
                if holds {
                    checked += 1;
                } else if broken.last().is_none_or(|last| last.tenant.0 != tenant) {
                    broken.push(BrokenChain {
                        tenant: TenantId(tenant),
                        sequence: sequence + 1,
                    });
                }
                sequence = row.sequence;
                hash.clone_from(&row.hash);
            }
            if page.len() < usize::try_from(PAGE).unwrap_or(usize::MAX) {
                return Ok((checked, broken));
            }
        }
    }
}
