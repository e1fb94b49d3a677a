//! Accounts of what a connection read before it was led to another item or link.

use chrono::TimeDelta;

use super::{Stop, attempt::Attempt};
use crate::{
    domain::{account::Account, ids::AccountId, pull::Progress},
    storage::{StoredAccount, SupersededAccount},
};

/// How many rows are removed in one transaction.
const AT_ONCE: i64 = 500;
/// How many rows are linked in one transaction.
const LINKED_AT_ONCE: usize = 500;
/// How long the new place may take to load something once it lists its accounts. One that is current and has
/// nothing by then has nothing.
const LOADED_WITHIN: TimeDelta = TimeDelta::days(7);

impl Attempt<'_> {
    /// Removes the rows of accounts that the connection no longer leads to, once every account that it does
    /// lead to was read whole since. Where the bank's own identifier says that one took the place of
    /// another, its rows are linked to those that they replace.
    pub(super) async fn retire(
        &self,
        superseded: &[SupersededAccount],
        listed: &[StoredAccount],
        read: &[Account],
    ) -> Result<(), Stop> {
        let mut left: Vec<&SupersededAccount> =
            superseded.iter().filter(|one| !one.is_retired).collect();
        if left.is_empty() {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let read_whole = tx.read_whole_since(self.claimed.connection, listed).await?;
        drop(tx);
        // What moved each time it was read is in neither place perhaps. Its cursor stays days behind, so the old
        // rows stay until a look that is whole; if none is for a week, daily looks have brought what there is.
        left.retain(|old| read_whole.is_some_and(|at| at >= old.superseded_at));
        // Data that is not current may be of a place that the vendor has only begun to read.
        if left.is_empty() || !self.look_at_source().await?.transactions_current {
            return Ok(());
        }
        for old in left {
            let successor = successor(old, superseded, listed, read);
            if self.is_loaded(old, successor, listed).await? {
                self.retire_one(old, successor).await?;
            }
        }
        Ok(())
    }

    /// Whether anything came of the account that took the place, or of any if it is not known which one
    /// did. Nothing at all is, for a while, more likely a vendor that has not loaded it yet.
    async fn is_loaded(
        &self,
        old: &SupersededAccount,
        successor: Option<AccountId>,
        listed: &[StoredAccount],
    ) -> Result<bool, Stop> {
        let mut tx = self.begin().await?;
        let mut listed_since = None;
        for account in listed {
            if successor.is_some_and(|one| one != account.id) {
                continue;
            }
            if tx.has_rows(account.id).await? {
                return Ok(true);
            }
            // One may have been known before the connection was led there.
            let at = account.first_seen_at.max(old.superseded_at);
            listed_since = listed_since.max(Some(at));
        }
        Ok(listed_since.is_some_and(|at| self.began - at > LOADED_WITHIN))
    }

    async fn retire_one(
        &self,
        old: &SupersededAccount,
        successor: Option<AccountId>,
    ) -> Result<(), Stop> {
        let (connection, pull) = (self.claimed.connection, self.claimed.lease.pull);
        let now = || self.app.0.parts.clock.now();
        let mut place = None;
        loop {
            let mut tx = self.begin().await?;
            let (deleted, next) = tx
                .tombstone_some_of_account(old.id, place, AT_ONCE, pull, now())
                .await?;
            let progress = Progress {
                deleted,
                ..Progress::default()
            };
            self.app
                .advance_in(&mut tx, &self.claimed, &progress)
                .await?;
            tx.commit().await?;
            if next.is_none() {
                break;
            }
            place = next;
        }
        if let Some(successor) = successor {
            let mut tx = self.begin().await?;
            let left_at = Some(old.superseded_at);
            let pairs = tx
                .replacements(connection, old.id, successor, left_at, now())
                .await?;
            drop(tx);
            for some in pairs.chunks(LINKED_AT_ONCE) {
                let mut tx = self.begin().await?;
                // Their versions name this pull.
                let progress = Progress {
                    updated: tx.link(some, pull, now()).await?,
                    ..Progress::default()
                };
                self.app
                    .advance_in(&mut tx, &self.claimed, &progress)
                    .await?;
                tx.commit().await?;
            }
        }
        // Last of all: an attempt that ends before does the rest again.
        let mut tx = self.begin().await?;
        self.app
            .advance_in(&mut tx, &self.claimed, &Progress::default())
            .await?;
        tx.retire_account(connection, old.id, now()).await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %self.claimed.tenant,
            connection.id = %self.claimed.connection,
            account.id = %old.id,
            successor.id = successor.map(tracing::field::display),
            "the rows of an account that the connection no longer leads to were removed"
        );
        Ok(())
    }
}

/// The listed account that the bank knows by the same identifier, if just one was and just one is.
fn successor(
    old: &SupersededAccount,
    superseded: &[SupersededAccount],
    listed: &[StoredAccount],
    read: &[Account],
) -> Option<AccountId> {
    let name = old.bank_id.as_deref()?;
    let was = superseded
        .iter()
        .filter(|one| !one.is_retired && one.bank_id.as_deref() == Some(name));
    let mut is = read
        .iter()
        .filter(|one| one.bank_id.as_deref() == Some(name));
    let (found, None) = (is.next()?, is.next()) else {
        return None;
    };
    let account = listed.iter().find(|one| one.vendor_id == found.vendor_id)?;
    (was.count() == 1).then_some(account.id)
}
