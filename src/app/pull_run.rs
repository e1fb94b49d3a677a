//! Running a pull: reading what the vendor has, and making our rows equal to it.
//!
//! No connection to the database is held while the vendor thinks. Each page is one short
//! transaction, which also proves that the pull is still ours; a worker that lost it writes nothing
//! more.

use std::{collections::HashSet, time::Duration};

use chrono::{DateTime, Days, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::{App, AppError, connection_tests::Findings};
use crate::{
    domain::{
        connection::AggregatorConnection,
        ids::{AccountId, ConnectionId, TenantId, new_uuid},
        pull::{
            self, Hints, MAX_ATTEMPTS, PlanInput, Progress, PullFailure, Step, backoff, jitter,
        },
        random,
        source::{SourceReport, SourceState},
        transaction::Converted,
    },
    storage::{
        Absence, ClaimedPull, Ending, Gone, Known, Lease, PageWrite, PullSignal, StorageError,
        StoredAccount, TenantTx,
    },
    vendors::{
        Access, AccountToRead, Aggregator, Disposition, ErrorKind, PageMark, Read, VendorError,
        Verification, budget::Share,
    },
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
/// How often a listing whose place was lost is begun anew.
const RESTARTS: u32 = 2;
/// How long a pull may go on after the process is to end.
const GRACE: Duration = Duration::from_secs(2);
/// How far back every vendor keeps what it has.
const KEPT_DAYS: u64 = 350;
/// When a look that could not be asked for is asked for again.
const SWEEP_AGAIN: TimeDelta = TimeDelta::minutes(10);
/// How long a connection rests between two looks that nobody asked for.
pub(super) const SWEEP_EVERY: TimeDelta = TimeDelta::hours(24);

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
    /// The connection was deleted.
    #[error("the connection is gone")]
    NoConnection,
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::App(error.into())
    }
}

/// An attempt at a pull.
struct Attempt<'a> {
    app: &'a App,
    claimed: ClaimedPull,
    aggregator: &'a dyn Aggregator,
    access: Access,
    connection: AggregatorConnection,
    hints: Hints,
    /// When this attempt began: what the vendor takes in later is for the next one.
    began: DateTime<Utc>,
    stopping: &'a CancellationToken,
}

/// What is known before the vendor is asked.
struct Loaded {
    connection: AggregatorConnection,
    access: Access,
    hints: Hints,
}

/// Everything that one listing brought.
#[derive(Default)]
struct Listed {
    seen: HashSet<String>,
    changed: u64,
    /// Whether rows moved between the pages while it was read.
    drifted: bool,
}

impl App {
    /// Runs a claimed pull to its end, and writes down what became of it.
    pub async fn run_pull(&self, claimed: ClaimedPull, stopping: &CancellationToken) {
        let outcome = tokio::select! {
            outcome = self.attempt(claimed, stopping) => outcome,
            lost = self.keep_lease(&claimed) => Err(lost),
            () = out_of_time(stopping) => Err(Stop::Stopping),
        };
        let Some(ending) = self.ending(&claimed, &outcome) else {
            tracing::info!(
                tenant.id = %claimed.tenant,
                connection.id = %claimed.connection,
                pull.id = %claimed.lease.pull,
                "a pull was taken over or called off"
            );
            return;
        };
        let mut ended = self.end_attempt(&claimed, &ending).await;
        if let Err(AppError::Unavailable(StorageError::Violates(..))) = ended {
            // A webhook was faster than the look at what waits; the second look finds its pull.
            ended = self.end_attempt(&claimed, &ending).await;
        }
        if let Err(error) = ended {
            // The lease runs out, and the pull is found by it.
            tracing::warn!(%error, pull.id = %claimed.lease.pull, "the end of a pull could not be written");
        }
    }

