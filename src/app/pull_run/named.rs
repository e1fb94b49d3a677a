//! Rows that events name without their account.

use super::{Stop, attempt::Attempt, attempt::as_count};
use crate::{
    domain::{pull::Progress, source::SourceReport, transaction::Transaction},
    storage::{Gone, PageWrite, StoredAccount, TenantTx},
    vendors::{AccountToRead, Read},
};

impl Attempt<'_> {
    /// Reads the rows that events named without their account: each once, however many accounts there
    /// are. They are few, so they are one transaction.
    pub(super) async fn read_named_anywhere(
        &self,
        accounts: &[StoredAccount],
        report: &SourceReport,
    ) -> Result<(), Stop> {
        let names = self.hints.named_anywhere(self.connection.vendor);
        let (false, Some(any)) = (names.is_empty(), accounts.first()) else {
            return Ok(());
        };
        let asked = AccountToRead {
            vendor_id: &any.vendor_id,
            account_type: any.account_type,
        };
        let read = Read::Ids(names);
        let (mut rows, mut quarantined) = (Vec::new(), Vec::new());
        let mut mark = None;
        loop {
            if self.stopping.is_cancelled() {
                return Err(Stop::Stopping);
            }
            let page = self
                .aggregator
                .transactions(&self.access, asked, &read, mark.as_ref())
                .await?;
            rows.extend(page.converted.rows);
            quarantined.extend(page.converted.quarantined);
            match page.next {
                Some(next) => mark = Some(next),
                None => break,
            }
        }
        // One that could not be read is there all the same.
        let mut gone = self.hints.deleted_anywhere();
        for row in &rows {
            gone.remove(&row.vendor_id);
        }
        for row in quarantined.iter().filter_map(|row| row.vendor_id.as_ref()) {
            gone.remove(row);
        }
        let mut may_delete =
            report.state.is_usable() && quarantined.iter().all(|row| row.vendor_id.is_some());
        if may_delete && !gone.is_empty() {
            // When a consent goes while they are read, none of them is found.
            may_delete = self.look_at_source().await?.state.is_usable();
        }
        let gone: Vec<String> = gone.into_iter().filter(|_| may_delete).collect();
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
        // What is left is of accounts that we do not know.
        progress.quarantined += as_count(rows.len());
        self.app
            .advance_in(&mut tx, &self.claimed, &progress)
            .await?;
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
        if deleted > 0 || !rows.is_empty() {
            tx.link_replacements(connection, account.id, pull, now)
                .await?;
        }
        Ok(())
    }
}
