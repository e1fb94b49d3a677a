//! What the pulls of a connection came to.

use chrono::{DateTime, Utc};

use super::super::{StorageError, TenantTx};
use crate::domain::ids::{ConnectionId, PullId};

/// What the pulls of a connection came to.
#[derive(Clone, Debug)]
pub struct PullHistory {
    /// The last one that came to its end.
    pub last: Option<PullId>,
    /// When one last succeeded.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// When the successes began that followed each other until then without a break.
    pub fresh_since: Option<DateTime<Utc>>,
    /// When one first failed after that.
    pub failing_since: Option<DateTime<Utc>>,
    /// Why the last one did.
    pub failing_class: Option<String>,
    /// Why the last attempt of one that is to be tried again failed.
    pub waiting_class: Option<String>,
    /// Changes that no webhook had announced, as found by the last success that read more than what
    /// webhooks named.
    pub missed: u64,
}

impl TenantTx {
    /// What the pulls of a connection came to.
    pub async fn pull_history(
        &mut self,
        connection: ConnectionId,
    ) -> Result<PullHistory, StorageError> {
        // Days that an operator asked for and the vendor refuses say nothing of the rows there are.
        let row = sqlx::query!(
            r#"SELECT last.id AS "last?", ok.finished_at AS "succeeded_at?",
                      ok.fresh_since AS "fresh_since?", failed.since AS failing_since,
                      failed.class AS failing_class, waiting.error_class AS "waiting_class?",
                      look.missed AS "missed?"
               FROM (VALUES (1)) AS one
               LEFT JOIN LATERAL (
                   SELECT p.id FROM pulls p
                   WHERE p.tenant_id = $1 AND p.connection_id = $2
                     AND p.state IN ('succeeded', 'failed')
                   ORDER BY p.finished_at DESC, p.id DESC LIMIT 1) AS last ON true
               LEFT JOIN LATERAL (
                   SELECT p.id, p.finished_at, p.fresh_since FROM pulls p
                   WHERE p.tenant_id = $1 AND p.connection_id = $2 AND p.state = 'succeeded'
                   ORDER BY p.finished_at DESC, p.id DESC LIMIT 1) AS ok ON true
               CROSS JOIN LATERAL (
                   SELECT min(p.finished_at) AS since,
                          (array_agg(p.error_class ORDER BY p.finished_at DESC, p.id DESC))[1]
                              AS class
                   FROM pulls p
                   WHERE p.tenant_id = $1 AND p.connection_id = $2 AND p.state = 'failed'
                     AND (p.window_from IS NULL OR p.error_class IS DISTINCT FROM 'wrong_request')
                     -- Asked once more, since coalesce(ok.…) would be no condition of an index.
                     AND p.finished_at >= (
                         SELECT coalesce(max(s.finished_at), '-infinity') FROM pulls s
                         WHERE s.tenant_id = $1 AND s.connection_id = $2 AND s.state = 'succeeded')
                     AND (ok.id IS NULL OR (p.finished_at, p.id) > (ok.finished_at, ok.id))
               ) AS failed
               LEFT JOIN LATERAL (
                   -- Two indexes hold those that are not over.
                   SELECT p.error_class FROM (
                       SELECT error_class, due_at FROM pulls
                       WHERE tenant_id = $1 AND connection_id = $2
                         AND state IN ('queued', 'retrying')
                       UNION ALL
                       SELECT error_class, due_at FROM pulls
                       WHERE tenant_id = $1 AND connection_id = $2 AND state = 'running') AS p
                   WHERE p.error_class IS NOT NULL
                   ORDER BY p.due_at LIMIT 1) AS waiting ON true
               LEFT JOIN LATERAL (
                   SELECT p.missed FROM pulls p
                   WHERE p.tenant_id = $1 AND p.connection_id = $2
                     AND p.state = 'succeeded' AND p.demand > 0
                   ORDER BY p.finished_at DESC, p.id DESC LIMIT 1) AS look ON true"#,
            self.tenant.0,
            connection.0
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(PullHistory {
            last: row.last.map(PullId),
            succeeded_at: row.succeeded_at,
            fresh_since: row.fresh_since,
            failing_since: row.failing_since,
            failing_class: row.failing_class,
            waiting_class: row.waiting_class,
            missed: row.missed.unwrap_or_default().unsigned_abs(),
        })
    }
}
