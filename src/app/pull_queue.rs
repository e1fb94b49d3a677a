//! The queue of pulls as workers stand before it: what is next, what was left behind, and what the calendar asks for.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    App, AppError,
    pull_run::{LEASE, SWEEP_EVERY},
};
use crate::{
    domain::{
        ids::{ConnectionId, TenantId, new_uuid},
        pull::{MAX_ATTEMPTS, PullFailure, PullReason},
        random,
    },
    storage::{
        Claim, ClaimedPull, Constraint, Ending, Lease, PullSignal, QueueDepth, Served, StorageError,
    },
    telemetry,
};

/// When a look that could not be asked for is asked for again.
const SWEEP_AGAIN: TimeDelta = TimeDelta::minutes(10);
/// How often a worker looks again at once when others were faster.
const RACES: u32 = 4;

impl App {
    /// Claims the pull that is next, if one is due.
    pub async fn claim_pull(&self) -> Result<Option<ClaimedPull>, AppError> {
        self.claim_pull_of(Served::Anybody).await
    }

    /// Claims the pull that is next among those of the tenants that are served.
    pub async fn claim_pull_of(&self, served: Served) -> Result<Option<ClaimedPull>, AppError> {
        for _ in 0..RACES {
            match self.reach_for_pull(served).await? {
                Claim::Claimed(claimed) => return Ok(Some(claimed)),
                Claim::LostRace => {}
                Claim::Nothing => return Ok(None),
            }
        }
        // Somebody holds it for longer, and tells when it is to be done.
        Ok(None)
    }

    async fn reach_for_pull(&self, served: Served) -> Result<Claim, AppError> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let token = new_uuid(&*parts.clock, &*parts.random);
        let mut system = parts.store.begin_claim().await?;
        let claim = match system.claim_pull(served, token, now, now + LEASE).await {
            // Another worker has just begun with another one of the same connection.
            Err(StorageError::Violates(Constraint::RunningPull, _)) => return Ok(Claim::LostRace),
            other => other?,
        };
        // Claim, commit, then work.
        system.commit().await?;
        Ok(claim)
    }

    /// Measures how much waits and runs.
    pub async fn measure_queue(&self) -> Result<QueueDepth, AppError> {
        let now = self.0.parts.clock.now();
        let mut system = self.0.parts.store.begin_system().await?;
        let depth = system.queue_depth(now).await?;
        telemetry::record_queue(depth.waiting, depth.running, depth.longest_due);
        Ok(depth)
    }

    /// Hears what is asked for.
    pub async fn listen_for_pulls(&self) -> Result<PullSignal, AppError> {
        Ok(self.0.parts.store.listen_for_pulls().await?)
    }

    /// A part of `most` that is left to chance.
    #[must_use]
    pub fn some_of(&self, most: Duration) -> Duration {
        let [share] = random::draw::<1>(&*self.0.parts.random);
        most * u32::from(share) / 256
    }

    /// Ends the attempts of workers that gave no sign of life, so that their pulls are begun anew.
    /// Answers how many there were.
    pub async fn reclaim_abandoned_pulls(&self) -> Result<usize, AppError> {
        let now = self.0.parts.clock.now();
        let mut system = self.0.parts.store.begin_system().await?;
        let abandoned = system.abandoned_pulls(now, 100).await?;
        drop(system);
        let mut ended = 0;
        for (tenant, connection, lease) in abandoned {
            match self.end_abandoned(tenant, connection, lease, now).await {
                Ok(true) => ended += 1,
                Ok(false) => {}
                // One that can't be ended now is found again.
                Err(error) => {
                    tracing::warn!(%error, pull.id = %lease.pull, "a pull that lost its worker could not be ended");
                }
            }
        }
        Ok(ended)
    }

    async fn end_abandoned(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        lease: Lease,
        now: DateTime<Utc>,
    ) -> Result<bool, AppError> {
        let mut tx = self.0.parts.store.begin(tenant).await?;
        let Some(pull) = tx.pull(lease.pull).await? else {
            return Ok(false);
        };
        let failure = PullFailure {
            class: "worker_lost".to_owned(),
            message: "the worker gave no sign of life".to_owned(),
        };
        // What kills its worker each time must not do so for ever.
        let ending = if pull.attempts >= MAX_ATTEMPTS {
            Ending::Failed(failure)
        } else {
            Ending::Retry {
                at: now,
                failure: Some(failure),
                counts: true,
            }
        };
        let ours = tx
            .end_attempt(lease, connection, pull.attempts, &ending, now)
            .await?;
        if ours {
            tx.wake_workers().await?;
            tx.commit().await?;
            tracing::warn!(tenant.id = %tenant, connection.id = %connection, pull.id = %lease.pull, "a pull lost its worker");
        }
        Ok(ours)
    }

    async fn ask_for_sweep(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<(), AppError> {
        let next = self.0.parts.clock.now() + SWEEP_EVERY;
        let mut tx = self.0.parts.store.begin(tenant).await?;
        if tx.share_aggregator_connection(connection).await? {
            self.ask_for_pull(&mut tx, connection, PullReason::Sweep, None)
                .await?;
            tx.schedule_sweep(connection, next).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Asks for the pulls that the calendar asks for. Answers how many.
    pub async fn ask_for_sweeps(&self) -> Result<usize, AppError> {
        let now = self.0.parts.clock.now();
        let mut system = self.0.parts.store.begin_system().await?;
        // Whatever happens on the way, the next look is not lost.
        let due = system.take_due_sweeps(now, now + SWEEP_AGAIN, 500).await?;
        system.commit().await?;
        for (tenant, connection) in &due {
            if let Err(error) = self.ask_for_sweep(*tenant, *connection).await {
                tracing::warn!(%error, connection.id = %connection, "a connection could not be looked after");
            }
        }
        Ok(due.len())
    }
}
