//! `pulls`: what was asked for, what runs, and what became of it.
//!
//! Rows are locked in one order, or two transactions could wait for each other: the connection, its pull
//! that runs or is over, its pull that waits, then deliveries, cursors and whatever else hangs by them.

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
    status::DataState,
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
    /// Whether somebody asks by hand: then what waits to be tried again is tried at once, and what was
    /// read before is read again.
    pub by_hand: bool,
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

/// When a pull that takes over the work of another one is begun.
#[derive(Clone, Copy, Debug)]
pub enum HandOver {
    /// Not before that instant, whatever comes in meanwhile, and as if it had been begun so often.
    ToWait {
        /// That instant.
        until: DateTime<Utc>,
        /// How often.
        attempts: u32,
    },
    /// At once, as if it had never been begun: somebody asks for it.
    ByHand {
        /// When.
        now: DateTime<Utc>,
    },
}

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
                  priority, due_at, hints_since, asked_at, created_at)
             VALUES ($1, $2, $3, 'queued', $4, $5, $6, $7, $8, $9, $9, $9, $9)
             ON CONFLICT (tenant_id, connection_id) WHERE state IN ('queued', 'retrying')
             DO UPDATE SET
                 demand = greatest(p.demand, excluded.demand),
                 priority = least(p.priority, excluded.priority),
                 window_from = least(p.window_from, excluded.window_from),
                 window_to = greatest(p.window_to, excluded.window_to),
                 asked_at = CASE WHEN excluded.demand > 0 OR $10
                                 THEN greatest(p.asked_at, excluded.asked_at) ELSE p.asked_at END,
                 -- What was told to wait waits, unless somebody asks by hand.
                 due_at = CASE WHEN p.state = 'queued' OR $10
                               THEN least(p.due_at, excluded.due_at) ELSE p.due_at END,
                 attempts = CASE WHEN $10 THEN 0 ELSE p.attempts END
             RETURNING id",
            self.tenant.0,
            new.id.0,
            new.connection.0,
            new.reason.as_str(),
            from,
            to,
            new.reason.demand().number(),
            new.reason.priority(),
            new.now,
            new.by_hand
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
            "WITH live AS (
                 SELECT id FROM pulls
                 WHERE tenant_id = $1 AND connection_id = $2
                   AND state IN ('queued', 'retrying', 'running')
                 ORDER BY state <> 'running'
                 FOR NO KEY UPDATE)
             UPDATE pulls SET state = 'cancelled', lease = NULL, lease_until = NULL, finished_at = $3
             WHERE tenant_id = $1 AND id IN (SELECT id FROM live)
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
                    started_at = NULL, finished_at = NULL,
                    accounts = 0, pages = 0, seen = 0, inserted = 0, updated = 0, unchanged = 0,
                    deleted = 0, quarantined = 0, missed = 0, unsettled = 0,
                    named_at = NULL, named_to = NULL,
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
            class: row.error_class,
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
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id = ANY($3)
               AND received_at >= (SELECT min(hints_since) FROM pulls
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
                 -- Each attempt lists them all.
                 accounts = greatest(accounts, $4), pages = pages + $5, seen = seen + $6,
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
        if !self.hold_leased_pull(lease).await? {
            return Ok(false);
        }
        let joined;
        let (state, due_at, failure, counts) = match ending {
            Ending::Succeeded => (PullState::Succeeded, now, None, true),
            Ending::Retry {
                at,
                failure,
                counts,
            } => {
                let how = HandOver::ToWait {
                    until: *at,
                    attempts: if *counts { attempts } else { 0 },
                };
                let waiting = self
                    .hand_over_to_waiting(lease.pull, connection, how)
                    .await?;
                match waiting {
                    // Nothing failed for good, and whoever looks for this one is told where it went.
                    Some(waiting) => {
                        joined = PullFailure {
                            class: "joined".to_owned(),
                            message: format!("pull {waiting} does its work"),
                        };
                        (PullState::Cancelled, *at, Some(&joined), *counts)
                    }
                    None => (PullState::Retrying, *at, failure.as_ref(), *counts),
                }
            }
            // What it was asked for is not lost with it: the next one looks for what failed.
            Ending::Failed(failure) => (PullState::Failed, now, Some(failure), true),
            Ending::Cancelled => (PullState::Cancelled, now, None, true),
        };
        let finished = (state != PullState::Retrying).then_some(now);
        let done = sqlx::query!(
            "UPDATE pulls SET state = $4, due_at = $5, lease = NULL, lease_until = NULL,
                    error_class = $6, error_message = $7, finished_at = $8,
                    attempts = attempts - CASE WHEN $9 THEN 0 ELSE 1 END,
                    fresh_since = CASE WHEN $4 = 'succeeded' THEN coalesce((
                        SELECT CASE WHEN p.state = 'succeeded' AND p.finished_at >= $10
                                    THEN coalesce(p.fresh_since, p.finished_at) END
                        FROM pulls p
                        WHERE p.tenant_id = $1 AND p.connection_id = $11
                          AND p.state IN ('succeeded', 'failed')
                          AND (p.window_from IS NULL
                               OR p.error_class IS DISTINCT FROM 'wrong_request')
                        ORDER BY p.finished_at DESC, p.id DESC LIMIT 1), $8) END
             WHERE tenant_id = $1 AND id = $2 AND lease = $3",
            self.tenant.0,
            lease.pull.0,
            lease.token,
            state.as_str(),
            due_at,
            failure.map(|failure| failure.class.as_str()),
            failure.map(|failure| failure.message.as_str()),
            finished,
            counts,
            now - DataState::STALE_AFTER,
            connection.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Holds a pull that is ours against other changes until this transaction is over; `false` if the
    /// lease is lost.
    async fn hold_leased_pull(&mut self, lease: Lease) -> Result<bool, StorageError> {
        let held = sqlx::query_scalar!(
            "SELECT id FROM pulls WHERE tenant_id = $1 AND id = $2 AND lease = $3
             FOR NO KEY UPDATE",
            self.tenant.0,
            lease.pull.0,
            lease.token
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(held.is_some())
    }

    /// Hands what a pull was asked for to the one of its connection that waits, if there is one. Answers
    /// which one that is.
    pub async fn hand_over_to_waiting(
        &mut self,
        pull: PullId,
        connection: ConnectionId,
        how: HandOver,
    ) -> Result<Option<PullId>, StorageError> {
        let (by_hand, at, attempts) = match how {
            HandOver::ToWait { until, attempts } => (false, until, attempts),
            HandOver::ByHand { now } => (true, now, 0),
        };
        let waiting = sqlx::query_scalar!(
            "UPDATE pulls AS w SET
                 state = CASE WHEN $6 THEN w.state ELSE 'retrying' END,
                 demand = greatest(w.demand, p.demand),
                 priority = least(w.priority, p.priority, CASE WHEN $6 THEN $7::smallint END),
                 window_from = least(w.window_from, p.window_from),
                 window_to = greatest(w.window_to, p.window_to),
                 asked_at = greatest(w.asked_at, p.asked_at, CASE WHEN $6 THEN $4::timestamptz END),
                 hints_since = least(w.hints_since, p.hints_since),
                 attempts = CASE WHEN $6 THEN 0 ELSE greatest(w.attempts, $5) END,
                 due_at = CASE WHEN $6 THEN least(w.due_at, $4::timestamptz)
                               ELSE greatest(w.due_at, $4::timestamptz) END,
                 named_at = CASE WHEN $6 THEN w.named_at ELSE p.named_at END,
                 named_to = CASE WHEN $6 THEN w.named_to ELSE p.named_to END
             FROM pulls p
             WHERE w.tenant_id = $1 AND w.connection_id = $2
               AND w.state IN ('queued', 'retrying')
               AND p.tenant_id = $1 AND p.id = $3
             RETURNING w.id",
            self.tenant.0,
            connection.0,
            pull.0,
            at,
            i32::try_from(attempts).unwrap_or(i32::MAX),
            by_hand,
            PullReason::Manual.priority()
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(waiting) = waiting else {
            return Ok(None);
        };
        sqlx::query!(
            // What was over for a while is done from its beginning.
            "UPDATE deliveries SET pull_id = $4, heard_at = CASE WHEN $5 THEN heard_at END
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id = $3
               AND received_at >= (SELECT hints_since FROM pulls WHERE tenant_id = $1 AND id = $3)",
            self.tenant.0,
            connection.0,
            pull.0,
            waiting,
            !by_hand
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
               FROM (VALUES ($1::uuid, $2::uuid)) AS asked (tenant_id, connection_id)
               LEFT JOIN LATERAL (
                   SELECT p.id FROM pulls p
                   WHERE p.tenant_id = asked.tenant_id AND p.connection_id = asked.connection_id
                     AND p.state IN ('succeeded', 'failed')
                   ORDER BY p.finished_at DESC, p.id DESC LIMIT 1) AS last ON true
               LEFT JOIN LATERAL (
                   SELECT p.id, p.finished_at, p.fresh_since FROM pulls p
                   WHERE p.tenant_id = asked.tenant_id AND p.connection_id = asked.connection_id
                     AND p.state = 'succeeded'
                   ORDER BY p.finished_at DESC, p.id DESC LIMIT 1) AS ok ON true
               CROSS JOIN LATERAL (
                   SELECT min(p.finished_at) AS since,
                          (array_agg(p.error_class ORDER BY p.finished_at DESC, p.id DESC))[1]
                              AS class
                   FROM pulls p
                   WHERE p.tenant_id = asked.tenant_id AND p.connection_id = asked.connection_id
                     AND p.state = 'failed'
                     AND (p.window_from IS NULL OR p.error_class IS DISTINCT FROM 'wrong_request')
                     AND p.finished_at >= coalesce(ok.finished_at, '-infinity')
                     AND (ok.id IS NULL OR (p.finished_at, p.id) > (ok.finished_at, ok.id))
               ) AS failed
               LEFT JOIN LATERAL (
                   SELECT p.error_class FROM pulls p
                   WHERE p.tenant_id = asked.tenant_id AND p.connection_id = asked.connection_id
                     AND p.state IN ('queued', 'retrying', 'running')
                     AND p.error_class IS NOT NULL
                   ORDER BY p.due_at LIMIT 1) AS waiting ON true
               LEFT JOIN LATERAL (
                   SELECT p.missed FROM pulls p
                   WHERE p.tenant_id = asked.tenant_id AND p.connection_id = asked.connection_id
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

/// The demand that is stored with a pull.
pub(super) fn demand(number: i16) -> Demand {
    Demand::of_number(number)
}
