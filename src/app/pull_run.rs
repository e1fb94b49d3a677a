//! Running a pull: reading what the vendor has, and making our rows equal to it.
//!
//! No connection to the database is held while the vendor thinks. Each page is one short
//! transaction, which also proves that the pull is still ours; a worker that lost it writes nothing
//! more.

mod absent;
mod attempt;
mod listed;
mod named;
mod pages;
mod superseded;

use std::{sync::OnceLock, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use self::attempt::Attempt;
use super::{App, AppError};
use crate::{
    domain::{
        connection::AggregatorConnection,
        ids::PullId,
        pull::{Demand, Hints, MAX_ATTEMPTS, NamedPlace, Progress, PullFailure, backoff, jitter},
        random,
    },
    storage::{ClaimedPull, Ending, FailedPull, StorageError, TenantTx, within},
    telemetry,
    vendors::{Access, Disposition, ErrorKind, VendorError, budget::Share},
};

/// How long a worker may give no sign of life.
pub(super) const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How often it gives one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How long a call may wait for room in the vendor's rate limit before the pull gives its worker
/// back.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a listing may take for a page.
const CALL: Duration = Duration::from_mins(1);
/// How long a pull may go on after the process is to end.
const GRACE: Duration = Duration::from_secs(2);
/// How long a connection rests between two looks that nobody asked for.
pub(super) const SWEEP_EVERY: TimeDelta = TimeDelta::hours(24);
/// After so many failed pulls in a row the next one does not do what they were to do, but reads
/// everything.
const TOO_MANY_FAILED: u8 = 3;

/// Why an attempt ended early.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// The vendor's doing.
    #[error(transparent)]
    Vendor(#[from] VendorError),
    /// The database's, or ours.
    #[error(transparent)]
    App(#[from] AppError),
    /// The pull is no longer ours.
    #[error("the pull was taken over or called off")]
    LeaseLost,
    /// The process is about to end.
    #[error("the worker is stopping")]
    Stopping,
    /// The connection leads elsewhere by now.
    #[error("the connection was led elsewhere")]
    LedElsewhere,
    /// The connection was deleted.
    #[error("the connection is gone")]
    NoConnection,
}

impl Stop {
    /// Whether a listing can't be gone on with from where it was left.
    fn loses_place(&self) -> bool {
        matches!(self, Self::Vendor(error) if error.disposition() == Disposition::Restart)
    }
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::App(error.into())
    }
}

/// What is known before the vendor is asked.
struct Loaded {
    claimed: ClaimedPull,
    connection: AggregatorConnection,
    access: Access,
    hints: Hints,
    /// The pulls that these hints asked for.
    pulls: Vec<PullId>,
    /// How far rows that were named without their account were read.
    named: Option<NamedPlace>,
}

impl App {
    /// Runs a claimed pull to its end, and writes down what became of it.
    pub async fn run_pull(&self, claimed: ClaimedPull, stopping: &CancellationToken) {
        let outcome = tokio::select! {
            // Large, so that it need not be part of whatever waits for it.
            outcome = Box::pin(self.attempt(claimed, stopping)) => outcome,
            lost = self.keep_lease(&claimed) => Err(lost),
            () = out_of_time(stopping) => Err(Stop::Stopping),
        };
        let ours = match self.ending(&claimed, &outcome) {
            Some(ending) => self.end_attempt(&claimed, &ending).await,
            None => Ok(false),
        };
        match ours {
            Ok(true) => {}
            Ok(false) => tracing::info!(
                tenant.id = %claimed.tenant,
                connection.id = %claimed.connection,
                pull.id = %claimed.lease.pull,
                "a pull was taken over or called off"
            ),
            // The lease runs out, and the pull is found by it.
            Err(error) => {
                tracing::warn!(%error, pull.id = %claimed.lease.pull, "the end of a pull could not be written");
            }
        }
    }

    /// Gives a sign of life from time to time; comes back only when the pull is lost.
    async fn keep_lease(&self, claimed: &ClaimedPull) -> Stop {
        let mut kept_at = self.0.parts.clock.now();
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            match within(HEARTBEAT, self.advance(claimed, &Progress::default())).await {
                Err(Stop::LeaseLost) => return Stop::LeaseLost,
                Err(error) => {
                    tracing::warn!(%error, pull.id = %claimed.lease.pull, "the lease of a pull could not be kept");
                    if self.0.parts.clock.now() - kept_at >= LEASE {
                        // Somebody else may be at it by now; what hangs here is given up.
                        return Stop::LeaseLost;
                    }
                }
                Ok(()) => kept_at = self.0.parts.clock.now(),
            }
        }
    }

    async fn advance(&self, claimed: &ClaimedPull, more: &Progress) -> Result<(), Stop> {
        let mut tx = self.0.parts.store.begin(claimed.tenant).await?;
        self.advance_in(&mut tx, claimed, more).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Proves, in the transaction of what is written, that the pull is still ours.
    async fn advance_in(
        &self,
        tx: &mut TenantTx,
        claimed: &ClaimedPull,
        more: &Progress,
    ) -> Result<(), Stop> {
        let until = self.0.parts.clock.now() + LEASE;
        if tx.advance_pull(claimed.lease, more, until).await? {
            Ok(())
        } else {
            Err(Stop::LeaseLost)
        }
    }

    async fn attempt(
        &self,
        claimed: ClaimedPull,
        stopping: &CancellationToken,
    ) -> Result<(), Stop> {
        let loaded = self.load(claimed).await?;
        let aggregator = self.aggregator(loaded.connection.vendor)?;
        let attempt = Attempt {
            app: self,
            claimed: loaded.claimed,
            aggregator: &**aggregator,
            access: loaded.access,
            connection: loaded.connection,
            hints: loaded.hints,
            named: loaded.named,
            began: self.0.parts.clock.now(),
            stopping,
            unjudged: OnceLock::new(),
        };
        let mut outcome = attempt.read_all().await;
        if matches!(outcome, Err(Stop::Vendor(_)))
            && matches!(attempt.still_leads_there().await, Ok(false))
        {
            // That was the old place's trouble.
            outcome = Err(Stop::LedElsewhere);
        }
        if outcome.is_err() {
            // If this can't be written, the next attempt reads a little more than it has to.
            attempt.note_heard(&loaded.pulls).await.ok();
        }
        outcome
    }

    async fn load(&self, mut claimed: ClaimedPull) -> Result<Loaded, Stop> {
        let mut tx = self.0.parts.store.begin(claimed.tenant).await?;
        let stored = tx
            .access_to_connection(claimed.connection)
            .await?
            .ok_or(Stop::NoConnection)?;
        let failed = tx
            .failed_since_success(claimed.connection, TOO_MANY_FAILED)
            .await?;
        let gives_up = failed.len() >= usize::from(TOO_MANY_FAILED)
            || failed
                .iter()
                .any(|pull| was_refused(pull) && pull.window.is_none());
        let inherited = if gives_up { &[] } else { &failed[..] };
        let mut pulls = vec![claimed.lease.pull];
        pulls.extend(inherited.iter().map(|pull| pull.id));
        let mut hints = tx.hints_of_pulls(claimed.connection, &pulls).await?;
        let named = tx.named_anywhere(claimed.lease.pull).await?;
        // Whatever became of the work of those that failed, what they have changed may not have been linked.
        let left_since = tx.left_since_success(claimed.connection).await?;
        claimed.left_since = claimed.left_since.into_iter().chain(left_since).min();
        drop(tx);
        inherit(&mut claimed, inherited);
        if let Some(latest) = failed.first().filter(|_| gives_up) {
            read_everything_instead(&mut claimed, &mut hints, latest.finished_at);
        }
        let access = self.access_to(claimed.tenant, &stored)??;
        Ok(Loaded {
            claimed,
            connection: stored.connection,
            access: Access {
                patience: PATIENCE,
                call_timeout: CALL,
                deadline: None,
                share: Share::Whole,
                ..access
            },
            hints,
            pulls,
            named,
        })
    }

    /// What becomes of the pull; `None` if that is no longer ours to say.
    fn ending(&self, claimed: &ClaimedPull, outcome: &Result<(), Stop>) -> Option<Ending> {
        let now = self.0.parts.clock.now();
        let stop = match outcome {
            Ok(()) => return Some(Ending::Succeeded),
            Err(stop) => stop,
        };
        Some(match stop {
            Stop::LeaseLost => return None,
            Stop::NoConnection => Ending::Cancelled,
            Stop::Stopping | Stop::LedElsewhere => Ending::Retry {
                at: now,
                failure: None,
                counts: false,
            },
            Stop::App(AppError::Unavailable(_)) => self.later(
                claimed,
                PullFailure {
                    class: "database_unavailable".to_owned(),
                    message: "the database was not available".to_owned(),
                },
            ),
            Stop::App(error) => {
                tracing::error!(%error, pull.id = %claimed.lease.pull, "a pull failed by a defect");
                self.later(
                    claimed,
                    PullFailure {
                        class: "internal".to_owned(),
                        message: "the server failed; its log knows more".to_owned(),
                    },
                )
            }
            Stop::Vendor(error) => {
                let failure = PullFailure {
                    class: error.kind.class().to_owned(),
                    message: error.to_string(),
                };
                match error.disposition() {
                    Disposition::RetryWhenTold => Ending::Retry {
                        at: now + told(error),
                        failure: Some(failure),
                        // The vendor is well, and so are we.
                        counts: false,
                    },
                    Disposition::RetryWithBackoff
                    | Disposition::Restart
                    | Disposition::RenewKey => self.later(claimed, failure),
                    Disposition::NeedsUser | Disposition::GiveUp => Ending::Failed(failure),
                }
            }
        })
    }

    /// Another attempt after a while, unless there were enough of them.
    fn later(&self, claimed: &ClaimedPull, failure: PullFailure) -> Ending {
        if claimed.attempts >= MAX_ATTEMPTS {
            return Ending::Failed(failure);
        }
        let [high, low] = random::draw::<2>(&*self.0.parts.random);
        let chance = u16::from_be_bytes([high, low]) % 1000;
        Ending::Retry {
            at: self.0.parts.clock.now() + backoff(claimed.attempts, chance),
            failure: Some(failure),
            counts: true,
        }
    }

    /// Writes down what became of an attempt; `false` if that is no longer ours to say.
    async fn end_attempt(&self, claimed: &ClaimedPull, ending: &Ending) -> Result<bool, AppError> {
        let ended = self.try_to_end_attempt(claimed, ending).await;
        if let Err(AppError::Unavailable(StorageError::Violates(..))) = ended {
            // A webhook was faster than the look at what waits; the second look finds its pull.
            return self.try_to_end_attempt(claimed, ending).await;
        }
        ended
    }

    async fn try_to_end_attempt(
        &self,
        claimed: &ClaimedPull,
        ending: &Ending,
    ) -> Result<bool, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(claimed.tenant).await?;
        let ours = tx
            .end_attempt(
                claimed.lease,
                claimed.connection,
                claimed.attempts,
                ending,
                now,
            )
            .await?;
        if !ours {
            return Ok(false);
        }
        if let Ending::Failed(failure) = ending
            && failure.class == ErrorKind::WrongRequest.class()
        {
            // It may be the place in a listing that is wrong, which every next attempt would go on from.
            tx.forget_listings(claimed.connection).await?;
        }
        if matches!(ending, Ending::Retry { at, .. } if *at <= now) {
            // This process ends, or the connection leads elsewhere: it may be gone on with at once.
            tx.wake_workers().await?;
        }
        // What a webhook asks for may be one account of many, so only a look at all of them counts.
        if matches!(ending, Ending::Succeeded) && claimed.demand >= Demand::Recent {
            let next = now + SWEEP_EVERY - jitter(claimed.connection, SWEEP_EVERY);
            tx.schedule_sweep(claimed.connection, next).await?;
        }
        tx.commit().await?;
        telemetry::record_pull_attempt(ending.word());
        let failure = match ending {
            Ending::Failed(failure) => Some(failure),
            Ending::Retry { failure, .. } => failure.as_ref(),
            Ending::Succeeded | Ending::Cancelled => None,
        };
        tracing::info!(
            tenant.id = %claimed.tenant,
            connection.id = %claimed.connection,
            pull.id = %claimed.lease.pull,
            attempt = claimed.attempts,
            ending = ending.word(),
            class = failure.map(|failure| failure.class.as_str()),
            "an attempt at a pull is over"
        );
        Ok(true)
    }
}

