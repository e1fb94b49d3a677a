//! The queue over all tenants: which pull is next, and which lost its worker. On the system role,
//! like everything that crosses tenants.

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::postgres::PgListener;
use uuid::Uuid;

use super::{Lease, StorageError, Store, SystemTx, pulls::demand};
use crate::domain::{
    ids::{ConnectionId, PullId, TenantId},
    pull::{Demand, PullReason},
};

/// A pull that this process runs from now on.
#[derive(Clone, Copy, Debug)]
pub struct ClaimedPull {
    /// Whose it is.
    pub tenant: TenantId,
    /// What is pulled.
    pub connection: ConnectionId,
    /// The proof that it is ours.
    pub lease: Lease,
    /// What asked for it first.
    pub reason: PullReason,
    /// How much is asked for.
    pub demand: Demand,
    /// The days that were asked for.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// How often it was begun, this time included.
    pub attempts: u32,
    /// When more than single rows was last asked for.
    pub asked_at: DateTime<Utc>,
    /// Whether an earlier attempt has inserted or deleted rows.
    pub has_changed_rows: bool,
}

impl SystemTx {
    /// Claims the pull that is next, for as long as the lease lasts.
    ///
    /// Among the tenants that have something due, the one with the fewest running pulls is served,
    /// so that no tenant holds the workers while others wait; within a tenant, by priority and time.
    pub async fn claim_pull(
        &mut self,
        token: Uuid,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
    ) -> Result<Option<ClaimedPull>, StorageError> {
        let row = sqlx::query!(
            r#"WITH RECURSIVE waiting AS (
                   -- From tenant to tenant, without reading what lies between.
                   (SELECT tenant_id FROM pulls WHERE state IN ('queued', 'retrying')
                    ORDER BY tenant_id LIMIT 1)
                   UNION ALL
                   SELECT (SELECT p.tenant_id FROM pulls p
                           WHERE p.state IN ('queued', 'retrying') AND p.tenant_id > w.tenant_id
                           ORDER BY p.tenant_id LIMIT 1)
                   FROM waiting w WHERE w.tenant_id IS NOT NULL
               ), next AS (
                   SELECT p.tenant_id, p.id
                   FROM waiting w
                   CROSS JOIN LATERAL (
                       SELECT count(*) AS running FROM pulls r
                       WHERE r.tenant_id = w.tenant_id AND r.state = 'running'
                   ) AS share
                   CROSS JOIN LATERAL (
                       SELECT q.tenant_id, q.id, q.priority, q.due_at FROM pulls q
                       WHERE q.tenant_id = w.tenant_id AND q.state IN ('queued', 'retrying')
                         AND q.due_at <= $2
                         AND NOT EXISTS (
                             SELECT FROM pulls r
                             WHERE r.tenant_id = q.tenant_id
                               AND r.connection_id = q.connection_id AND r.state = 'running')
                       ORDER BY q.priority, q.due_at LIMIT 8
                   ) AS q
                   JOIN pulls p ON p.tenant_id = q.tenant_id AND p.id = q.id
                   WHERE w.tenant_id IS NOT NULL
                   ORDER BY share.running, q.priority, q.due_at
                   FOR UPDATE OF p SKIP LOCKED
                   LIMIT 1
               )
               UPDATE pulls p
               SET state = 'running', lease = $1, lease_until = $3, attempts = p.attempts + 1,
                   started_at = coalesce(p.started_at, $2)
               FROM next
               WHERE p.tenant_id = next.tenant_id AND p.id = next.id
                 AND p.state IN ('queued', 'retrying')
               RETURNING p.tenant_id, p.id, p.connection_id, p.reason, p.demand, p.window_from,
                         p.window_to, p.attempts, p.asked_at,
                         p.inserted + p.deleted > 0 AS "has_changed_rows!""#,
            token,
            now,
            lease_until
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        Ok(Some(ClaimedPull {
            tenant: TenantId(row.tenant_id),
            connection: ConnectionId(row.connection_id),
            lease: Lease {
                pull: PullId(row.id),
                token,
            },
            reason: row.reason.parse().map_err(|_| StorageError::Inconsistent {
                table: "pulls",
                column: "reason",
                id: row.id,
            })?,
            demand: demand(row.demand),
            window: row.window_from.zip(row.window_to),
            attempts: row.attempts.unsigned_abs(),
            asked_at: row.asked_at,
            has_changed_rows: row.has_changed_rows,
        }))
    }

    /// The running pulls whose worker gave no sign of life in time; each is to be ended in its own
    /// tenant's transaction.
    pub async fn abandoned_pulls(
        &mut self,
        now: DateTime<Utc>,
        most: i64,
    ) -> Result<Vec<(TenantId, ConnectionId, Lease)>, StorageError> {
        let rows = sqlx::query!(
            r#"SELECT tenant_id, connection_id, id, lease AS "lease!" FROM pulls
               WHERE state = 'running' AND lease_until < $1 LIMIT $2"#,
            now,
            most
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let named = rows.into_iter().map(|row| {
            let lease = Lease {
                pull: PullId(row.id),
                token: row.lease,
            };
            (
                TenantId(row.tenant_id),
                ConnectionId(row.connection_id),
                lease,
            )
        });
        Ok(named.collect())
    }

    /// The connections whose time has come; their time is set to `next`, so that nobody else finds
    /// them meanwhile.
    pub async fn take_due_sweeps(
        &mut self,
        now: DateTime<Utc>,
        next: DateTime<Utc>,
        most: i64,
    ) -> Result<Vec<(TenantId, ConnectionId)>, StorageError> {
        let rows = sqlx::query!(
            "UPDATE sweeps s SET due_at = $2
             FROM (SELECT tenant_id, connection_id FROM sweeps WHERE due_at <= $1
                   ORDER BY due_at LIMIT $3 FOR UPDATE SKIP LOCKED) AS due
             WHERE s.tenant_id = due.tenant_id AND s.connection_id = due.connection_id
             RETURNING s.tenant_id, s.connection_id",
            now,
            next,
            most
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let named = rows
            .into_iter()
            .map(|row| (TenantId(row.tenant_id), ConnectionId(row.connection_id)));
        Ok(named.collect())
    }

    /// How many pulls wait, and how many run.
    pub async fn queue_depth(&mut self) -> Result<(u64, u64), StorageError> {
        let row = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM pulls WHERE state IN ('queued', 'retrying')) AS "waiting!",
                      (SELECT count(*) FROM pulls WHERE state = 'running') AS "running!""#
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok((row.waiting.unsigned_abs(), row.running.unsigned_abs()))
    }
}

/// Hears that there may be something to do.
#[derive(Debug)]
pub struct PullSignal(PgListener);

impl PullSignal {
    /// Waits until somebody says so. Also answers when the connection was lost and made anew, since
    /// something may have been said meanwhile.
    pub async fn heard(&mut self) -> Result<(), StorageError> {
        self.0.try_recv().await?;
        Ok(())
    }
}

impl Store {
    /// Listens for what is asked for, on a connection of its own.
    pub async fn listen_for_pulls(&self) -> Result<PullSignal, StorageError> {
        let mut listener = PgListener::connect_with(&self.listeners).await?;
        listener.listen("discovery_pulls").await?;
        Ok(PullSignal(listener))
    }
}
