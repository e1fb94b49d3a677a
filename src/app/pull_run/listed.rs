//! What a listing brought, and what follows from what it did not bring.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use super::attempt::Reading;
use crate::domain::{
    pull::{Progress, Step},
    source::SourceReport,
    transaction::Quarantined,
};

/// Everything that one listing brought.
pub(super) struct Listed {
    pub(super) seen: HashSet<String>,
    pub(super) changed: u64,
    /// How many of them are new.
    pub(super) inserted: u64,
    /// Whether it was read in one go, each row with a name, and, if it holds every row of its days, no rows
    /// moved between its pages meanwhile. Of one that an earlier attempt began, what the first pages held
    /// is not known any more, so that nothing is missing from it; the next listing that is whole tells.
    pub(super) whole: bool,
    /// What betrays that rows moved between its pages: the vendor counts other rows than came, or other ones
    /// from page to page. `None` if nothing does.
    pub(super) drift: Option<Drift>,
    /// Whether reading it anew was of no use, since the rows moved each time.
    pub(super) is_unsettled: bool,
    /// When it was begun: what the vendor took in later is not in it for sure.
    pub(super) began: DateTime<Utc>,
    /// Whether it holds every row of the account that we have.
    pub(super) lacks_nothing: bool,
    /// Pages in which nothing changed, and which nobody was told of yet.
    pub(super) untold: Progress,
}

/// What did not agree in a listing.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Drift {
    /// Whether the vendor counted other rows from page to page.
    pub(super) moved: bool,
    /// How many rows the vendor said there are.
    pub(super) total: Option<u64>,
    /// How many came.
    pub(super) came: u64,
    /// How many different ones.
    pub(super) different: u64,
}

impl Drift {
    pub(super) fn is_betrayed(&self) -> bool {
        self.moved || self.came != self.different || self.total.is_some_and(|all| all != self.came)
    }

    /// Whether the vendor just counts in its own way: that is the same each time.
    pub(super) fn is_a_habit(&self, before: Option<&Self>) -> bool {
        !self.moved && before == Some(self)
    }
}

impl Listed {
    /// Takes in what an earlier reading of the same listing has done.
    pub(super) fn go_on_from(&mut self, earlier: &Self) {
        self.changed += earlier.changed;
        self.inserted += earlier.inserted;
        self.untold.pages += earlier.untold.pages;
        self.untold.seen += earlier.untold.seen;
        self.untold.unchanged += earlier.untold.unchanged;
        self.untold.quarantined += earlier.untold.quarantined;
    }

    pub(super) fn note_quarantined(&mut self, rows: &[Quarantined]) {
        for row in rows {
            match &row.vendor_id {
                // A row that could not be read is there all the same.
                Some(id) => drop(self.seen.insert(id.clone())),
                // One without a name may be any of ours.
                None => self.whole = false,
            }
        }
    }

    /// Whether what is said to be gone and did not come is: as long as the source can be read at all, and
    /// what was asked for would show it.
    pub(super) fn judges(&self, step: &Step, reading: &Reading<'_>, report: &SourceReport) -> bool {
        let would_show = matches!(step, Step::Named { .. }) || self.shows_something(reading);
        self.whole && would_show && report.state.is_usable()
    }

    /// Whether what nobody speaks of and did not come is missing: only if the listing is up to date.
    pub(super) fn proves_absence(&self, reading: &Reading<'_>, report: &SourceReport) -> bool {
        self.whole && reading.is_current(report)
    }

    /// What an account that is not listed shows of itself may be nothing although it has something.
    pub(super) fn shows_something(&self, reading: &Reading<'_>) -> bool {
        reading.is_listed || !self.seen.is_empty()
    }
}
