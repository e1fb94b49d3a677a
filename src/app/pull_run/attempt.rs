//! One attempt at a pull: account by account, listing by listing, page by page.

use std::collections::HashSet;

use chrono::{DateTime, Days, Utc};
use tokio_util::sync::CancellationToken;

use super::Stop;
use crate::{
    app::{App, connection_tests::Findings},
    domain::{
        connection::AggregatorConnection,
        ids::AccountId,
        pull::{self, Hints, PlanInput, Progress, Step},
        source::{SourceReport, SourceState},
        transaction::Converted,
    },
    storage::{Absence, ClaimedPull, Gone, Known, PageWrite, StoredAccount, TenantTx},
    vendors::{
        Access, AccountToRead, Aggregator, Disposition, ErrorKind, PageMark, Read, TransactionPage,
        VendorError, Verification,
    },
};

/// How often a listing whose place was lost is begun anew.
const RESTARTS: u32 = 2;
/// How many pages in which nothing changed are told of at once.
const TOLD_AT_ONCE: u64 = 20;
/// How far back every vendor keeps what it has.
const KEPT_DAYS: u64 = 350;

/// An attempt at a pull.
pub(super) struct Attempt<'a> {
    pub(super) app: &'a App,
    pub(super) claimed: ClaimedPull,
    pub(super) aggregator: &'a dyn Aggregator,
    pub(super) access: Access,
    pub(super) connection: AggregatorConnection,
    pub(super) hints: Hints,
    /// When this attempt began: what the vendor takes in later is for the next one.
    pub(super) began: DateTime<Utc>,
    pub(super) stopping: &'a CancellationToken,
}

/// Everything that one listing brought.
#[derive(Default)]
struct Listed {
    seen: HashSet<String>,
    changed: u64,
    /// Whether rows moved between the pages while it was read.
    drifted: bool,
    /// Whether it holds every row of the account that we have.
    lacks_nothing: bool,
    /// Pages in which nothing changed, and which nobody was told of yet.
    untold: Progress,
}

impl Attempt<'_> {
    /// Brings every row of the connection to what the vendor has.
    pub(super) async fn read_all(&self) -> Result<(), Stop> {
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
            let mut progress = listed.untold;
            let mut tx = self.begin().await?;
            // What is said to be gone and does not come is, whatever else goes on; what is missing
            // from a listing is gone only if the listing is whole and up to date.
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
        let fetch = async |mark: Option<PageMark>| -> Result<TransactionPage, Stop> {
            if self.stopping.is_cancelled() {
                return Err(Stop::Stopping);
            }
            Ok(self
                .aggregator
                .transactions(&self.access, asked, &read, mark.as_ref())
                .await?)
        };
        let mut total = None;
        let mut page = fetch(None).await?;
        loop {
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
            let write = self.write_page(account.id, &page.converted, known.as_mut(), &mut listed);
            let Some(mark) = page.next else {
                write.await?;
                break;
            };
            // The next page is fetched while this one is written. Both come to their ends: what was
            // read is kept, whatever becomes of the next one.
            let (written, next) = tokio::join!(write, fetch(Some(mark)));
            written?;
            page = next?;
        }
        // Fewer or more different rows than there are said to be: some moved while it was read.
        listed.drifted |=
            step.is_exhaustive() && total.is_some_and(|total| total != as_count(listed.seen.len()));
        listed.lacks_nothing = known.is_some_and(|known| known.is_within(&listed.seen));
        Ok(listed)
    }

    /// One page, one transaction; none if every row is stored already just as it is.
    async fn write_page(
        &self,
        account: AccountId,
        converted: &Converted,
        known: Option<&mut Known>,
        listed: &mut Listed,
    ) -> Result<(), Stop> {
        let rows = &converted.rows;
        listed.untold.pages += 1;
        listed.untold.seen += as_count(rows.len());
        listed.untold.quarantined += as_count(converted.quarantined.len());
        listed
            .seen
            .extend(rows.iter().map(|row| row.vendor_id.clone()));
        if listed.untold.pages < TOLD_AT_ONCE
            && known.as_ref().is_some_and(|known| known.holds(rows))
        {
            listed.untold.unchanged += as_count(rows.len());
            return Ok(());
        }
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
        let mut progress = std::mem::take(&mut listed.untold);
        progress.inserted += applied.inserted;
        progress.updated += applied.updated + applied.revived;
        progress.unchanged += applied.unchanged;
        self.app
            .advance_in(&mut tx, &self.claimed, &progress)
            .await?;
        tx.commit().await?;
        listed.changed += applied.inserted + applied.updated + applied.revived;
        Ok(())
    }

    /// What is said to be gone and did not come by its name is gone; what is missing from a complete
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
                // A row that changed may be slow to come; only one that is said to be gone is.
                let said = self.hints.deleted_in(&account.vendor_id);
                let absent: Vec<String> = ids
                    .iter()
                    .filter(|id| said.contains(*id) && !listed.seen.contains(*id))
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
        if listed.seen.is_empty() || listed.lacks_nothing {
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
