//! Rows that a listing did not bring.

use chrono::Days;

use super::{Stop, attempt::Attempt, listed::Listed};
use crate::{
    domain::{pull::Step, source::SourceReport},
    storage::{Absence, Gone, StoredAccount, TenantTx},
};

/// How far back every vendor keeps what it has.
const KEPT_DAYS: u64 = 350;

impl Attempt<'_> {
    /// Whether there is anything that did not come although it might have.
    pub(super) async fn lacks_rows(
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
    pub(super) async fn settle_absence(
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
    pub(super) fn note_unjudged(
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
