//! What events say may have changed, together.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};

use super::Step;
use crate::domain::{event::Hint, vendor::Vendor};

/// How many rows are read one by one before a window is cheaper, for a vendor that can only give
/// them so.
pub(super) const FEW: usize = 20;
/// How many rows are asked for by name before a window is cheaper.
pub(super) const MANY: usize = 2_000;

pub(super) fn most_by_name(vendor: Vendor) -> usize {
    match vendor {
        Vendor::Pluggy => MANY,
        Vendor::Belvo => FEW,
    }
}

/// How many rows are read by name before it is noted how far that came: what one call brings, or a few
/// calls where each brings one row.
fn named_at_once(vendor: Vendor) -> usize {
    match vendor {
        Vendor::Pluggy => 200,
        Vendor::Belvo => 5,
    }
}

/// When the first attempt began that knew of something told and did not come to its end; `None` for
/// what no earlier attempt knew of. What was read since then need not be read again for it.
pub type Heard = Option<DateTime<Utc>>;

/// What was told twice was heard of when it was last told.
fn heard_last(one: Heard, other: Heard) -> Heard {
    one.zip(other).map(|(one, other)| one.max(other))
}

/// Whether a listing that was begun at `read_at` knew of what was heard of.
fn is_served(heard: Heard, read_at: Option<DateTime<Utc>>) -> bool {
    heard
        .zip(read_at)
        .is_some_and(|(heard, read_at)| heard <= read_at)
}

/// New rows, as events tell of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Created {
    /// When the vendor took the first of them in, if that was told.
    pub since: Option<DateTime<Utc>>,
    /// When they were heard of.
    pub heard: Heard,
}

/// How far rows were read by name. They are read in the order in which attempts heard of them, so that
/// what is told meanwhile comes after the place.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct NamedPlace {
    /// When the last one was heard of.
    pub at: DateTime<Utc>,
    /// Its name; of those heard of at the same instant the ones after it were not read.
    pub to: String,
}

/// Rows by name, and when each was heard of.
pub type Names = BTreeMap<String, Heard>;

/// What several events together say may have changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Hints {
    /// Everything was loaded anew.
    pub full: bool,
    /// Rows of the recent past changed.
    pub window: bool,
    /// There are new rows. By account; `None` for any.
    pub created: BTreeMap<Option<String>, Created>,
    /// These rows changed or are gone. By account; `None` for any.
    pub named: BTreeMap<Option<String>, Names>,
    /// These of them are said to be gone. By account; `None` for any.
    pub deleted: BTreeMap<Option<String>, BTreeSet<String>>,
    /// When rows were last named, as far as it is known.
    pub named_at: Option<DateTime<Utc>>,
}

impl Hints {
    /// Takes in what one more event says.
    pub fn merge(&mut self, hint: Hint, heard: Heard) {
        match hint {
            Hint::Nothing | Hint::Source => {}
            Hint::Created { account, since } => self.add_created(account, Created { since, heard }),
            Hint::Updated { account, ids } => self.add_named(account, ids, heard),
            Hint::Deleted { account, ids } => {
                let deleted = self.deleted.entry(account.clone()).or_default();
                deleted.extend(ids.iter().cloned());
                self.add_named(account, ids, heard);
            }
            Hint::Window => self.window = true,
            Hint::Full => self.full = true,
        }
    }

    fn add_created(&mut self, account: Option<String>, told: Created) {
        self.created
            .entry(account)
            .and_modify(|known| {
                // What was not told begins at the watermark, where every listing begins anyway.
                known.since = known.since.into_iter().chain(told.since).min();
                known.heard = heard_last(known.heard, told.heard);
            })
            .or_insert(told);
    }

    fn add_named(&mut self, account: Option<String>, ids: Vec<String>, heard: Heard) {
        let named = self.named.entry(account).or_default();
        for id in ids {
            named
                .entry(id)
                .and_modify(|known| *known = heard_last(*known, heard))
                .or_insert(heard);
        }
    }

    /// Whether an event asks for what `step` reads of `account`: then what it finds was announced.
    /// Of a listing that also serves another purpose no row tells which of the two it is there for, so
    /// all of it counts as announced.
    #[must_use]
    pub fn announce(&self, vendor: Vendor, account: &str, step: &Step) -> bool {
        let new = || {
            let told = [None, Some(account.to_owned())];
            told.iter().any(|key| self.created.contains_key(key))
        };
        match step {
            Step::Named { .. } => true,
            Step::CreatedSince(_) => new(),
            Step::Window { .. } | Step::Full => {
                self.full
                    || self.window
                    || vendor == Vendor::Belvo && new()
                    || self.named_in(account).len() > most_by_name(vendor)
            }
        }
    }

