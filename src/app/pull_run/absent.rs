//! Rows that a listing did not bring.

use std::collections::HashSet;

use chrono::Days;

use super::{
    Stop,
    attempt::{Attempt, Reading},
    listed::Listed,
};
use crate::{
    domain::{
        pull::{self, Cursor, Step},
        source::SourceReport,
    },
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
        let Some(absence) = self.absence(account, step, listed) else {
            return Ok(false);
        };
        let mut tx = self.begin().await?;
        Ok(tx.lacks_rows(&absence).await?)
    }

    /// Notes what is missing from a complete listing; what was missing from the one before, too, is gone.
    pub(super) async fn settle_absence(
        &self,
        tx: &mut TenantTx,
        account: &StoredAccount,
        step: &Step,
        listed: &Listed,
    ) -> Result<u64, Stop> {
        match self.absence(account, step, listed) {
            Some(absence) => Ok(tx.note_absent(&absence).await?.deleted),
            None => Ok(0),
        }
    }

    /// Which rows are said to be gone and did not come, although they were asked for: by name, or with
    /// everything where they were too many for that. A row that changed may be slow to come; only one that
    /// is said to be gone is.
    pub(super) async fn said_and_absent(
        &self,
        reading: &Reading<'_>,
        step: &Step,
        listed: &Listed,
    ) -> Result<Vec<String>, Stop> {
        let account = reading.account;
        match step {
            Step::CreatedSince(_) | Step::Window { .. } => Ok(Vec::new()),
            Step::Named { ids, .. } => {
                let said = self.hints.deleted_in(&account.vendor_id);
                let absent = |id: &&String| said.contains(*id) && !listed.seen.contains(*id);
                Ok(ids.iter().filter(absent).cloned().collect())
            }
            Step::Full => {
                let said = reading.deleted_unread.keys();
                let absent: Vec<String> = said
                    .filter(|id| !listed.seen.contains(*id))
                    .cloned()
                    .collect();
                if absent.is_empty() {
                    return Ok(absent);
                }
                // They may be of any account.
                let mut tx = self.begin().await?;
                Ok(tx
                    .living_among(self.claimed.connection, account.id, &absent)
                    .await?)
            }
        }
    }

    /// Deletes what is said to be gone, now that it is known to be.
    pub(super) async fn settle_said(
        &self,
        tx: &mut TenantTx,
        account: &StoredAccount,
        said: &[String],
    ) -> Result<u64, Stop> {
        let gone = Gone {
            connection: self.claimed.connection,
            account: account.id,
            vendor_ids: said,
            pull: self.claimed.lease.pull,
            now: self.app.0.parts.clock.now(),
        };
        Ok(tx.tombstone(&gone).await?)
    }

    /// Looks after what is said to be gone where a listing can't tell. As long as the source can be read, it
    /// is asked for by name, unless that is what was done already: then nobody can tell.
    pub(super) async fn leave_said(
        &self,
        reading: Reading<'_>,
        cursor: Cursor,
        step: &Step,
        said: &[String],
        report: &SourceReport,
    ) -> Result<(), Stop> {
        if !report.state.is_usable() {
            self.leave_unjudged(report);
        } else if matches!(step, Step::Named { .. }) {
            self.leave_to_nameless();
        } else {
            let said: HashSet<&String> = said.iter().collect();
            let mut names = reading.deleted_unread.clone();
            names.retain(|name, _| said.contains(name));
            for step in pull::in_parts(names, self.connection.vendor, self.began) {
                Box::pin(self.read_step(reading, cursor, &step, None)).await?;
            }
        }
        Ok(())
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
