//! The queue over all tenants: which pull is next, and which lost its worker. On the system role,
//! like everything that crosses tenants.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::FutureExt as _;
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
    /// How much is asked for.
    pub demand: Demand,
    /// The days that were asked for.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// How often it was begun, this time included.
    pub attempts: u32,
    /// When more than single rows was last asked for.
    pub asked_at: DateTime<Utc>,
    /// Since when rows may have been inserted or deleted and not linked: by an earlier attempt, and once it is
    /// loaded, by whatever pull of the connection did not succeed.
    pub left_since: Option<DateTime<Utc>>,
}

/// What came of reaching for a pull.
#[derive(Clone, Copy, Debug)]
pub enum Claim {
    /// This one is ours.
    Claimed(ClaimedPull),
    /// Others have their hands on what is due at this moment; there may be more.
    LostRace,
    /// Nothing is due.
    Nothing,
}

/// Whose pulls may be claimed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Served {
    /// Any tenant's.
    Anybody,
    /// Those of tenants that have nothing running, so that what a tenant runs for long does not hold up
    /// one that comes later.
    WhoeverHasNothingRunning,
}

impl SystemTx {
    /// Claims the pull that is next, for as long as the lease lasts.
    ///
    /// Among the tenants that have something due, the one with the fewest running pulls is served,
    /// so that no tenant holds the workers while others wait; within a tenant, by priority and time:
    /// each step of priority is worth a minute of waiting, so that what is urgent goes first and
    /// nothing waits for ever behind it.
    pub async fn claim_pull(
        &mut self,
        served: Served,
        token: Uuid,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
    ) -> Result<Claim, StorageError> {
        let priorities: Vec<i16> = PullReason::ALL
            .iter()
            .map(|reason| reason.priority())
            .collect();
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
               ), due AS MATERIALIZED (
                   SELECT q.tenant_id, q.id
                   FROM waiting w
                   CROSS JOIN LATERAL (
                       SELECT count(*) AS running FROM pulls r
                       WHERE r.tenant_id = w.tenant_id AND r.state = 'running'
                   ) AS share
                   -- Of each priority those that have waited longest, so that what is not due yet is
                   -- not read.
                   CROSS JOIN unnest($4::smallint[]) AS step (priority)
                   CROSS JOIN LATERAL (
                       SELECT p.tenant_id, p.id,
                              p.due_at + step.priority * interval '1 minute' AS turn
                       FROM pulls p
                       WHERE p.tenant_id = w.tenant_id AND p.priority = step.priority
                         AND p.state IN ('queued', 'retrying') AND p.due_at <= $2
                         AND NOT EXISTS (
                             SELECT FROM pulls r
                             WHERE r.tenant_id = p.tenant_id
                               AND r.connection_id = p.connection_id AND r.state = 'running')
                       ORDER BY p.due_at LIMIT 8
                   ) AS q
                   WHERE w.tenant_id IS NOT NULL AND (share.running = 0 OR NOT $5::boolean)
                   ORDER BY share.running, q.turn
                   LIMIT 64
               ), next AS (
                   SELECT p.tenant_id, p.id
                   FROM due
                   CROSS JOIN LATERAL (
                       -- The second look is at what became of it meanwhile.
                       SELECT tenant_id, id FROM pulls
                       WHERE tenant_id = due.tenant_id AND id = due.id
                         AND state IN ('queued', 'retrying') AND due_at <= $2
                       FOR UPDATE SKIP LOCKED
                   ) AS p
                   LIMIT 1
               ), taken AS (
                   UPDATE pulls p
                   SET state = 'running', lease = $1, lease_until = $3, attempts = p.attempts + 1,
                       started_at = coalesce(p.started_at, $2)
                   FROM next
                   WHERE p.tenant_id = next.tenant_id AND p.id = next.id
                   RETURNING p.tenant_id, p.id, p.connection_id, p.demand, p.window_from,
                             p.window_to, p.attempts, p.asked_at,
                             CASE WHEN p.inserted + p.deleted > 0 THEN p.created_at END
                                 AS left_since
               )
               SELECT tenant_id, id, connection_id, demand, window_from AS "window_from?",
                      window_to AS "window_to?", attempts, asked_at, left_since
               FROM taken
               UNION ALL
               SELECT due.tenant_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
               FROM due WHERE NOT EXISTS (SELECT FROM taken) LIMIT 1"#,
            token,
            now,
            lease_until,
            &priorities,
            served == Served::WhoeverHasNothingRunning
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(row) = row else {
            return Ok(Claim::Nothing);
        };
        let (Some(tenant), Some(id), Some(connection)) = (row.tenant_id, row.id, row.connection_id)
        else {
            return Ok(Claim::LostRace);
        };
        Ok(Claim::Claimed(ClaimedPull {
            tenant: TenantId(tenant),
            connection: ConnectionId(connection),
            lease: Lease {
                pull: PullId(id),
                token,
            },
            demand: demand(row.demand.unwrap_or_default()),
            window: row.window_from.zip(row.window_to),
            attempts: row.attempts.unwrap_or_default().unsigned_abs(),
            asked_at: row.asked_at.unwrap_or(now),
            left_since: row.left_since,
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

    /// Clears away some pulls that were over before `before` and changed no row, but never the last success
    /// of a connection nor the first failure after it, which say since when its rows are what they are;
    /// answers how many there were.
    pub async fn prune_pulls(
        &mut self,
        before: DateTime<Utc>,
        most: i64,
    ) -> Result<u64, StorageError> {
        let done = sqlx::query!(
            "WITH RECURSIVE tenants AS (
                 -- From tenant to tenant, without reading what lies between.
                 (SELECT tenant_id FROM pulls
                  WHERE finished_at IS NOT NULL AND inserted = 0 AND updated = 0 AND deleted = 0
                  ORDER BY tenant_id LIMIT 1)
                 UNION ALL
                 SELECT (SELECT p.tenant_id FROM pulls p
                         WHERE p.finished_at IS NOT NULL
                           AND p.inserted = 0 AND p.updated = 0 AND p.deleted = 0
                           AND p.tenant_id > t.tenant_id
                         ORDER BY p.tenant_id LIMIT 1)
                 FROM tenants t WHERE t.tenant_id IS NOT NULL
             ), old AS MATERIALIZED (
                 SELECT o.tenant_id, o.id FROM tenants t
                 CROSS JOIN LATERAL (
                     SELECT p.tenant_id, p.id FROM pulls p
                     WHERE p.tenant_id = t.tenant_id AND p.finished_at < $1
                       AND p.inserted = 0 AND p.updated = 0 AND p.deleted = 0
                       AND (p.state = 'cancelled'
                            OR EXISTS (
                                SELECT FROM pulls later
                                WHERE later.tenant_id = p.tenant_id
                                  AND later.connection_id = p.connection_id
                                  AND later.state = 'succeeded'
                                  AND later.finished_at > p.finished_at)
                            OR p.state = 'failed' AND p.finished_at IS DISTINCT FROM (
                                SELECT min(f.finished_at) FROM pulls f
                                WHERE f.tenant_id = p.tenant_id
                                  AND f.connection_id = p.connection_id AND f.state = 'failed'
                                  AND (f.window_from IS NULL
                                       OR f.error_class IS DISTINCT FROM 'wrong_request')
                                  AND f.finished_at >= coalesce(
                                      (SELECT max(s.finished_at) FROM pulls s
                                       WHERE s.tenant_id = p.tenant_id
                                         AND s.connection_id = p.connection_id
                                         AND s.state = 'succeeded'), '-infinity')))
                     ORDER BY p.finished_at LIMIT $2) AS o
                 LIMIT $2
             )
             DELETE FROM pulls p USING old
             -- The second look is for one that was put back into the queue meanwhile.
             WHERE p.tenant_id = old.tenant_id AND p.id = old.id AND p.finished_at < $1",
            before,
            most
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }

    /// How much waits and runs, of all tenants.
    pub async fn queue_depth(&mut self, now: DateTime<Utc>) -> Result<QueueDepth, StorageError> {
        let row = sqlx::query!(
            r#"SELECT w.waiting AS "waiting!", r.running AS "running!", w.oldest_due
               FROM (SELECT count(*) AS waiting, min(due_at) FILTER (WHERE due_at <= $1) AS oldest_due
                     FROM pulls WHERE state IN ('queued', 'retrying')) AS w,
                    (SELECT count(*) AS running FROM pulls WHERE state = 'running') AS r"#,
            now
        )
        .fetch_one(&mut *self.tx)
        .await?;
        let waited = row.oldest_due.and_then(|due| (now - due).to_std().ok());
        Ok(QueueDepth {
            waiting: row.waiting.unsigned_abs(),
            running: row.running.unsigned_abs(),
            longest_due: waited.unwrap_or_default(),
        })
    }
}

/// How much waits and runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct QueueDepth {
    /// Pulls that wait, due or not.
    pub waiting: u64,
    /// Pulls that run.
    pub running: u64,
    /// For how long the one has been due that has been so for longest.
    pub longest_due: Duration,
}

/// Hears that there may be something to do.
#[derive(Debug)]
pub struct PullSignal(PgListener);

impl PullSignal {
    /// Waits until somebody says so. Also answers when the connection was lost and made anew, since
    /// something may have been said meanwhile.
    pub async fn heard(&mut self) -> Result<(), StorageError> {
        self.0.try_recv().await?;
        // However often it was said meanwhile, one look serves all.
        while let Some(Ok(Some(_))) = self.0.try_recv().now_or_never() {}
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
