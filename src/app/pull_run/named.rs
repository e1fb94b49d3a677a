//! Rows that events name without their account.

use std::collections::HashSet;

use super::{Stop, attempt::Attempt, attempt::as_count};
use crate::{
    domain::{
        pull::{NamedPlace, Progress, Step},
        source::SourceReport,
        transaction::{Converted, Transaction},
    },
    storage::{Gone, PageWrite, StoredAccount, TenantTx},
    vendors::{AccountToRead, Read},
};

impl Attempt<'_> {
    /// Reads the rows that events named without their account: each once, however many accounts there
    /// are. A few at a time, so that what was read is kept, whatever becomes of the rest.
    pub(super) async fn read_named_anywhere(
        &self,
        accounts: &[StoredAccount],
        report: &SourceReport,
    ) -> Result<(), Stop> {
        let vendor = self.connection.vendor;
        let steps = self
            .hints
            .steps_anywhere(vendor, self.named.as_ref(), self.began);
        let Some(any) = accounts.first() else {
            return Ok(());
        };
        for step in steps {
            if let Step::Named { ids, place } = step {
                let read = self.read_names(any, ids.clone()).await?;
                self.settle_names(accounts, &ids, read, &place, report)
                    .await?;
            }
        }
        Ok(())
    }

    /// Reads a few rows by name.
    async fn read_names(&self, any: &StoredAccount, ids: Vec<String>) -> Result<Converted, Stop> {
        let asked = AccountToRead {
            vendor_id: &any.vendor_id,
            account_type: any.account_type,
        };
        let read = Read::Ids(ids);
        let mut all = Converted::default();
        let mut mark = None;
        loop {
            if self.stopping.is_cancelled() {
                return Err(Stop::Stopping);
            }
            let page = self
                .aggregator
                .transactions(&self.access, asked, &read, mark.as_ref())
                .await?;
            all.rows.extend(page.converted.rows);
            all.quarantined.extend(page.converted.quarantined);
            all.contradictions += page.converted.contradictions;
            match page.next {
                Some(next) => mark = Some(next),
                None => return Ok(all),
            }
        }
    }

    /// Writes what was read of these names in one transaction, deletes those that are gone, and notes how
    /// far that came.
    async fn settle_names(
        &self,
        accounts: &[StoredAccount],
        ids: &[String],
        read: Converted,
        place: &NamedPlace,
        report: &SourceReport,
    ) -> Result<(), Stop> {
        let Converted {
            mut rows,
            quarantined,
            contradictions,
        } = read;
        self.tell_of_odd_rows(&quarantined, contradictions);
        // One that could not be read is there all the same.
        let unreadable: Vec<&str> = quarantined
            .iter()
            .filter_map(|row| row.vendor_id.as_deref())
            .collect();
        let came: HashSet<&str> = rows
            .iter()
            .map(|row| row.vendor_id.as_str())
            .chain(unreadable.iter().copied())
            .collect();
        let said = self.hints.deleted_anywhere();
        let mut gone: Vec<String> = ids
            .iter()
            .filter(|id| said.contains(*id) && !came.contains(id.as_str()))
            .cloned()
            .collect();
        // One without a name may be any of them.
        if !gone.is_empty() && unreadable.len() < quarantined.len() {
            self.leave_to_nameless();
            gone.clear();
        }
        if !gone.is_empty() {
            let mut report = report.clone();
            if report.state.is_usable() {
                // When a consent goes while they are read, none of them is found.
                report = self.look_at_source().await?;
            }
            if !report.state.is_usable() {
                self.leave_unjudged(&report);
                gone.clear();
            }
        }
        let mut progress = Progress {
            seen: as_count(rows.len()),
            quarantined: as_count(quarantined.len()),
            ..Progress::default()
        };
        let _turn = self.app.0.page_writes.acquire().await;
        let mut tx = self.begin().await?;
        for account in accounts {
            let (theirs, others) = rows
                .into_iter()
                .partition(|row: &Transaction| row.account_vendor_id == account.vendor_id);
            rows = others;
            self.settle_named(&mut tx, account, &theirs, &gone, &mut progress)
                .await?;
        }
        if !unreadable.is_empty() {
            tx.note_present(self.claimed.connection, &unreadable)
                .await?;
        }
        // What is left is of accounts that we do not know.
        progress.quarantined += as_count(rows.len());
        self.app
            .advance_in(&mut tx, &self.claimed, &progress)
            .await?;
        if self.unjudged.get().is_none() {
            tx.note_named_anywhere(self.claimed.lease.pull, place)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Writes the rows of one account that were read by name, and deletes those that are gone.
    async fn settle_named(
        &self,
        tx: &mut TenantTx,
        account: &StoredAccount,
        rows: &[Transaction],
        gone: &[String],
        progress: &mut Progress,
    ) -> Result<(), Stop> {
        let (connection, pull) = (self.claimed.connection, self.claimed.lease.pull);
        let now = self.app.0.parts.clock.now();
        let mut inserted = 0;
        if !rows.is_empty() {
            let page = PageWrite {
                connection,
                account: account.id,
                pull,
                rows,
                now,
                random: &*self.app.0.parts.random,
            };
            let applied = tx.apply_page(&page).await?;
            inserted = applied.inserted;
            progress.pages += 1;
            progress.inserted += applied.inserted;
            progress.updated += applied.updated + applied.revived;
            progress.unchanged += applied.unchanged;
        }
        let deleted = if gone.is_empty() {
            0
        } else {
            let gone = Gone {
                connection,
                account: account.id,
                vendor_ids: gone,
                pull,
                now,
            };
            tx.tombstone(&gone).await?
        };
        progress.deleted += deleted;
        if deleted + inserted > 0 {
            tx.link_replacements(connection, account.id, pull, now, now)
                .await?;
        }
        Ok(())
    }
}
