//! What a pull was asked for: by the events that it follows, and by those before it that failed.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{
    super::{StorageError, TenantTx},
    demand,
};
use crate::domain::{
    event::Hint,
    ids::{ConnectionId, PullId},
    pull::{Demand, Hints, NamedPlace},
};

/// A pull that failed, and what it was to do.
#[derive(Clone, Debug)]
pub struct FailedPull {
    /// Its identifier.
    pub id: PullId,
    /// How much it was asked for.
    pub demand: Demand,
    /// When more than single rows was last asked for.
    pub asked_at: DateTime<Utc>,
    /// The days that it was asked for.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// When it failed.
    pub finished_at: DateTime<Utc>,
    /// Why, as a stable word.
    pub class: Option<String>,
}

impl TenantTx {
    /// The pulls of a connection that failed after the last success, the latest first.
    pub async fn failed_since_success(
        &mut self,
        connection: ConnectionId,
        most: u8,
    ) -> Result<Vec<FailedPull>, StorageError> {
        let rows = sqlx::query!(
            r#"SELECT id, demand, asked_at, window_from, window_to, finished_at AS "finished_at!",
                      error_class
               FROM pulls
               WHERE tenant_id = $1 AND connection_id = $2 AND state = 'failed'
                 -- Within the brackets: under a policy, what is compared with coalesce(…) is no
                 -- condition of an index, and all pulls of the connection are looked through.
                 AND finished_at > (
                     SELECT coalesce(max(finished_at), '-infinity') FROM pulls
                     WHERE tenant_id = $1 AND connection_id = $2 AND state = 'succeeded')
               ORDER BY finished_at DESC LIMIT $3"#,
            self.tenant.0,
            connection.0,
            i64::from(most)
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let failed = rows.into_iter().map(|row| FailedPull {
            id: PullId(row.id),
            demand: demand(row.demand),
            asked_at: row.asked_at,
            window: row.window_from.zip(row.window_to),
            finished_at: row.finished_at,
            class: row.error_class,
        });
        Ok(failed.collect())
    }

    /// Since when pulls of a connection that ended since the last success may have inserted or deleted rows; nothing
    /// if none of them did.
    pub async fn left_since_success(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Option<DateTime<Utc>>, StorageError> {
        // The last of each is where an index ends. Whether there is any at all, the planner would look for
        // in the whole table, where one connection has most of it.
        let last = sqlx::query!(
            "SELECT (SELECT max(finished_at) FROM pulls
                     WHERE tenant_id = $1 AND connection_id = $2
                       AND inserted + deleted > 0) AS changed_at,
                    (SELECT max(finished_at) FROM pulls
                     WHERE tenant_id = $1 AND connection_id = $2
                       AND state = 'succeeded') AS succeeded_at",
            self.tenant.0,
            connection.0
        )
        .fetch_one(&mut *self.tx)
        .await?;
        if last.changed_at <= last.succeeded_at {
            return Ok(None);
        }
        let since = sqlx::query_scalar!(
            "SELECT min(created_at) FROM pulls
             WHERE tenant_id = $1 AND connection_id = $2 AND inserted + deleted > 0
               AND finished_at > $3",
            self.tenant.0,
            connection.0,
            last.succeeded_at.unwrap_or_default()
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(since)
    }

    /// What the events that asked for some pulls say together.
    pub async fn hints_of_pulls(
        &mut self,
        connection: ConnectionId,
        pulls: &[PullId],
    ) -> Result<Hints, StorageError> {
        let pulls: Vec<Uuid> = pulls.iter().map(|pull| pull.0).collect();
        let rows = sqlx::query!(
            "SELECT hint, hint_account, hint_since, hint_ids, received_at, heard_at
             FROM deliveries
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id = ANY($3)
               -- Who wrote it down may go by another clock than who made the pull.
               AND received_at >= (SELECT min(hints_since) - interval '10 minutes' FROM pulls
                                   WHERE tenant_id = $1 AND id = ANY($3))",
            self.tenant.0,
            connection.0,
            &pulls
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let mut hints = Hints::default();
        for row in rows {
            let account = row.hint_account;
            let ids = row.hint_ids.unwrap_or_default();
            if !ids.is_empty() {
                hints.named_at = hints.named_at.max(Some(row.received_at));
            }
            let hint = match row.hint.as_str() {
                "source" => Hint::Source,
                "created" => Hint::Created {
                    account,
                    since: row.hint_since,
                },
                "updated" => Hint::Updated { account, ids },
                "deleted" => Hint::Deleted { account, ids },
                "window" => Hint::Window,
                "full" => Hint::Full,
                _ => Hint::Nothing,
            };
            hints.merge(hint, row.heard_at);
        }
        Ok(hints)
    }

    /// Notes that an attempt which began at `began` knew what asked for these pulls, and did not come to
    /// its end: what it has read is not read again. One of them that was put back into the queue meanwhile
    /// may have been joined by what the attempt did not know; that one is left as it is.
    pub async fn note_heard(
        &mut self,
        connection: ConnectionId,
        pulls: &[PullId],
        began: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        let pulls: Vec<Uuid> = pulls.iter().map(|pull| pull.0).collect();
        sqlx::query!(
            "WITH known AS MATERIALIZED (
                 SELECT id FROM pulls
                 WHERE tenant_id = $1 AND id = ANY ($3) AND state IN ('running', 'failed')
                 ORDER BY id FOR NO KEY UPDATE
             )
             UPDATE deliveries SET heard_at = $4
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id IN (SELECT id FROM known)
               AND received_at >= (SELECT min(hints_since) - interval '10 minutes' FROM pulls
                                   WHERE tenant_id = $1 AND id = ANY ($3))
               AND heard_at IS NULL",
            self.tenant.0,
            connection.0,
            &pulls,
            began
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// How far a pull, or one that left its work to it, has read rows that were named without their
    /// account.
    pub async fn named_anywhere(&mut self, id: PullId) -> Result<Option<NamedPlace>, StorageError> {
        let row = sqlx::query!(
            "SELECT named_at, named_to FROM pulls WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let place = row.and_then(|row| row.named_at.zip(row.named_to));
        Ok(place.map(|(at, to)| NamedPlace { at, to }))
    }

    /// Notes how far it has.
    pub async fn note_named_anywhere(
        &mut self,
        id: PullId,
        place: &NamedPlace,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE pulls SET named_at = $3, named_to = $4 WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0,
            place.at,
            place.to
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
