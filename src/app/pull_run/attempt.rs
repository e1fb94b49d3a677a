//! One attempt at a pull: account by account, listing by listing, page by page.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, Days, Utc};
use tokio_util::sync::CancellationToken;

use super::{
    Stop,
    listed::{Drift, Listed},
};
use crate::{
    app::{App, connection_tests::Findings},
    domain::{
        connection::AggregatorConnection,
        ids::{AccountId, PullId},
        pull::{self, Cursor, Hints, NamedPlace, PlanInput, Progress, Step, Unfinished},
        source::{SourceReport, SourceState},
        transaction::{Converted, Quarantined},
    },
    storage::{Absence, ClaimedPull, Gone, Known, PageWrite, StoredAccount, TenantTx},
    telemetry,
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
    /// How far rows that were named without their account were read.
    pub(super) named: Option<NamedPlace>,
    /// When this attempt began: what the vendor takes in later is for the next one.
    pub(super) began: DateTime<Utc>,
    pub(super) stopping: &'a CancellationToken,
    /// Why nobody can tell whether rows that are said to be gone are.
    pub(super) unjudged: OnceLock<VendorError>,
    /// Whether the rows of a listing moved each time it was read.
    pub(super) unsettled: AtomicBool,
}

/// An account, and how far to believe what is listed of it.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    account: &'a StoredAccount,
    /// How the item or link does.
    report: &'a SourceReport,
    /// Whether the vendor lists the account. Of one that it does not list, what it lists may be nothing
    /// although there is something.
    is_listed: bool,
}

impl Reading<'_> {
    /// Whether what is missing from a listing of the account says anything.
    pub(super) fn is_current(&self, report: &SourceReport) -> bool {
        self.is_listed && report.transactions_current
    }
}

