//! `pulls`: what was asked for, what runs, and what became of it.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{
    StorageError, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::domain::{
    event::Hint,
    ids::{ConnectionId, PullId},
    pull::{Demand, Hints, NamedPlace, Progress, Pull, PullFailure, PullReason, PullState},
};

/// A pull to ask for.
#[derive(Clone, Copy, Debug)]
pub struct NewPull {
    /// Its identifier, if none waits already.
    pub id: PullId,
    /// What is to be pulled.
    pub connection: ConnectionId,
    /// What asks for it.
    pub reason: PullReason,
    /// The days that are asked for.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// When.
    pub now: DateTime<Utc>,
}

/// What becomes of a pull whose attempt is over.
#[derive(Clone, Debug)]
pub enum Ending {
    /// It came to its end.
    Succeeded,
    /// It is tried again at this instant.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// Why this attempt failed; `None` if it only stopped.
        failure: Option<PullFailure>,
        /// Whether the attempt counts against the most there may be.
        counts: bool,
    },
    /// It rests until somebody retries it.
    Failed(PullFailure),
    /// There is nothing to pull any more.
    Cancelled,
}

impl Ending {
    /// A word for the log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Retry { .. } => "retry",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A pull that failed, and what it was to do.
#[derive(Clone, Copy, Debug)]
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
}

/// Proves that whoever writes still is the one that runs the pull.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lease {
    /// The pull.
    pub pull: PullId,
    /// The proof.
    pub token: Uuid,
}

struct Row {
    id: Uuid,
    connection_id: Uuid,
    state: String,
    reason: String,
    window_from: Option<NaiveDate>,
    window_to: Option<NaiveDate>,
    due_at: DateTime<Utc>,
    attempts: i32,
    accounts: i32,
    pages: i64,
    seen: i64,
    inserted: i64,
    updated: i64,
    unchanged: i64,
    deleted: i64,
    quarantined: i64,
    missed: i64,
    unsettled: i64,
    error_class: Option<String>,
    error_message: Option<String>,
    created_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl TryFrom<Row> for Pull {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let inconsistent = |column| StorageError::Inconsistent {
            table: "pulls",
            column,
            id: row.id,
        };
        let state: PullState = row.state.parse().map_err(|_| inconsistent("state"))?;
        let waits = matches!(state, PullState::Queued | PullState::Retrying);
        let failure = row
            .error_class
            .zip(row.error_message)
            .map(|(class, message)| PullFailure { class, message });
        Ok(Self {
            id: PullId(row.id),
            connection: ConnectionId(row.connection_id),
            state,
            reason: row.reason.parse().map_err(|_| inconsistent("reason"))?,
            window: row.window_from.zip(row.window_to),
            attempts: row.attempts.unsigned_abs(),
            next_attempt_at: waits.then_some(row.due_at),
            progress: Progress {
                accounts: row.accounts.unsigned_abs(),
                pages: row.pages.unsigned_abs(),
                seen: row.seen.unsigned_abs(),
                inserted: row.inserted.unsigned_abs(),
                updated: row.updated.unsigned_abs(),
                unchanged: row.unchanged.unsigned_abs(),
                deleted: row.deleted.unsigned_abs(),
                quarantined: row.quarantined.unsigned_abs(),
                missed: row.missed.unsigned_abs(),
                unsettled: row.unsettled.unsigned_abs(),
            },
            failure,
            created_at: row.created_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
        })
    }
}

