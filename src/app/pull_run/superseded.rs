//! Accounts of what a connection read before it was led to another item or link.

use super::{Stop, attempt::Attempt};
use crate::{
    domain::{account::Account, ids::AccountId, pull::Progress},
    storage::{StoredAccount, SupersededAccount},
};

/// How many rows are removed in one transaction.
const AT_ONCE: i64 = 500;

impl Attempt<'_> {
    /// Removes the rows of accounts that the connection no longer leads to, now that every account that it
    /// does lead to was read to its end. Where the bank's own identifier says that one took the place of
    /// another, its rows are linked to those that they replace.
    pub(super) async fn retire(
        &self,
        superseded: &[SupersededAccount],
        listed: &[StoredAccount],
        read: &[Account],
    ) -> Result<(), Stop> {
        let left: Vec<&SupersededAccount> =
            superseded.iter().filter(|one| !one.is_retired).collect();
        // Data that is not current may be of a place that the vendor has only begun to read.
        if left.is_empty() || !self.look_at_source().await?.transactions_current {
            return Ok(());
        }
        for old in left {
            let successor = successor(old, superseded, listed, read);
            if self.is_there(successor, listed).await? {
                self.retire_one(old.id, successor).await?;
            }
        }
        Ok(())
    }

    /// Whether anything came of the account that took the place, or of any if it is not known which one
    /// did. Nothing at all is more likely a vendor that has not loaded it yet.
    async fn is_there(
        &self,
        successor: Option<AccountId>,
        listed: &[StoredAccount],
    ) -> Result<bool, Stop> {
        let mut tx = self.begin().await?;
        for account in listed {
            let counts = successor.is_none_or(|one| one == account.id);
            if counts && tx.has_rows(account.id).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn retire_one(&self, old: AccountId, successor: Option<AccountId>) -> Result<(), Stop> {
        let pull = self.claimed.lease.pull;
        loop {
            let now = self.app.0.parts.clock.now();
            let mut tx = self.begin().await?;
            let deleted = tx
                .tombstone_some_of_account(old, AT_ONCE, pull, now)
                .await?;
            let mut progress = Progress {
                deleted,
                ..Progress::default()
            };
            if deleted == 0 {
                if let Some(successor) = successor {
                    let connection = self.claimed.connection;
                    let linked = tx
                        .link_replacements(connection, old, successor, pull, now)
                        .await?;
                    progress.updated = linked;
                }
                tx.retire_account(self.claimed.connection, old, now).await?;
            }
            self.app
                .advance_in(&mut tx, &self.claimed, &progress)
                .await?;
            tx.commit().await?;
            if deleted == 0 {
                break;
            }
        }
        tracing::info!(
            tenant.id = %self.claimed.tenant,
            connection.id = %self.claimed.connection,
            account.id = %old,
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
