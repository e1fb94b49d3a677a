//! Pulls, as an operator sees them: ask for one, look, retry, call off.

use chrono::{NaiveDate, TimeDelta};
use uuid::Uuid;

use super::{App, AppError};
use crate::{
    domain::{
        audit::AuditAction,
        caller::Caller,
        ids::{ConnectionId, PullId},
        pull::{Pull, PullReason, PullState},
    },
    storage::{HandOver, NewPull, Page, PageStart, TenantTx},
};

/// How long a pull is kept that is over and changed nothing.
const KEPT: TimeDelta = TimeDelta::days(90);
/// How many are cleared away in one transaction.
const PRUNED_AT_ONCE: i64 = 1_000;
/// How many such transactions a round has at most: what else is to be looked after waits for it.
const BATCHES_AT_ONCE: usize = 20;

impl App {
    /// Clears away pulls that were kept for long enough. Answers how many.
    pub async fn prune_pulls(&self) -> Result<u64, AppError> {
        let before = self.0.parts.clock.now() - KEPT;
        let mut all = 0;
        for _ in 0..BATCHES_AT_ONCE {
            let mut tx = self.0.parts.store.begin_system().await?;
            let pruned = tx.prune_pulls(before, PRUNED_AT_ONCE).await?;
            tx.commit().await?;
            all += pruned;
            if pruned < PRUNED_AT_ONCE.unsigned_abs() {
                break;
            }
        }
        Ok(all)
    }

    /// Asks for a pull now, or for a window of days. If one waits already, it is that one.
    pub async fn request_pull(
        &self,
        caller: &Caller,
        connection: ConnectionId,
        window: Option<(NaiveDate, NaiveDate)>,
    ) -> Result<Pull, AppError> {
        let reason = match window {
            None => PullReason::Manual,
            Some(_) => PullReason::Backfill,
        };
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        // Held, so that a deletion either comes first or finds the pull.
        if !tx.share_aggregator_connection(connection).await? {
            return Err(AppError::ConnectionNotFound);
        }
        let id = self
            .ask_for_pull(&mut tx, connection, reason, window)
            .await?;
        let pull = tx.pull(id).await?.ok_or(AppError::PullNotFound)?;
        let now = self.0.parts.clock.now();
        tx.audit(
            &caller.subject,
            AuditAction::PullRequested,
            connection.0,
            now,
        )
        .await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %connection,
            pull.id = %id,
            reason = reason.as_str(),
            "a pull was asked for"
        );
        Ok(pull)
    }

    /// Asks for a pull in the transaction of what causes it.
    pub(super) async fn ask_for_pull(
        &self,
        tx: &mut TenantTx,
        connection: ConnectionId,
        reason: PullReason,
        window: Option<(NaiveDate, NaiveDate)>,
    ) -> Result<PullId, AppError> {
        let parts = &self.0.parts;
        Ok(tx
            .ask_for_pull(&NewPull {
                id: PullId::new(&*parts.clock, &*parts.random),
                connection,
                reason,
                window,
                by_hand: !matches!(reason, PullReason::Webhook | PullReason::Sweep),
                now: parts.clock.now(),
            })
            .await?)
    }

    /// One pull.
    pub async fn pull(&self, caller: &Caller, id: PullId) -> Result<Pull, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        tx.pull(id).await?.ok_or(AppError::PullNotFound)
    }

    /// A page of the pulls of a connection, newest first.
    pub async fn list_pulls(
        &self,
        caller: &Caller,
        connection: ConnectionId,
        start: &PageStart<Uuid>,
        limit: u16,
    ) -> Result<Page<Pull>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        tx.aggregator_connection(connection)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        Ok(tx.list_pulls(connection, start, limit).await?)
    }

    /// Puts a pull that failed or was called off back into the queue. If another one of its
    /// connection waits by now, that one does the work.
    pub async fn retry_pull(&self, caller: &Caller, id: PullId) -> Result<Pull, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let pull = tx.pull(id).await?.ok_or(AppError::PullNotFound)?;
        // Held before the pull, as whoever deletes it does.
        let lives = tx.share_aggregator_connection(pull.connection).await?;
        let pull = tx.lock_pull(id).await?.ok_or(AppError::PullNotFound)?;
        if !matches!(pull.state, PullState::Failed | PullState::Cancelled) {
            return Err(AppError::PullNotOver);
        }
        if !lives {
            return Err(AppError::ConnectionNotFound);
        }
        let waiting = tx
            .hand_over_to_waiting(id, pull.connection, HandOver::ByHand { now })
            .await?;
        match waiting {
            Some(_) => tx.wake_workers().await?,
            None => tx.requeue_pull(id, pull.connection, now).await?,
        }
        let pull = tx
            .pull(waiting.unwrap_or(id))
            .await?
            .ok_or(AppError::PullNotFound)?;
        tx.audit(&caller.subject, AuditAction::PullRetried, id.0, now)
            .await?;
        tx.commit().await?;
        Ok(pull)
    }

    /// Calls off a live pull, or one that failed, which the next one would do as well. What it has written
    /// stays.
    pub async fn cancel_pull(&self, caller: &Caller, id: PullId) -> Result<Pull, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let pull = tx.lock_pull(id).await?.ok_or(AppError::PullNotFound)?;
        if !tx.cancel_pull(id, now).await? {
            return Err(AppError::PullOver);
        }
        // Or the next pull, whatever it is for, would go on with what this one had begun.
        tx.forget_listings(pull.connection).await?;
        let cancelled = tx.pull(id).await?.ok_or(AppError::PullNotFound)?;
        tx.audit(&caller.subject, AuditAction::PullCancelled, id.0, now)
            .await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %pull.connection,
            pull.id = %id,
            "a pull was called off"
        );
        Ok(cancelled)
    }
}