impl Attempt<'_> {
    /// Brings every row of the connection to what the vendor has.
    pub(super) async fn read_all(&self) -> Result<(), Stop> {
        let report = self.look_at_source().await?;
        let read = self.aggregator.accounts(&self.access).await?;
        self.tell_of_odd_rows(&read.quarantined, 0);
        let mut progress = Progress {
            quarantined: as_count(read.quarantined.len()),
            ..Progress::default()
        };
        let mut tx = self.begin().await?;
        // First of all, so that a change that leads the connection elsewhere comes before or after it. One
        // that was not to be seen when this attempt began has not called it off.
        if !tx.share_connection_as_it_was(&self.connection).await? {
            return Err(Stop::LedElsewhere);
        }
        self.app
            .advance_in(&mut tx, &self.claimed, &Progress::default())
            .await?;
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
        let superseded = tx.superseded_accounts(self.claimed.connection).await?;
        tx.commit().await?;
        let known: Vec<StoredAccount> = known
            .into_iter()
            .filter(|record| superseded.iter().all(|one| one.id != record.id))
            .map(|record| StoredAccount {
                id: record.id,
                vendor_id: record.account.vendor_id,
                account_type: record.account.account_type,
            })
            .collect();
        self.read_named_anywhere(&known, &report).await?;
        for account in &accounts {
            let reading = Reading {
                account,
                report: &report,
                is_listed: true,
            };
            self.read_account(reading).await?;
        }
        // An account that the vendor does not list just now may still have what was asked for.
        for account in &known {
            if accounts.iter().all(|listed| listed.id != account.id) {
                self.read_unlisted(account, &report).await?;
            }
        }
        // Only if every account was read to its end.
        if read.quarantined.is_empty() && !self.unsettled.load(Ordering::Relaxed) {
            self.retire(&superseded, &accounts, &read.accounts).await?;
        }
        match self.unjudged.get() {
            // The next pull is told of them as well.
            Some(error) => Err(error.clone().into()),
            None => Ok(()),
        }
    }

    /// Reads an account that the vendor does not list. If it won't hear of it any more, that is all there
    /// is to be read, and nothing is wrong with the others.
    async fn read_unlisted(
        &self,
        account: &StoredAccount,
        report: &SourceReport,
    ) -> Result<(), Stop> {
        let reading = Reading {
            account,
            report,
            is_listed: false,
        };
        let refused = match self.read_account(reading).await {
            Err(Stop::Vendor(error)) if error.is_permanent() => Some(error),
            other => {
                other?;
                None
            }
        };
        if refused.is_some() {
            // Unless it is the item or link, or the credential, that it won't hear of.
            self.look_at_source().await?;
        }
        tracing::info!(
            tenant.id = %self.claimed.tenant,
            connection.id = %self.claimed.connection,
            account.id = %account.id,
            refused = refused.as_ref().map(VendorError::reason),
            "the vendor no longer lists an account"
        );
        Ok(())
    }

    /// Notes what this attempt knew of, since it does not come to its end.
    pub(super) async fn note_heard(&self, pulls: &[PullId]) -> Result<(), Stop> {
        let mut tx = self.begin().await?;
        self.app
            .advance_in(&mut tx, &self.claimed, &Progress::default())
            .await?;
        tx.note_heard(self.claimed.connection, pulls, self.began)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Notes that rows which are said to be gone can't be judged while the source is as it is.
    pub(super) fn leave_unjudged(&self, report: &SourceReport) {
        let kind = match report.state {
            SourceState::LoginError => ErrorKind::LoginRefused,
            SourceState::WaitingUser => ErrorKind::UserActionNeeded,
            _ => ErrorKind::BankUnavailable,
        };
        let error = VendorError::new(self.connection.vendor, kind).with_code(&report.reason);
        self.unjudged.get_or_init(|| error);
    }

    /// Notes that rows which are said to be gone can't be judged, since one without a name came that may
    /// be any of them.
    pub(super) fn leave_to_nameless(&self) {
        let error = VendorError::new(self.connection.vendor, ErrorKind::Malformed);
        self.unjudged
            .get_or_init(|| error.with_code("row_without_id"));
    }

    pub(super) async fn begin(&self) -> Result<TenantTx, Stop> {
        Ok(self.app.0.parts.store.begin(self.claimed.tenant).await?)
    }

    /// Looks at the item or link first: what is over needs no reading, and what is not current
    /// proves nothing by absence.
    pub(super) async fn look_at_source(&self) -> Result<SourceReport, Stop> {
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

    /// Reads what the plan says of an account. A long listing that an earlier attempt could not read to
    /// its end is gone on with, whoever asked for it, before others of its kind are begun; the plan
    /// then knows how far it led.
    async fn read_account(&self, reading: Reading<'_>) -> Result<(), Stop> {
        let account = reading.account;
        let mut tx = self.begin().await?;
        let (mut cursor, unfinished, named) =
            tx.cursor(self.claimed.connection, account.id).await?;
        drop(tx);
        let plan = |cursor| {
            pull::plan(&PlanInput {
                vendor: self.connection.vendor,
                connection: self.claimed.connection,
                demand: self.claimed.demand,
                asked_at: self.claimed.asked_at,
                backfill: self.claimed.window,
                hints: &self.hints,
                account: &account.vendor_id,
                cursor,
                named: named.as_ref(),
                now: self.began,
            })
        };
        let mut steps = plan(cursor);
        if let Some(unfinished) = unfinished.filter(|one| one.is_good(self.began)) {
            // What is new does not wait for it.
            let was_known = cursor.watermark.is_some();
            for step in steps.iter().filter(|step| !step.is_exhaustive()) {
                cursor = self.read_step(reading, cursor, step, None).await?;
            }
            let step = unfinished.step.clone();
            cursor = self
                .read_step(reading, cursor, &step, Some(unfinished))
                .await?;
            steps = plan(cursor);
            steps.retain(|step| step.is_exhaustive() || !was_known);
        }
        for step in &steps {
            cursor = self.read_step(reading, cursor, step, None).await?;
        }
        Ok(())
    }

    /// Reads one listing to its end and settles what follows from it; answers where the cursor stands
    /// then.
    async fn read_step(
        &self,
        reading: Reading<'_>,
        cursor: Cursor,
        step: &Step,
        unfinished: Option<Unfinished>,
    ) -> Result<Cursor, Stop> {
        let account = reading.account;
        let listed = self.read_listing(account, step, unfinished).await?;
        let mut progress = listed.untold;
        progress.unsettled = u64::from(listed.is_unsettled);
        let mut proves = listed.proves_absence(step, &reading, reading.report);
        if proves && self.lacks_rows(account, step, &listed).await? {
            // When a consent goes while it is listed, the rest of the pages is empty.
            let report = self.look_at_source().await?;
            proves = listed.proves_absence(step, &reading, &report);
            self.note_unjudged(account, step, &listed, &report);
        } else {
            self.note_unjudged(account, step, &listed, reading.report);
        }
        let mut tx = self.begin().await?;
        if proves {
            progress.deleted = self.settle_absence(&mut tx, account, step, &listed).await?;
        }
        let vendor = self.connection.vendor;
        let announced = self.hints.announce(vendor, &account.vendor_id, step);
        if cursor.watermark.is_some() && !announced {
            progress.missed = listed.changed + progress.deleted;
        }
        // What an earlier attempt has inserted or deleted may not have been linked.
        if listed.inserted + progress.deleted > 0 || self.claimed.has_changed_rows {
            tx.link_replacements(
                self.claimed.connection,
                account.id,
                self.claimed.lease.pull,
                self.app.0.parts.clock.now(),
            )
            .await?;
        }
        self.app
            .advance_in(&mut tx, &self.claimed, &progress)
            .await?;
        // Only now, since the listing was read to its end. What an account that is not listed shows of
        // itself may be nothing although it has something.
        let mut after = cursor;
        let shows_something = reading.is_listed || !listed.seen.is_empty();
        if listed.is_unsettled {
            self.unsettled.store(true, Ordering::Relaxed);
        }
        if shows_something {
            after = if listed.is_unsettled {
                cursor.after_unsettled(step, listed.began)
            } else {
                cursor.after(step, listed.began)
            };
            tx.move_cursor(self.claimed.connection, account.id, &after)
                .await?;
        }
        if let Step::Named { place, .. } = step
            && self.unjudged.get().is_none()
        {
            tx.note_named(self.claimed.connection, account.id, place)
                .await?;
        }
        if step.is_exhaustive() {
            // Another process, or an earlier attempt, may have noted it.
            tx.forget_listing(self.claimed.connection, account.id)
                .await?;
        }
        tx.commit().await?;
        Ok(after)
    }

    /// Reads one listing to its end; begins it anew when its place is lost on the way, or when its rows moved
    /// meanwhile, since one may have moved to a page that was read.
    async fn read_listing(
        &self,
        account: &StoredAccount,
        step: &Step,
        mut unfinished: Option<Unfinished>,
    ) -> Result<Listed, Stop> {
        let mut restarts = 0;
        let mut earlier: Option<Listed> = None;
        loop {
            let mut listed = match self.read_pages(account, step, unfinished.take()).await {
                Err(Stop::Vendor(error))
                    if error.disposition() == Disposition::Restart && restarts < RESTARTS =>
                {
                    restarts += 1;
                    continue;
                }
                other => other?,
            };
            let before = earlier.as_ref().and_then(|one| one.drift.as_ref());
            let has_moved = listed.drift.is_some_and(|drift| !drift.is_a_habit(before));
            if let Some(earlier) = earlier.take() {
                listed.go_on_from(&earlier);
            }
            if has_moved && restarts < RESTARTS {
                restarts += 1;
                earlier = Some(listed);
                continue;
            }
            listed.is_unsettled = has_moved;
            return Ok(listed);
        }
    }

    /// Reads the pages of one listing, from where it was left or from the first.
    ///
    /// The place is noted with each page that is written and wherever the vendor wants to be left
    /// alone, so that an attempt that ends early does not read again what it has read.
    async fn read_pages(
        &self,
        account: &StoredAccount,
        step: &Step,
        unfinished: Option<Unfinished>,
    ) -> Result<Listed, Stop> {
        let read = read_of(step);
        let asked = AccountToRead {
            vendor_id: &account.vendor_id,
            account_type: account.account_type,
        };
        // A listing of everything, or of much, looks up what is known once and not page by page.
        let mut known = if step.is_exhaustive() {
            let mut tx = self.begin().await?;
            Some(tx.known_of_account(account.id).await?)
        } else {
            None
        };
        let mut listed = Listed {
            seen: HashSet::new(),
            changed: 0,
            inserted: 0,
            whole: unfinished.is_none(),
            drift: None,
            is_unsettled: false,
            began: unfinished.as_ref().map_or(self.began, |one| one.began),
            lacks_nothing: false,
            untold: Progress::default(),
        };
        let (mark, mut total) = match unfinished {
            Some(one) => (Some(PageMark(one.mark)), one.total),
            None => (None, None),
        };
        let mut resumes = !listed.whole;
        let is_resumed = resumes;
        let mut drift = Drift::default();
        let fetch = async |mark: Option<PageMark>| -> Result<TransactionPage, Stop> {
            if self.stopping.is_cancelled() {
                return Err(Stop::Stopping);
            }
            Ok(self
                .aggregator
                .transactions(&self.access, asked, &read, mark.as_ref())
                .await?)
        };
        let mut page = fetch(mark).await?;
        loop {
            listed.note_quarantined(&page.converted.quarantined);
            let nameless = page.converted.quarantined.iter();
            let nameless = nameless.filter(|row| row.vendor_id.is_none()).count();
            drift.came += as_count(page.converted.rows.len() + page.converted.quarantined.len());
            drift.different += as_count(nameless);
            let moved = total.is_some_and(|before| Some(before) != page.total);
            if moved && resumes {
                // Much may have happened since; rows that moved to pages that were read would be lost.
                return Err(self.error(ErrorKind::BadCursor, "listing_moved"));
            }
            resumes = false;
            drift.moved |= moved;
            total = page.total.or(total);
            let Some(mark) = page.next.clone() else {
                self.write_page(
                    account.id,
                    &page.converted,
                    known.as_mut(),
                    None,
                    &mut listed,
                )
                .await?;
                break;
            };
            let place = step.is_exhaustive().then(|| Unfinished {
                step: step.clone(),
                mark: mark.0.clone(),
                total,
                began: listed.began,
                noted_at: self.app.0.parts.clock.now(),
            });
            // The next page is fetched while this one is written. Both come to their ends: what was
            // read is kept, whatever becomes of the next one.
            let (written, next) = tokio::join!(
                self.write_page(
                    account.id,
                    &page.converted,
                    known.as_mut(),
                    place.as_ref(),
                    &mut listed
                ),
                fetch(Some(mark))
            );
            let written = written?;
            page = match next {
                Ok(next) => next,
                Err(ending) => {
                    // Pages that were known already were not written, and neither was the place.
                    if let Some(place) = place.filter(|_| !written && !ending.loses_place()) {
                        let untold = std::mem::take(&mut listed.untold);
                        self.note_place(account.id, &place, &untold).await?;
                    }
                    return Err(ending);
                }
            };
        }
        drift.total = total.filter(|_| !is_resumed && step.is_exhaustive());
        drift.different += as_count(listed.seen.len());
        listed.drift = Some(drift).filter(Drift::is_betrayed);
        listed.whole &= listed.drift.is_none() || !step.is_exhaustive();
        listed.lacks_nothing = known.is_some_and(|known| known.is_within(&listed.seen));
        Ok(listed)
    }

    /// One page, one transaction; none if every row is stored already just as it is. Answers whether
    /// there was one, and with it the place was noted.
    async fn write_page(
        &self,
        account: AccountId,
        converted: &Converted,
        known: Option<&mut Known>,
        place: Option<&Unfinished>,
        listed: &mut Listed,
    ) -> Result<bool, Stop> {
        let rows = &converted.rows;
        let unreadable: Vec<&str> = converted
            .quarantined
            .iter()
            .filter_map(|row| row.vendor_id.as_deref())
            .collect();
        listed.untold.pages += 1;
        listed.untold.seen += as_count(rows.len());
        listed.untold.quarantined += as_count(converted.quarantined.len());
        listed
            .seen
            .extend(rows.iter().map(|row| row.vendor_id.clone()));
        self.tell_of_odd_rows(&converted.quarantined, converted.contradictions);
        if unreadable.is_empty()
            && listed.untold.pages < TOLD_AT_ONCE
            && known.as_ref().is_some_and(|known| known.holds(rows))
        {
            listed.untold.unchanged += as_count(rows.len());
            return Ok(false);
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
        if !unreadable.is_empty() {
            tx.note_present(self.claimed.connection, &unreadable)
                .await?;
        }
        let mut progress = std::mem::take(&mut listed.untold);
        progress.inserted += applied.inserted;
        progress.updated += applied.updated + applied.revived;
        progress.unchanged += applied.unchanged;
        self.app
            .advance_in(&mut tx, &self.claimed, &progress)
            .await?;
        if let Some(place) = place {
            tx.note_listing(self.claimed.connection, account, place)
                .await?;
        }
        tx.commit().await?;
        listed.inserted += applied.inserted;
        listed.changed += applied.inserted + applied.updated + applied.revived;
        Ok(true)
    }

    /// Tells why rows could not be read: by how many for which reason, and nothing of them.
    pub(super) fn tell_of_odd_rows(&self, quarantined: &[Quarantined], contradictions: u32) {
        let vendor = self.connection.vendor.as_str();
        let mut reasons: BTreeMap<&'static str, u64> = BTreeMap::new();
        for row in quarantined {
            *reasons.entry(row.reason).or_default() += 1;
        }
        for (reason, rows) in &reasons {
            telemetry::record_odd_rows(vendor, reason, *rows);
        }
        if contradictions > 0 {
            let reason = "has a sign that contradicts its direction";
            telemetry::record_odd_rows(vendor, reason, contradictions.into());
        }
        if !reasons.is_empty() {
            tracing::warn!(
                tenant.id = %self.claimed.tenant,
                connection.id = %self.claimed.connection,
                vendor,
                ?reasons,
                "rows of a page could not be read"
            );
        }
    }

    /// Notes where a listing was left, and tells of the pages before, which are not read again.
    async fn note_place(
        &self,
        account: AccountId,
        place: &Unfinished,
        untold: &Progress,
    ) -> Result<(), Stop> {
        let mut tx = self.begin().await?;
        self.app.advance_in(&mut tx, &self.claimed, untold).await?;
        tx.note_listing(self.claimed.connection, account, place)
            .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Whether there is anything that did not come although it might have.
    async fn lacks_rows(
        &self,
        account: &StoredAccount,
        step: &Step,
        listed: &Listed,
    ) -> Result<bool, Stop> {
        if let Step::Named { ids, .. } = step {
            return Ok(!self.said_and_absent(account, ids, listed).is_empty());
        }
        let Some(absence) = self.absence(account, step, listed) else {
            return Ok(false);
        };
        let mut tx = self.begin().await?;
        Ok(tx.lacks_rows(&absence).await?)
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
        if let Step::Named { ids, .. } = step {
            let gone = Gone {
                connection: self.claimed.connection,
                account: account.id,
                vendor_ids: &self.said_and_absent(account, ids, listed),
                pull: self.claimed.lease.pull,
                now: self.app.0.parts.clock.now(),
            };
            return Ok(tx.tombstone(&gone).await?);
        }
        match self.absence(account, step, listed) {
            Some(absence) => Ok(tx.note_absent(&absence).await?.deleted),
            None => Ok(0),
        }
    }

    /// Notes if something is said to be gone, did not come, and nobody can tell whether it is.
    fn note_unjudged(
        &self,
        account: &StoredAccount,
        step: &Step,
        listed: &Listed,
        report: &SourceReport,
    ) {
        if let Step::Named { ids, .. } = step
            && !self.said_and_absent(account, ids, listed).is_empty()
        {
            if !report.state.is_usable() {
                self.leave_unjudged(report);
            } else if !listed.whole {
                self.leave_to_nameless();
            }
        }
    }

    /// A row that changed may be slow to come; only one that is said to be gone is.
    fn said_and_absent(
        &self,
        account: &StoredAccount,
        ids: &[String],
        listed: &Listed,
    ) -> Vec<String> {
        let said = self.hints.deleted_in(&account.vendor_id);
        ids.iter()
            .filter(|id| said.contains(*id) && !listed.seen.contains(*id))
            .cloned()
            .collect()
    }

    /// What a listing says of rows that it does not hold, if it says anything.
    fn absence<'a>(
        &self,
        account: &StoredAccount,
        step: &Step,
        listed: &'a Listed,
    ) -> Option<Absence<'a>> {
        // An empty listing is more likely a fault than the end of every row.
        if listed.seen.is_empty() || listed.lacks_nothing {
            return None;
        }
        // Where the vendor begins to forget, absence proves nothing either.
        let today = self.began.date_naive();
        let oldest = today - Days::new(KEPT_DAYS);
        let window = match step {
            Step::CreatedSince(_) | Step::Named { .. } => return None,
            // A vendor cuts days by a clock of its own, so at the edges absence proves nothing.
            Step::Window { from, to } => (
                (*from).max(oldest).checked_add_days(Days::new(1))?,
                to.checked_sub_days(Days::new(1))?,
            ),
            Step::Full => (oldest, today.checked_add_days(Days::new(KEPT_DAYS))?),
        };
        Some(Absence {
            connection: self.claimed.connection,
            account: account.id,
            window: Some(window),
            seen: &listed.seen,
            pull: self.claimed.lease.pull,
            now: self.app.0.parts.clock.now(),
        })
    }
}

fn read_of(step: &Step) -> Read {
    match step {
        Step::CreatedSince(since) => Read::CreatedSince(*since),
        Step::Named { ids, .. } => Read::Ids(ids.clone()),
        Step::Window { from, to } => Read::Window {
            from: *from,
            to: *to,
        },
        Step::Full => Read::Full,
    }
}

pub(super) fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