/// Every query that reads pulls; what follows the columns is part of the text, so that each is
/// checked.
macro_rules! select {
    ($rest:tt $(, $argument:expr)*) => {
        sqlx::query_as!(
            Row,
            "SELECT id, connection_id, state, reason, window_from, window_to, due_at, attempts,
                    accounts, pages, seen, inserted, updated, unchanged, deleted, quarantined,
                    missed, unsettled, error_class, error_message, created_at, started_at,
                    finished_at
             FROM pulls WHERE tenant_id = $1 " + $rest
            $(, $argument)*
        )
    };
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl TenantTx {
    /// Asks for a pull. If one waits already, it does that work too; answers which one it is.
    pub async fn ask_for_pull(&mut self, new: &NewPull) -> Result<PullId, StorageError> {
        let (from, to) = new.window.unzip();
        let id = sqlx::query_scalar!(
            "INSERT INTO pulls AS p
                 (tenant_id, id, connection_id, state, reason, window_from, window_to, demand,
                  priority, due_at, asked_at, created_at)
             VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, $9, $9)
             ON CONFLICT (tenant_id, connection_id) WHERE state IN ('queued', 'retrying')
             DO UPDATE SET
                 demand = greatest(p.demand, excluded.demand),
                 priority = least(p.priority, excluded.priority),
                 window_from = least(p.window_from, excluded.window_from),
                 window_to = greatest(p.window_to, excluded.window_to),
                 asked_at = CASE WHEN excluded.demand > 0 OR excluded.window_from IS NOT NULL
                                 THEN greatest(p.asked_at, excluded.asked_at) ELSE p.asked_at END,
                 -- What was told to wait waits, unless somebody asks by hand.
                 due_at = CASE WHEN p.state = 'queued'
                                    OR excluded.reason IN ('initial', 'manual', 'backfill')
                               THEN least(p.due_at, excluded.due_at) ELSE p.due_at END,
                 attempts = CASE WHEN excluded.reason IN ('initial', 'manual', 'backfill')
                                 THEN 0 ELSE p.attempts END
             RETURNING id",
            self.tenant.0,
            new.id.0,
            new.connection.0,
            new.reason.as_str(),
            from,
            to,
            new.reason.demand().number(),
            new.reason.priority(),
            new.now
        )
        .fetch_one(&mut *self.tx)
        .await?;
        self.wake_workers().await?;
        Ok(PullId(id))
    }

    /// Tells the workers, once this transaction is committed, that there is something to do.
    pub async fn wake_workers(&mut self) -> Result<(), StorageError> {
        sqlx::query!("SELECT pg_notify('discovery_pulls', '')")
            .execute(&mut *self.tx)
            .await?;
        Ok(())
    }

    /// One pull.
    pub async fn pull(&mut self, id: PullId) -> Result<Option<Pull>, StorageError> {
        select!("AND id = $2", self.tenant.0, id.0)
            .fetch_optional(&mut *self.tx)
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// One pull, held against other changes until this transaction is over.
    pub async fn lock_pull(&mut self, id: PullId) -> Result<Option<Pull>, StorageError> {
        select!("AND id = $2 FOR NO KEY UPDATE", self.tenant.0, id.0)
            .fetch_optional(&mut *self.tx)
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// A page of the pulls of a connection, newest first.
    pub async fn list_pulls(
        &mut self,
        connection: ConnectionId,
        start: &PageStart<Uuid>,
        limit: u16,
    ) -> Result<Page<Pull>, StorageError> {
        let most = rows_to_ask(limit);
        let (id, backwards) = match start {
            PageStart::First => (Uuid::max(), false),
            PageStart::After(id) => (*id, false),
            PageStart::Before(id) => (*id, true),
        };
        let (tenant, connection) = (self.tenant.0, connection.0);
        let rows = if backwards {
            select!(
                "AND connection_id = $2 AND id > $3 ORDER BY id LIMIT $4",
                tenant,
                connection,
                id,
                most
            )
            .fetch_all(&mut *self.tx)
            .await?
        } else {
            select!(
                "AND connection_id = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
                tenant,
                connection,
                id,
                most
            )
            .fetch_all(&mut *self.tx)
            .await?
        };
        Page::of(rows, limit, start)
    }

    /// Calls a pull off that lives, or one that failed, so that no other does what it was to do; a worker
    /// that is at it can write no more. Answers whether it was one of them.
    pub async fn cancel_pull(
        &mut self,
        id: PullId,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE pulls SET state = 'cancelled', lease = NULL, lease_until = NULL,
                    finished_at = coalesce(finished_at, $3)
             WHERE tenant_id = $1 AND id = $2
               AND state IN ('queued', 'retrying', 'running', 'failed')",
            self.tenant.0,
            id.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Calls off every live pull of a connection.
    pub async fn cancel_pulls_of(
        &mut self,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<u64, StorageError> {
        let done = sqlx::query!(
            "UPDATE pulls SET state = 'cancelled', lease = NULL, lease_until = NULL, finished_at = $3
             WHERE tenant_id = $1 AND connection_id = $2
               AND state IN ('queued', 'retrying', 'running')",
            self.tenant.0,
            connection.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }

    /// Ends the attempt that runs of a connection, if one does: it reads what the connection no longer
    /// leads to, and can write no more.
    pub async fn call_off_running(
        &mut self,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE pulls SET state = 'cancelled', lease = NULL, lease_until = NULL, finished_at = $3
             WHERE tenant_id = $1 AND connection_id = $2 AND state = 'running'",
            self.tenant.0,
            connection.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Puts a pull that failed, or was called off, back into the queue, as if it had never been
    /// begun.
    pub async fn requeue_pull(
        &mut self,
        id: PullId,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE deliveries SET heard_at = NULL
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id = $3
               AND heard_at IS NOT NULL",
            self.tenant.0,
            connection.0,
            id.0
        )
        .execute(&mut *self.tx)
        .await?;
        sqlx::query!(
            "UPDATE pulls SET state = 'queued', attempts = 0, due_at = $3, asked_at = $3,
                    finished_at = NULL, named_at = NULL, named_to = NULL,
                    priority = least(priority, $4), error_class = NULL, error_message = NULL
             WHERE tenant_id = $1 AND id = $2 AND state IN ('failed', 'cancelled')",
            self.tenant.0,
            id.0,
            now,
            PullReason::Manual.priority()
        )
        .execute(&mut *self.tx)
        .await?;
        self.wake_workers().await
    }

    /// The pulls of a connection that failed after the last success, the latest first. One that failed by
    /// what it was asked for is none of them, since the next one would fail by it as well.
    pub async fn failed_since_success(
        &mut self,
        connection: ConnectionId,
        most: u8,
    ) -> Result<Vec<FailedPull>, StorageError> {
        let rows = sqlx::query!(
            r#"SELECT id, demand, asked_at, window_from, window_to, finished_at AS "finished_at!"
               FROM pulls
               WHERE tenant_id = $1 AND connection_id = $2 AND state = 'failed'
                 AND error_class IS DISTINCT FROM 'wrong_request'
                 AND finished_at > coalesce(
                     (SELECT max(finished_at) FROM pulls
                      WHERE tenant_id = $1 AND connection_id = $2 AND state = 'succeeded'),
                     '-infinity')
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
        });
        Ok(failed.collect())
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
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id = ANY($3)",
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
    /// its end: what it has read is not read again.
    pub async fn note_heard(
        &mut self,
        connection: ConnectionId,
        pulls: &[PullId],
        began: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        let pulls: Vec<Uuid> = pulls.iter().map(|pull| pull.0).collect();
        sqlx::query!(
            "UPDATE deliveries SET heard_at = $4
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id = ANY ($3)
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

    /// Adds to the progress of a pull and keeps its lease; `false` if the lease is lost, and then
    /// nothing else of this transaction may be kept.
    pub async fn advance_pull(
        &mut self,
        lease: Lease,
        more: &Progress,
        lease_until: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE pulls SET
                 accounts = accounts + $4, pages = pages + $5, seen = seen + $6,
                 inserted = inserted + $7, updated = updated + $8, unchanged = unchanged + $9,
                 deleted = deleted + $10, quarantined = quarantined + $11, missed = missed + $12,
                 lease_until = $13, unsettled = unsettled + $14
             WHERE tenant_id = $1 AND id = $2 AND lease = $3",
            self.tenant.0,
            lease.pull.0,
            lease.token,
            i32::try_from(more.accounts).unwrap_or(i32::MAX),
            count(more.pages),
            count(more.seen),
            count(more.inserted),
            count(more.updated),
            count(more.unchanged),
            count(more.deleted),
            count(more.quarantined),
            count(more.missed),
            lease_until,
            count(more.unsettled)
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Ends an attempt; `false` if the lease is lost, and then the pull is somebody else's.
    ///
    /// A pull that is to be tried again while another one waits already leaves its work to that one.
    pub async fn end_attempt(
        &mut self,
        lease: Lease,
        connection: ConnectionId,
        attempts: u32,
        ending: &Ending,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let (state, due_at, failure, counts) = match ending {
            Ending::Succeeded => (PullState::Succeeded, now, None, true),
            Ending::Retry {
                at,
                failure,
                counts,
            } => {
                let counted = if *counts { attempts } else { 0 };
                let waiting = self
                    .hand_over_to_waiting(lease.pull, connection, *at, counted, true)
                    .await?;
                let state = match waiting {
                    // The other one does its work; nothing failed.
                    Some(_) => PullState::Cancelled,
                    None => PullState::Retrying,
                };
                (state, *at, failure.as_ref(), *counts)
            }
            // What it was asked for is not lost with it: the next one looks for what failed.
            Ending::Failed(failure) => (PullState::Failed, now, Some(failure), true),
            Ending::Cancelled => (PullState::Cancelled, now, None, true),
        };
        let finished = (state != PullState::Retrying).then_some(now);
        let done = sqlx::query!(
            "UPDATE pulls SET state = $4, due_at = $5, lease = NULL, lease_until = NULL,
                    error_class = $6, error_message = $7, finished_at = $8,
                    attempts = attempts - CASE WHEN $9 THEN 0 ELSE 1 END
             WHERE tenant_id = $1 AND id = $2 AND lease = $3",
            self.tenant.0,
            lease.pull.0,
            lease.token,
            state.as_str(),
            due_at,
            failure.map(|failure| failure.class.as_str()),
            failure.map(|failure| failure.message.as_str()),
            finished,
            counts
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Hands what a pull was asked for to the one of its connection that waits, which is not begun
    /// before `due_at` and counts as begun `attempts` times. What `was_told_to_wait` is not hastened by
    /// the next event. Answers which one that is.
    pub async fn hand_over_to_waiting(
        &mut self,
        pull: PullId,
        connection: ConnectionId,
        due_at: DateTime<Utc>,
        attempts: u32,
        was_told_to_wait: bool,
    ) -> Result<Option<PullId>, StorageError> {
        let waiting = sqlx::query_scalar!(
            "UPDATE pulls AS w SET
                 state = CASE WHEN $6 THEN 'retrying' ELSE w.state END,
                 demand = greatest(w.demand, p.demand),
                 window_from = least(w.window_from, p.window_from),
                 window_to = greatest(w.window_to, p.window_to),
                 asked_at = greatest(w.asked_at, p.asked_at),
                 attempts = greatest(w.attempts, $5),
                 due_at = greatest(w.due_at, $4),
                 named_at = CASE WHEN $6 THEN p.named_at ELSE w.named_at END,
                 named_to = CASE WHEN $6 THEN p.named_to ELSE w.named_to END
             FROM pulls p
             WHERE w.tenant_id = $1 AND w.connection_id = $2
               AND w.state IN ('queued', 'retrying')
               AND p.tenant_id = $1 AND p.id = $3
             RETURNING w.id",
            self.tenant.0,
            connection.0,
            pull.0,
            due_at,
            i32::try_from(attempts).unwrap_or(i32::MAX),
            was_told_to_wait
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(waiting) = waiting else {
            return Ok(None);
        };
        sqlx::query!(
            // What was over for a while is done from its beginning.
            "UPDATE deliveries SET pull_id = $4, heard_at = CASE WHEN $5 THEN heard_at END
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id = $3",
            self.tenant.0,
            connection.0,
            pull.0,
            waiting,
            was_told_to_wait
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(Some(PullId(waiting)))
    }

    /// Notes when a connection is to be looked at again without being told to.
    pub async fn schedule_sweep(
        &mut self,
        connection: ConnectionId,
        due_at: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO sweeps (tenant_id, connection_id, due_at) VALUES ($1, $2, $3)
             ON CONFLICT (tenant_id, connection_id) DO UPDATE SET due_at = excluded.due_at",
            self.tenant.0,
            connection.0,
            due_at
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Takes a connection off the calendar.
    pub async fn forget_sweep(&mut self, connection: ConnectionId) -> Result<(), StorageError> {
        sqlx::query!(
            "DELETE FROM sweeps WHERE tenant_id = $1 AND connection_id = $2",
            self.tenant.0,
            connection.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The last pull of a connection that came to an end, and the last one that succeeded.
    pub async fn last_pulls(
        &mut self,
        connection: ConnectionId,
    ) -> Result<(Option<Pull>, Option<Pull>), StorageError> {
        let (tenant, connection) = (self.tenant.0, connection.0);
        let ended = select!(
            "AND connection_id = $2 AND state IN ('succeeded', 'failed')
             ORDER BY finished_at DESC, id DESC LIMIT 1",
            tenant,
            connection
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let succeeded = select!(
            "AND connection_id = $2 AND state = 'succeeded'
             ORDER BY finished_at DESC, id DESC LIMIT 1",
            tenant,
            connection
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok((
            ended.map(TryInto::try_into).transpose()?,
            succeeded.map(TryInto::try_into).transpose()?,
        ))
    }
}

/// The demand that is stored with a pull.
pub(super) fn demand(number: i16) -> Demand {
    Demand::of_number(number)
}
