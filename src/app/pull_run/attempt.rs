//! One attempt at a pull: account by account, listing by listing.

use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::Stop;
use crate::{
    app::{App, connection_tests::Findings},
    domain::{
        connection::AggregatorConnection,
        ids::PullId,
        pull::{self, Cursor, Hints, NamedPlace, Names, PlanInput, Progress, Step, Unfinished},
        source::{SourceReport, SourceState},
    },
    storage::{ClaimedPull, StoredAccount, TenantTx},
    vendors::{Access, Aggregator, ErrorKind, VendorError, Verification},
};

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
}

/// An account, and how far to believe what is listed of it.
#[derive(Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) account: &'a StoredAccount,
    /// How the item or link does.
    report: &'a SourceReport,
    /// Whether the vendor lists the account. Of one that it does not list, what it lists may be nothing
    /// although there is something.
    pub(super) is_listed: bool,
    /// Which rows are said to be gone and are too many to be read by name.
    pub(super) deleted_unread: &'a Names,
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
                first_seen_at: record.first_seen_at,
            })
            .collect();
        self.read_named_anywhere(&known, &report).await?;
        for account in &accounts {
            self.read_account(account, &report, true).await?;
        }
        // An account that the vendor does not list just now may still have what was asked for.
        for account in &known {
            if accounts.iter().all(|listed| listed.id != account.id) {
                self.read_unlisted(account, &report).await?;
            }
        }
        if let Some(since) = self.claimed.left_since {
            self.link_what_was_left(&known, since).await?;
        }
        // Only if every account that is listed is known.
        if read.quarantined.is_empty() {
            self.retire(&superseded, &accounts, &read.accounts).await?;
        }
        match self.unjudged.get() {
            // The next pull is told of them as well.
            Some(error) => Err(error.clone().into()),
            None => Ok(()),
        }
    }

    /// Links what an earlier attempt, or a pull that did not succeed, has inserted or deleted and not linked;
    /// nobody knows of which account that was.
    async fn link_what_was_left(
        &self,
        known: &[StoredAccount],
        since: DateTime<Utc>,
    ) -> Result<(), Stop> {
        let now = self.app.0.parts.clock.now();
        let pull = self.claimed.lease.pull;
        for account in known {
            let mut tx = self.begin().await?;
            let mut linked = 0;
            // What is linked as on any other day is out of the way of what is older and says the same.
            for since in [now, since] {
                linked += tx
                    .link_replacements(self.claimed.connection, account.id, pull, since, now)
                    .await?;
            }
            // Their versions name this pull.
            let progress = Progress {
                updated: linked,
                ..Progress::default()
            };
            self.app
                .advance_in(&mut tx, &self.claimed, &progress)
                .await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// Whether the connection still leads where it led when this attempt began.
    pub(super) async fn still_leads_there(&self) -> Result<bool, Stop> {
        let mut tx = self.begin().await?;
        Ok(tx.share_connection_as_it_was(&self.connection).await?)
    }

    /// Reads an account that the vendor does not list. If it won't hear of it any more, that is all there
    /// is to be read, and nothing is wrong with the others.
    async fn read_unlisted(
        &self,
        account: &StoredAccount,
        report: &SourceReport,
    ) -> Result<(), Stop> {
        let refused = match self.read_account(account, report, false).await {
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

    pub(super) fn error(&self, kind: ErrorKind, code: &str) -> Stop {
        VendorError::new(self.connection.vendor, kind)
            .with_code(code)
            .into()
    }

    /// Reads what the plan says of an account. A long listing that an earlier attempt could not read to
    /// its end is gone on with, whoever asked for it, before others of its kind are begun; the plan
    /// then knows how far it led.
    async fn read_account(
        &self,
        account: &StoredAccount,
        report: &SourceReport,
        is_listed: bool,
    ) -> Result<(), Stop> {
        let mut tx = self.begin().await?;
        let (mut cursor, unfinished, named) =
            tx.cursor(self.claimed.connection, account.id).await?;
        drop(tx);
        let vendor = self.connection.vendor;
        let reading = Reading {
            account,
            report,
            is_listed,
            deleted_unread: &self
                .hints
                .deleted_unread(vendor, &account.vendor_id, named.as_ref()),
        };
        let plan = |cursor| {
            pull::plan(&PlanInput {
                vendor,
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
    pub(super) async fn read_step(
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
        let said = self.said_and_absent(&reading, step, &listed).await?;
        let mut report = reading.report;
        let seen_again;
        if listed.judges(step, &reading, report) && !said.is_empty()
            || listed.proves_absence(&reading, report)
                && self.lacks_rows(account, step, &listed).await?
        {
            // When a consent goes while it is listed, the rest of the pages is empty.
            seen_again = self.look_at_source().await?;
            report = &seen_again;
        }
        let judges = listed.judges(step, &reading, report);
        if !judges && !said.is_empty() {
            self.leave_said(reading, cursor, step, &said, report)
                .await?;
        }
        let is_unjudged = !judges && !said.is_empty() && self.unjudged.get().is_some();
        let mut tx = self.begin().await?;
        if judges && !said.is_empty() {
            progress.deleted += self.settle_said(&mut tx, account, &said).await?;
        }
        if listed.proves_absence(&reading, report) {
            progress.deleted += self.settle_absence(&mut tx, account, step, &listed).await?;
        }
        let vendor = self.connection.vendor;
        let announced = self.hints.announce(vendor, &account.vendor_id, step);
        if cursor.watermark.is_some() && !announced {
            progress.missed = listed.changed + progress.deleted;
        }
        if listed.inserted + progress.deleted > 0 {
            let now = self.app.0.parts.clock.now();
            tx.link_replacements(
                self.claimed.connection,
                account.id,
                self.claimed.lease.pull,
                now,
                now,
            )
            .await?;
        }
        self.app
            .advance_in(&mut tx, &self.claimed, &progress)
            .await?;
        // Only now, since the listing was read to its end.
        let mut after = cursor;
        if listed.shows_something(&reading) {
            // What nobody could judge is asked for again.
            after = if listed.is_unsettled || is_unjudged {
                cursor.after_unsettled(step, listed.began)
            } else {
                cursor.after(step, listed.began)
            };
            tx.move_cursor(self.claimed.connection, account.id, &after)
                .await?;
        }
        // Where they are too many, only those that are said to be gone are asked for by name: others that are
        // before the place of those were not.
        if let Step::Named { place, .. } = step
            && reading.deleted_unread.is_empty()
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
}

pub(super) fn as_count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