    /// Gives a sign of life from time to time; comes back only when the pull is lost.
    async fn keep_lease(&self, claimed: &ClaimedPull) -> Stop {
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            match self.advance(claimed, &Progress::default()).await {
                Err(Stop::LeaseLost) => return Stop::LeaseLost,
                Err(error) => {
                    tracing::warn!(%error, pull.id = %claimed.lease.pull, "the lease of a pull could not be kept");
                }
                Ok(()) => {}
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
        let loaded = self.load(&claimed).await?;
        let aggregator = self.aggregator(loaded.connection.vendor)?;
        let attempt = Attempt {
            app: self,
            claimed,
            aggregator: &**aggregator,
            access: loaded.access,
            connection: loaded.connection,
            hints: loaded.hints,
            began: self.0.parts.clock.now(),
            stopping,
        };
        attempt.read_all().await
    }

    async fn load(&self, claimed: &ClaimedPull) -> Result<Loaded, Stop> {
        let mut tx = self.0.parts.store.begin(claimed.tenant).await?;
        let stored = tx
            .access_to_connection(claimed.connection)
            .await?
            .ok_or(Stop::NoConnection)?;
        let hints = tx
            .hints_of_pull(claimed.connection, claimed.lease.pull)
            .await?;
        drop(tx);
        let access = self.access_to(claimed.tenant, &stored)??;
        Ok(Loaded {
            connection: stored.connection,
            access: Access {
                patience: PATIENCE,
                call_timeout: CALL,
                deadline: None,
                share: Share::Whole,
                ..access
            },
            hints,
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
            Stop::Stopping => Ending::Retry {
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

    async fn end_attempt(&self, claimed: &ClaimedPull, ending: &Ending) -> Result<(), AppError> {
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
            return Ok(());
        }
        if matches!(ending, Ending::Succeeded) {
            let next = now + SWEEP_EVERY - jitter(claimed.connection, SWEEP_EVERY);
            tx.schedule_sweep(claimed.connection, next).await?;
        }
        tx.commit().await?;
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
        Ok(())
    }

    /// Claims the pull that is next, if one is due.
    pub async fn claim_pull(&self) -> Result<Option<ClaimedPull>, AppError> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let token = new_uuid(&*parts.clock, &*parts.random);
        let mut system = parts.store.begin_system().await?;
        let claimed = system.claim_pull(token, now, now + LEASE).await?;
        // Claim, commit, then work.
        system.commit().await?;
        Ok(claimed)
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
            self.ask_for_pull(&mut tx, connection, pull::PullReason::Sweep, None)
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

/// Comes back a moment after the process is to end. Until then a pull may come to the end of its
/// page; whatever it waits for longer than that is given up, and nothing is lost by it.
async fn out_of_time(stopping: &CancellationToken) {
    stopping.cancelled().await;
    tokio::time::sleep(GRACE).await;
}

/// How long the vendor wants to be left alone.
fn told(error: &VendorError) -> TimeDelta {
    let wait = error.retry_after.unwrap_or(Duration::from_mins(1));
    TimeDelta::from_std(wait).unwrap_or(TimeDelta::hours(1))
}

impl Attempt<'_> {
    async fn read_all(&self) -> Result<(), Stop> {
        let report = self.look_at_source().await?;
        let read = self.aggregator.accounts(&self.access).await?;
        let mut progress = Progress {
            quarantined: as_count(read.quarantined.len()),
            ..Progress::default()
        };
        let mut tx = self.begin().await?;
        let accounts = tx
            .upsert_accounts(
                self.claimed.connection,
                &read.accounts,
                self.app.0.parts.clock.now(),
                &*self.app.0.parts.random,
            )
            .await?;
        progress.accounts = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
        self.app
            .advance_in(&mut tx, &self.claimed, &progress)
            .await?;
        let known = tx.accounts_of(self.claimed.connection).await?;
        tx.commit().await?;
        for account in &accounts {
            self.read_account(account, &report).await?;
        }
        // An account that the vendor does not list just now may still have what was asked for; that
        // something is missing there proves nothing.
        let doubtful = SourceReport {
            transactions_current: false,
            ..report
        };
        let unlisted = known
            .into_iter()
            .filter(|one| accounts.iter().all(|listed| listed.id != one.id));
        for record in unlisted {
            let account = StoredAccount {
                id: record.id,
                vendor_id: record.account.vendor_id,
                account_type: record.account.account_type,
            };
            tracing::info!(
                tenant.id = %self.claimed.tenant,
                connection.id = %self.claimed.connection,
                account.id = %account.id,
                "the vendor no longer lists an account"
            );
            match self.read_account(&account, &doubtful).await {
                Err(Stop::Vendor(error)) if error.kind == ErrorKind::Gone => {}
                other => other?,
            }
        }
        Ok(())
    }

    async fn begin(&self) -> Result<TenantTx, Stop> {
        Ok(self.app.0.parts.store.begin(self.claimed.tenant).await?)
    }

    /// Looks at the item or link first: what is over needs no reading, and what is not current
    /// proves nothing by absence.
    async fn look_at_source(&self) -> Result<SourceReport, Stop> {
        let seen = self.aggregator.source(&self.access).await;
        let verification = Verification {
            credential: match &seen {
                Err(error) if error.speaks_of_credential() => Err(error.clone()),
                _ => Ok(()),
            },
            source: Some(seen.clone()),
        };
        let findings = Findings::of(&verification);
        self.app
            .record_findings(
                self.claimed.tenant,
                &self.connection,
                &findings,
                Some(self.claimed.lease),
            )
            .await?;
        let report = seen?;
        match report.state {
            SourceState::Gone => Err(self.error(ErrorKind::Gone, &report.reason)),
            // What is listed without a consent may be empty, and means nothing.
            SourceState::ConsentExpired => Err(self.error(ErrorKind::ConsentOver, &report.reason)),
            _ => Ok(report),
        }
    }

    fn error(&self, kind: ErrorKind, code: &str) -> Stop {
        VendorError::new(self.connection.vendor, kind)
            .with_code(code)
            .into()
    }

    async fn read_account(
        &self,
        account: &StoredAccount,
        report: &SourceReport,
    ) -> Result<(), Stop> {
        let mut tx = self.begin().await?;
        let cursor = tx.cursor(self.claimed.connection, account.id).await?;
        drop(tx);
        let steps = pull::plan(&PlanInput {
            vendor: self.connection.vendor,
            connection: self.claimed.connection,
            demand: self.claimed.demand,
            asked_at: self.claimed.asked_at,
            backfill: self.claimed.window,
            hints: &self.hints,
            account: &account.vendor_id,
            cursor,
            now: self.began,
        });
        let known_before = cursor.watermark.is_some();
        let mut after = cursor;
        for step in &steps {
            let listed = self.read_listing(account, step).await?;
            let mut progress = Progress::default();
            let mut tx = self.begin().await?;
            // What was asked for by name and did not come is gone, whatever else goes on; what is
            // missing from a listing is gone only if the listing is whole and up to date.
            let is_told = matches!(step, Step::Named(_)) && report.state.is_usable();
            if is_told || report.transactions_current && !listed.drifted {
                progress.deleted = self.settle_absence(&mut tx, account, step, &listed).await?;
            }
            if step.is_exhaustive() && known_before {
                progress.missed = listed.changed + progress.deleted;
            }
            match step {
                Step::CreatedSince(_) => after.watermark = Some(self.began),
                Step::Window { .. } if self.claimed.window.is_none() => {
                    after.window_at = Some(self.began);
                }
                Step::Full => {
                    after.watermark = Some(self.began);
                    after.window_at = Some(self.began);
                    after.full_at = Some(self.began);
                }
                Step::Window { .. } | Step::Named(_) => {}
            }
            tx.link_replacements(
                self.claimed.connection,
                account.id,
                self.claimed.lease.pull,
                self.app.0.parts.clock.now(),
            )
            .await?;
            // Only now, since the listing was read to its end.
            tx.move_cursor(self.claimed.connection, account.id, &after)
                .await?;
            self.app
                .advance_in(&mut tx, &self.claimed, &progress)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Reads one listing to its end; begins it anew when its place is lost on the way.
    async fn read_listing(&self, account: &StoredAccount, step: &Step) -> Result<Listed, Stop> {
        let mut restarts = 0;
        loop {
            match self.read_pages(account, step).await {
                Err(Stop::Vendor(error))
                    if error.disposition() == Disposition::Restart && restarts < RESTARTS =>
                {
                    restarts += 1;
                }
                other => return other,
            }
        }
    }

    async fn read_pages(&self, account: &StoredAccount, step: &Step) -> Result<Listed, Stop> {
        let read = match step {
            Step::CreatedSince(since) => Read::CreatedSince(*since),
            Step::Named(ids) => Read::Ids(ids.clone()),
            Step::Window { from, to } => Read::Window {
                from: *from,
                to: *to,
            },
            Step::Full => Read::Full,
        };
        let asked = AccountToRead {
            vendor_id: &account.vendor_id,
            account_type: account.account_type,
        };
        let mut listed = Listed::default();
        // A listing of everything, or of much, looks up what is known once and not page by page.
        let mut known = if step.is_exhaustive() {
            let mut tx = self.begin().await?;
            Some(tx.known_of_account(account.id).await?)
        } else {
            None
        };
        let (mut mark, mut total) = (None::<PageMark>, None);
        loop {
            if self.stopping.is_cancelled() {
                return Err(Stop::Stopping);
            }
            let page = self
                .aggregator
                .transactions(&self.access, asked, &read, mark.as_ref())
                .await?;
            for row in &page.converted.quarantined {
                match &row.vendor_id {
                    // A row that could not be read is there all the same.
                    Some(id) => drop(listed.seen.insert(id.clone())),
                    // One without a name may be any of ours.
                    None => listed.drifted = true,
                }
            }
            listed.drifted |= total.is_some_and(|before| Some(before) != page.total);
            total = page.total.or(total);
            self.write_page(account.id, &page.converted, known.as_mut(), &mut listed)
                .await?;
            match page.next {
                Some(next) => mark = Some(next),
                None => break,
            }
        }
        // Fewer or more different rows than there are said to be: some moved while it was read.
        listed.drifted |=
            step.is_exhaustive() && total.is_some_and(|total| total != as_count(listed.seen.len()));
        Ok(listed)
    }

    /// One page, one transaction.
    async fn write_page(
        &self,
        account: AccountId,
        converted: &Converted,
        known: Option<&mut Known>,
        listed: &mut Listed,
    ) -> Result<(), Stop> {
        let rows = &converted.rows;
        let _turn = self.app.0.page_writes.acquire().await;
        let mut tx = self.begin().await?;
        let page = PageWrite {
            connection: self.claimed.connection,
            account,
            pull: self.claimed.lease.pull,
            rows,
            now: self.app.0.parts.clock.now(),
            random: &*self.app.0.parts.random,
        };
        let applied = match known {
            Some(known) => tx.apply_page_knowing(&page, known).await?,
            None => tx.apply_page(&page).await?,
        };
        let progress = Progress {
            pages: 1,
            seen: as_count(rows.len()),
            inserted: applied.inserted,
            updated: applied.updated + applied.revived,
            unchanged: applied.unchanged,
            quarantined: as_count(converted.quarantined.len()),
            ..Progress::default()
        };
        self.app
            .advance_in(&mut tx, &self.claimed, &progress)
            .await?;
        tx.commit().await?;
        listed.changed += applied.inserted + applied.updated + applied.revived;
        listed
            .seen
            .extend(rows.iter().map(|row| row.vendor_id.clone()));
        Ok(())
    }

    /// What did not come although it was asked for by name is gone; what is missing from a complete
    /// listing is gone if it was missing from the one before, too.
    async fn settle_absence(
        &self,
        tx: &mut TenantTx,
        account: &StoredAccount,
        step: &Step,
        listed: &Listed,
    ) -> Result<u64, Stop> {
        let now = self.app.0.parts.clock.now();
        // Where the vendor begins to forget, absence proves nothing either.
        let today = self.began.date_naive();
        let oldest = today - Days::new(KEPT_DAYS);
        let window = match step {
            Step::CreatedSince(_) => return Ok(0),
            Step::Named(ids) => {
                let absent: Vec<String> = ids
                    .iter()
                    .filter(|id| !listed.seen.contains(*id))
                    .cloned()
                    .collect();
                return Ok(tx
                    .tombstone(&Gone {
                        connection: self.claimed.connection,
                        account: account.id,
                        vendor_ids: &absent,
                        pull: self.claimed.lease.pull,
                        now,
                    })
                    .await?);
            }
            // A vendor cuts days by a clock of its own, so at the edges absence proves nothing.
            Step::Window { from, to } => (
                (*from).max(oldest).checked_add_days(Days::new(1)),
                to.checked_sub_days(Days::new(1)),
            ),
            Step::Full => (Some(oldest), today.checked_add_days(Days::new(KEPT_DAYS))),
        };
        let (Some(from), Some(to)) = window else {
            return Ok(0);
        };
        // An empty listing is more likely a fault than the end of every row.
        if listed.seen.is_empty() {
            return Ok(0);
        }
        let absent = tx
            .note_absent(&Absence {
                connection: self.claimed.connection,
                account: account.id,
                window: Some((from, to)),
                seen: &listed.seen,
                pull: self.claimed.lease.pull,
                now,
            })
            .await?;
        Ok(absent.deleted)
    }
}

fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
