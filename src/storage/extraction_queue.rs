//! The queue of extractions over all tenants, on the system role like everything that crosses
//! tenants.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{StorageError, SystemTx};
use crate::{
    domain::{
        extraction::ExtractionRequest,
        ids::{ConnectionId, ExtractionId, TenantId},
    },
    storage::ExtractionLease,
};

/// An extraction that this process runs from now on.
#[derive(Clone, Debug)]
pub struct ClaimedExtraction {
    /// Whose it is.
    pub tenant: TenantId,
    /// Whose tables are read.
    pub connection: ConnectionId,
    /// The proof that it is ours.
    pub lease: ExtractionLease,
    /// What is asked for; `None` if what is stored of it does not read back. The claim holds all
    /// the same, so that it is ended and holds up nobody else.
    pub request: Option<ExtractionRequest>,
    /// How often it was begun, this time included.
    pub attempts: u32,
    /// How many of those failed.
    pub failures: u32,
}

impl SystemTx {
    /// Claims the extraction that is next, for as long as the lease lasts.
    ///
    /// Among the tenants that have something due, the one with the fewest running extractions is
    /// served; within a tenant, what waited longest.
    pub async fn claim_extraction(
        &mut self,
        token: Uuid,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
    ) -> Result<Option<ClaimedExtraction>, StorageError> {
        let row = sqlx::query!(
            "WITH next AS (
                 SELECT e.tenant_id, e.id FROM extractions e
                 WHERE e.status = 'PENDING' AND e.due_at <= $2
                   AND NOT EXISTS (
                       SELECT FROM extractions r
                       WHERE r.tenant_id = e.tenant_id AND r.connection_id = e.connection_id
                         AND r.status IN ('SUBMITTED', 'EXTRACTING'))
                 ORDER BY (SELECT count(*) FROM extractions r
                           WHERE r.tenant_id = e.tenant_id
                             AND r.status IN ('SUBMITTED', 'EXTRACTING')),
                          e.due_at, e.id
                 FOR UPDATE OF e SKIP LOCKED
                 LIMIT 1
             )
             UPDATE extractions e
             SET status = 'SUBMITTED', lease = $1, lease_until = $3, attempts = e.attempts + 1,
                 tables = 0, chunks = 0, rows = 0, bytes = 0, updated_at = $2,
                 started_at = coalesce(e.started_at, $2)
             FROM next
             WHERE e.tenant_id = next.tenant_id AND e.id = next.id AND e.status = 'PENDING'
             RETURNING e.tenant_id, e.id, e.connection_id, e.request, e.attempts, e.failures",
            token,
            now,
            lease_until
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(row.map(|row| ClaimedExtraction {
            tenant: TenantId(row.tenant_id),
            connection: ConnectionId(row.connection_id),
            lease: ExtractionLease {
                extraction: ExtractionId(row.id),
                token,
            },
            request: serde_json::from_value(row.request).ok(),
            attempts: row.attempts.unsigned_abs(),
            failures: row.failures.unsigned_abs(),
        }))
    }

    /// The running extractions whose worker gave no sign of life in time; each is to be ended in
    /// its own tenant's transaction. With each, how many of its attempts failed.
    pub async fn abandoned_extractions(
        &mut self,
        now: DateTime<Utc>,
        most: i64,
    ) -> Result<Vec<(TenantId, ExtractionLease, u32)>, StorageError> {
        let rows = sqlx::query!(
            r#"SELECT tenant_id, id, lease AS "lease!", failures FROM extractions
               WHERE lease IS NOT NULL AND lease_until < $1 LIMIT $2"#,
            now,
            most
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let named = rows.into_iter().map(|row| {
            let lease = ExtractionLease {
                extraction: ExtractionId(row.id),
                token: row.lease,
            };
            (TenantId(row.tenant_id), lease, row.failures.unsigned_abs())
        });
        Ok(named.collect())
    }

    /// The extractions whose rows are kept long enough.
    pub async fn overdue_extraction_rows(
        &mut self,
        now: DateTime<Utc>,
        most: i64,
    ) -> Result<Vec<(TenantId, ExtractionId)>, StorageError> {
        let rows = sqlx::query!(
            "SELECT tenant_id, id FROM extractions
             WHERE rows_until IS NOT NULL AND rows_until <= $1 LIMIT $2",
            now,
            most
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let named = rows
            .into_iter()
            .map(|row| (TenantId(row.tenant_id), ExtractionId(row.id)));
        Ok(named.collect())
    }
}