/// Comes back a moment after the process is to end. Until then a pull may come to the end of its
/// page; whatever it waits for longer than that is given up, and nothing is lost by it.
pub(super) async fn out_of_time(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// What failed since the last success is still to be done: whoever comes next does it as well, or
/// only the calendar would, under a status that says that all is well.
fn inherit(claimed: &mut ClaimedPull, failed: &[FailedPull]) {
    for pull in failed {
        claimed.demand = claimed.demand.max(pull.demand);
        claimed.asked_at = claimed.asked_at.max(pull.asked_at);
        // Days that the vendor refuses once it refuses again.
        let window = pull.window.filter(|_| !was_refused(pull));
        claimed.window = match (claimed.window, window) {
            (Some(ours), Some(theirs)) => Some((ours.0.min(theirs.0), ours.1.max(theirs.1))),
            (ours, theirs) => ours.or(theirs),
        };
    }
}

/// Whether the vendor found that we asked for something wrong: the days that an operator asked for, or,
/// where there were none, something that an event named.
fn was_refused(pull: &FailedPull) -> bool {
    pull.class.as_deref() == Some(ErrorKind::WrongRequest.class())
}

/// Something that several pulls were asked for may be what makes them fail, or that the vendor refused
/// one for, and would make all the next ones fail. So it is not asked for again; everything is read
/// instead, which holds what they were asked for.
fn read_everything_instead(claimed: &mut ClaimedPull, hints: &mut Hints, failed_at: DateTime<Utc>) {
    hints.full = true;
    claimed.demand = Demand::Everything;
    // Nothing that they were asked for was said after the last of them failed. An instant that does not
    // move from attempt to attempt, so that what one of them has read is not read again.
    claimed.asked_at = claimed.asked_at.max(failed_at);
}

/// How long the vendor wants to be left alone.
fn told(error: &VendorError) -> TimeDelta {
    let wait = error.retry_after.unwrap_or(Duration::from_mins(1));
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(1))
}
