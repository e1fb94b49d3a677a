//! One listing of an account, page by page.

use std::collections::{BTreeMap, HashSet};

use super::{
    Stop,
    attempt::{Attempt, as_count},
    listed::{Drift, Listed},
};
use crate::{
    domain::{
        ids::AccountId,
        pull::{Progress, Step, Unfinished},
        transaction::{Converted, Quarantined},
    },
    storage::{Known, PageWrite, StoredAccount},
    telemetry,
    vendors::{AccountToRead, Disposition, ErrorKind, PageMark, Read, TransactionPage},
};

/// How often a listing whose place was lost is begun anew.
const RESTARTS: u32 = 2;
/// How many pages in which nothing changed are told of at once.
const TOLD_AT_ONCE: u64 = 20;

impl Attempt<'_> {
    /// Reads one listing to its end; begins it anew when its place is lost on the way, or when its rows moved
    /// meanwhile, since one may have moved to a page that was read.
    pub(super) async fn read_listing(
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
            if has_moved {
                self.forget_place(account.id, step).await?;
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

    /// Forgets the place in a listing whose rows moved: an attempt that went on there would not know that they
    /// did, and take for read whole what was not.
    async fn forget_place(&self, account: AccountId, step: &Step) -> Result<(), Stop> {
        if !step.is_exhaustive() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        self.app
            .advance_in(&mut tx, &self.claimed, &Progress::default())
            .await?;
        tx.forget_listing(self.claimed.connection, account).await?;
        tx.commit().await?;
        Ok(())
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
