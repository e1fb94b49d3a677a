//! `audit_log`: who did what, as one hash chain per tenant.

use chrono::{DateTime, SubsecRound as _, Utc};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{StorageError, TenantTx};
use crate::domain::{audit::AuditAction, ids::TenantId};

/// What the first entry of a chain names as its predecessor.
pub(super) const GENESIS: [u8; 32] = [0; 32];

/// One entry, as it is hashed.
pub(super) struct Entry<'a> {
    pub(super) tenant: TenantId,
    pub(super) sequence: i64,
    pub(super) at: DateTime<Utc>,
    pub(super) subject: &'a str,
    pub(super) action: &'a str,
    pub(super) resource: Uuid,
}

impl Entry<'_> {
    /// The hash that ties this entry to the one before. Every part has a fixed length or is
    /// preceded by it, so that no two entries hash the same bytes.
    pub(super) fn hash(&self, previous: &[u8]) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(previous);
        hasher.update(self.tenant.0.as_bytes());
        hasher.update(self.sequence.to_be_bytes());
        hasher.update(self.at.timestamp_micros().to_be_bytes());
        for text in [self.subject, self.action] {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        }
        hasher.update(self.resource.as_bytes());
        hasher.finalize().into()
    }
}

impl TenantTx {
    /// Adds an entry to the tenant's chain, in the transaction of the change it speaks of.
    pub async fn audit(
        &mut self,
        subject: &str,
        action: AuditAction,
        resource: Uuid,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        // A chain grows at one end only: one writer per tenant, until its transaction is over.
        sqlx::query!(
            "SELECT pg_advisory_xact_lock(hashtextextended('audit_log', 0) # hashtextextended($1, 0))",
            self.tenant.to_string()
        )
        .fetch_one(&mut *self.tx)
        .await?;
        let last = sqlx::query!(
            "SELECT sequence, hash FROM audit_log WHERE tenant_id = $1 ORDER BY sequence DESC LIMIT 1",
            self.tenant.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let (sequence, previous) = match last {
            Some(last) => (last.sequence + 1, last.hash),
            None => (1, GENESIS.to_vec()),
        };
        let entry = Entry {
            tenant: self.tenant,
            sequence,
            // The column keeps microseconds; what is hashed must be what is read back.
            at: now.trunc_subsecs(6),
            subject,
            action: action.as_str(),
            resource,
        };
        sqlx::query!(
            "INSERT INTO audit_log
                 (tenant_id, sequence, at, subject, action, resource_id, previous_hash, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            self.tenant.0,
            entry.sequence,
            entry.at,
            entry.subject,
            entry.action,
            entry.resource,
            &previous,
            &entry.hash(&previous)[..]
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