    /// Since when new rows of `account` are to be read, if an event told of any that no listing which was
    /// begun at `read_at` was to bring.
    pub(super) fn created_since(
        &self,
        account: &str,
        overlapped: DateTime<Utc>,
        read_at: Option<DateTime<Utc>>,
    ) -> Option<DateTime<Utc>> {
        let told = [None, Some(account.to_owned())];
        told.iter()
            .filter_map(|key| self.created.get(key))
            .filter(|told| !is_served(told.heard, read_at))
            .map(|told| told.since.map_or(overlapped, |since| since.min(overlapped)))
            .min()
    }

    /// Which rows events name, each with when it was last heard of, in `account` or without one.
    fn named_in(&self, account: &str) -> Names {
        let told = [None, Some(account.to_owned())];
        let mut names = Names::new();
        for (name, heard) in told.iter().filter_map(|key| self.named.get(key)).flatten() {
            names
                .entry(name.clone())
                .and_modify(|known| *known = heard_last(*known, *heard))
                .or_insert(*heard);
        }
        names
    }

    /// Which of them no attempt has read by name.
    pub(super) fn unread_in(&self, account: &str, place: Option<&NamedPlace>) -> Names {
        let mut names = self.named_in(account);
        names.retain(|name, heard| !was_read(name, *heard, place));
        names
    }

    /// Which rows of `account`, or of any, are said to be gone, where too many are named to read them so: a
    /// listing of everything is asked for them instead.
    #[must_use]
    pub fn deleted_unread(
        &self,
        vendor: Vendor,
        account: &str,
        place: Option<&NamedPlace>,
    ) -> Names {
        let mut names = self.unread_in(account, place);
        if names.len() <= most_by_name(vendor) {
            return Names::new();
        }
        let deleted = self.deleted_in(account);
        names.retain(|name, _| deleted.contains(name));
        names
    }

    /// Which rows are to be read by name once for the whole connection: events named them without
    /// their account, and the vendor finds them without it.
    pub(super) fn named_anywhere(&self, vendor: Vendor) -> Option<&Names> {
        self.named
            .get(&None)
            .filter(|names| vendor == Vendor::Belvo && names.len() <= most_by_name(vendor))
    }

    /// What reads those of them that are behind `place`, in an attempt that begins `now`.
    #[must_use]
    pub fn steps_anywhere(
        &self,
        vendor: Vendor,
        place: Option<&NamedPlace>,
        now: DateTime<Utc>,
    ) -> Vec<Step> {
        let mut names = self.named_anywhere(vendor).cloned().unwrap_or_default();
        names.retain(|name, heard| !was_read(name, *heard, place));
        in_parts(names, vendor, now)
    }

    /// Which of the rows that were named without their account are said to be gone.
    #[must_use]
    pub fn deleted_anywhere(&self) -> BTreeSet<String> {
        self.deleted.get(&None).cloned().unwrap_or_default()
    }

    /// Which rows of `account` are said to be gone.
    #[must_use]
    pub fn deleted_in(&self, account: &str) -> BTreeSet<String> {
        let told = [None, Some(account.to_owned())];
        let sets = told.iter().filter_map(|key| self.deleted.get(key));
        sets.flatten().cloned().collect()
    }
}

/// Whether a row was read by its name after it was heard of.
fn was_read(name: &str, heard: Heard, place: Option<&NamedPlace>) -> bool {
    heard
        .zip(place)
        .is_some_and(|(heard, place)| (heard, name) <= (place.at, place.to.as_str()))
}

/// What reads these rows in an attempt that begins `now`, some at a time.
#[must_use]
pub fn in_parts(names: Names, vendor: Vendor, now: DateTime<Utc>) -> Vec<Step> {
    let mut places: Vec<NamedPlace> = names
        .into_iter()
        .map(|(to, heard)| NamedPlace {
            at: heard.unwrap_or(now),
            to,
        })
        .collect();
    places.sort_unstable();
    let part = |part: &[NamedPlace]| {
        Some(Step::Named {
            ids: part.iter().map(|one| one.to.clone()).collect(),
            place: part.last()?.clone(),
        })
    };
    places
        .chunks(named_at_once(vendor))
        .filter_map(part)
        .collect()
}
