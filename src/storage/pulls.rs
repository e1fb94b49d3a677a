//! `pulls`: what was asked for, what runs, and what became of it.
//!
//! Rows are locked in one order, or two transactions could wait for each other: the connection, its pull
//! that runs or is over, its pull that waits, then deliveries, cursors and whatever else hangs by them.

mod attempts;
mod hints;
mod history;

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

pub use self::{
    attempts::{Ending, Lease},
    hints::FailedPull,
    history::PullHistory,
};
use super::{
    StorageError, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::domain::{
    ids::{ConnectionId, PullId},
    pull::{Demand, Progress, Pull, PullFailure, PullReason, PullState},
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
    /// leads to, and can write no more. Answers which days it was asked for.
    pub async fn call_off_running(
        &mut self,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<Option<(NaiveDate, NaiveDate)>, StorageError> {
        let running = sqlx::query!(
            "UPDATE pulls SET state = 'cancelled', lease = NULL, lease_until = NULL, finished_at = $3
             WHERE tenant_id = $1 AND connection_id = $2 AND state = 'running'
             RETURNING window_from, window_to",
            self.tenant.0,
            connection.0,
            now
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(running.and_then(|pull| pull.window_from.zip(pull.window_to)))
    }

    /// Puts a pull that failed, or was called off, back into the queue, to be begun from its beginning. What
    /// is told of its progress goes on from where it was, as with every other attempt: the versions of rows
    /// that it has changed name it, and what it has inserted or deleted may still have to be linked.
    pub async fn requeue_pull(
        &mut self,
        id: PullId,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE deliveries SET heard_at = NULL
             WHERE tenant_id = $1 AND connection_id = $2 AND pull_id = $3
               AND received_at >= (SELECT hints_since - interval '10 minutes' FROM pulls
                                   WHERE tenant_id = $1 AND id = $3)
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
               AND received_at >= (SELECT hints_since - interval '10 minutes' FROM pulls
                                   WHERE tenant_id = $1 AND id = $3)",
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
}

/// The demand that is stored with a pull.
pub(super) fn demand(number: i16) -> Demand {
    Demand::of_number(number)
}
