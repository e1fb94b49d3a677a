//! Pulls: bringing our rows to what the vendor has.

mod hints;

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use self::hints::most_by_name;
pub use self::hints::{Created, Heard, Hints, NamedPlace, Names, in_parts};
use super::{
    ids::{ConnectionId, PullId},
    vendor::Vendor,
    words::{UnknownWord, words},
};

words!(
    /// Where a pull is in its life.
    PullState, UnknownWord {
        /// Waits for a worker.
        Queued = "queued",
        /// A worker is at it.
        Running = "running",
        /// Failed, and waits for its next attempt.
        Retrying = "retrying",
        /// Came to its end.
        Succeeded = "succeeded",
        /// Failed for good; can be retried by hand.
        Failed = "failed",
        /// Was called off.
        Cancelled = "cancelled",
    }
);

words!(
    /// What asked for a pull first.
    PullReason, UnknownWord {
        /// The connection is new, or its credential is.
        Initial = "initial",
        /// A webhook.
        Webhook = "webhook",
        /// An operator.
        Manual = "manual",
        /// The time had come.
        Sweep = "sweep",
        /// An operator, for a window of days.
        Backfill = "backfill",
    }
);

impl PullReason {
    /// The lower, the sooner among those that are due: what somebody waits for goes first.
    #[must_use]
    pub fn priority(self) -> i16 {
        match self {
            Self::Manual => 10,
            Self::Initial => 20,
            Self::Webhook => 30,
            Self::Sweep => 40,
            Self::Backfill => 50,
        }
    }
}

/// How much a pull is asked for, beyond what the events name.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Demand {
    /// Nothing else.
    Named,
    /// What is new, and the recent past.
    Recent,
    /// Everything that the vendor keeps.
    Everything,
}

impl Demand {
    /// The number in the database.
    #[must_use]
    pub fn number(self) -> i16 {
        match self {
            Self::Named => 0,
            Self::Recent => 1,
            Self::Everything => 2,
        }
    }

    /// Reads the number in the database.
    #[must_use]
    pub fn of_number(number: i16) -> Self {
        match number {
            2.. => Self::Everything,
            1 => Self::Recent,
            _ => Self::Named,
        }
    }
}

impl PullReason {
    /// How much a pull for this reason asks for.
    #[must_use]
    pub fn demand(self) -> Demand {
        match self {
            Self::Initial => Demand::Everything,
            Self::Manual | Self::Sweep => Demand::Recent,
            Self::Webhook | Self::Backfill => Demand::Named,
        }
    }
}

/// How far a pull has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Progress {
    /// Accounts that were read.
    pub accounts: u32,
    /// Pages that were written.
    pub pages: u64,
    /// Rows that the vendor sent.
    pub seen: u64,
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that had changed.
    pub updated: u64,
    /// Rows that were known already.
    pub unchanged: u64,
    /// Rows that were gone.
    pub deleted: u64,
    /// Rows that could not be read.
    pub quarantined: u64,
    /// Changes that no webhook had announced.
    pub missed: u64,
    /// Listings in which rows moved each time they were read.
    pub unsettled: u64,
}

/// Why an attempt failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PullFailure {
    /// A stable word.
    pub class: String,
    /// The same in words; never with data of the vendor.
    pub message: String,
}

/// A pull, as an operator sees it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pull {
    /// Its identifier.
    pub id: PullId,
    /// What is pulled.
    pub connection: ConnectionId,
    /// Where it is in its life.
    pub state: PullState,
    /// What asked for it first.
    pub reason: PullReason,
    /// The days that were asked for.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// How often it was begun.
    pub attempts: u32,
    /// When it is tried next, while it waits.
    pub next_attempt_at: Option<DateTime<Utc>>,
    /// How far it has come.
    pub progress: Progress,
    /// Why its last attempt failed.
    pub failure: Option<PullFailure>,
    /// When it was asked for.
    pub created_at: DateTime<Utc>,
    /// When it was first begun.
    pub started_at: Option<DateTime<Utc>>,
    /// When it came to its end.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The recent past, in which banks still change their minds.
pub const WINDOW_DAYS: u64 = 10;
/// How often the recent past is read.
const DAILY: TimeDelta = TimeDelta::days(1);
/// How often everything is read.
const WEEKLY: TimeDelta = TimeDelta::days(7);
/// How far a listing by intake time goes back behind the last one: the vendor's clock and ours, and
/// rows that became visible late.
const OVERLAP: TimeDelta = TimeDelta::minutes(30);
/// How far an account was read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Cursor {
    /// Everything that the vendor took in before this instant was read.
    pub watermark: Option<DateTime<Utc>>,
    /// When the recent past was last read as a whole.
    pub window_at: Option<DateTime<Utc>>,
    /// When everything was last read.
    pub full_at: Option<DateTime<Utc>>,
    /// The days that were last read because they were asked for.
    pub backfill: Option<Backfill>,
}

/// Days that were asked for and read, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Backfill {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// When.
    pub at: DateTime<Utc>,
}

impl Cursor {
    /// Where it stands after `step` was read to its end, which was begun at `began`: never further back, since
    /// a listing in parts may have been begun before others that came to their end meanwhile.
    #[must_use]
    pub fn after(mut self, step: &Step, began: DateTime<Utc>) -> Self {
        match *step {
            Step::Named { .. } => {}
            Step::CreatedSince(_) => self.watermark = self.watermark.max(Some(began)),
            Step::Window { from, to } => {
                if covers_recent_past(from, to, began) {
                    self.window_at = self.window_at.max(Some(began));
                }
                if (from, to) != recent_past(began) {
                    let at = began;
                    self.backfill = Some(Backfill { from, to, at });
                }
            }
            Step::Full => {
                self.watermark = self.watermark.max(Some(began));
                self.window_at = self.window_at.max(Some(began));
                self.full_at = self.full_at.max(Some(began));
            }
        }
        self
    }

    /// Where it stands after `step`, which was begun at `began`, was read as often as it is and its rows
    /// moved each time. All but the few that moved were read, so not each pull reads it again; but whatever
    /// asked for it asked in vain, so the calendar does before its time, however lately it was read before.
    #[must_use]
    pub fn after_unsettled(mut self, step: &Step, began: DateTime<Utc>) -> Self {
        match *step {
            Step::Full => {
                self.watermark = self.watermark.max(Some(began));
                self.window_at = Some(began - DAILY / 2);
                self.full_at = Some(began - WEEKLY + DAILY);
            }
            Step::Window { from, to } if covers_recent_past(from, to, began) => {
                self.window_at = Some(began - DAILY / 2);
            }
            Step::CreatedSince(_) | Step::Named { .. } | Step::Window { .. } => {}
        }
        self
    }
}

/// The days in which banks still change their minds.
fn recent_past(now: DateTime<Utc>) -> (NaiveDate, NaiveDate) {
    // A row of tomorrow by our clock is a row of today somewhere.
    let to = now.date_naive() + Days::new(1);
    (now.date_naive() - Days::new(WINDOW_DAYS), to)
}

fn covers_recent_past(from: NaiveDate, to: NaiveDate, now: DateTime<Utc>) -> bool {
    let (first, last) = recent_past(now);
    from <= first && last <= to
}

/// A listing that was begun and not read to its end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unfinished {
    /// Which one.
    pub step: Step,
    /// Where its next page begins, in the vendor's words.
    pub mark: String,
    /// How many rows the vendor said there are in all, if it did.
    pub total: Option<u64>,
    /// When it was begun: what the vendor took in later is not in it for sure.
    pub began: DateTime<Utc>,
    /// When it had come to this place.
    pub noted_at: DateTime<Utc>,
}

/// How long the place in a listing is good.
const MARK_LASTS: TimeDelta = TimeDelta::days(1);

impl Unfinished {
    /// Whether it may still be gone on with.
    #[must_use]
    pub fn is_good(&self, now: DateTime<Utc>) -> bool {
        now - self.noted_at < MARK_LASTS
    }
}

/// One listing to read of an account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// What the vendor took in since then.
    CreatedSince(DateTime<Utc>),
    /// These rows; those that are said to be gone, and do not come, are.
    Named {
        /// Their names.
        ids: Vec<String>,
        /// How far that leads.
        place: NamedPlace,
    },
    /// These days, both included.
    Window {
        /// The first day.
        from: NaiveDate,
        /// The last day.
        to: NaiveDate,
    },
    /// Everything that the vendor keeps.
    Full,
}

impl Step {
    /// The text that the place in a listing is kept under. Only listings that may be long have one;
    /// the others are begun anew.
    #[must_use]
    pub fn lasting(&self) -> Option<String> {
        match self {
            Self::Window { from, to } => Some(format!("{from} {to}")),
            Self::Full => Some("full".to_owned()),
            Self::CreatedSince(_) | Self::Named { .. } => None,
        }
    }

    /// Reads that text.
    #[must_use]
    pub fn of_lasting(text: &str) -> Option<Self> {
        if text == "full" {
            return Some(Self::Full);
        }
        let (from, to) = text.split_once(' ')?;
        let (from, to) = (from.parse().ok()?, to.parse().ok()?);
        Some(Self::Window { from, to })
    }

    /// Whether the listing holds every row there is of its days, so that absence means something.
    #[must_use]
    pub fn is_exhaustive(&self) -> bool {
        matches!(self, Self::Window { .. } | Self::Full)
    }
}

/// What a plan is made from.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// Whose account it is.
    pub vendor: Vendor,
    /// The connection; spreads what is done by the calendar.
    pub connection: ConnectionId,
    /// How much is asked for.
    pub demand: Demand,
    /// When more than single rows was last asked for: what an earlier attempt has read since is not
    /// read again.
    pub asked_at: DateTime<Utc>,
    /// The days that were asked for.
    pub backfill: Option<(NaiveDate, NaiveDate)>,
    /// What the events say.
    pub hints: &'a Hints,
    /// The account, by the vendor's name.
    pub account: &'a str,
    /// How far it was read.
    pub cursor: Cursor,
    /// How far it was read by name.
    pub named: Option<&'a NamedPlace>,
    /// The time.
    pub now: DateTime<Utc>,
}

/// What to read of an account, in order. What is wider comes last, so that what is new is there
/// soon.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> Vec<Step> {
    let PlanInput {
        hints,
        cursor,
        now,
        demand,
        asked_at,
        ..
    } = *input;
    let (named, too_many) = by_name(input);
    let Some(watermark) = cursor.watermark else {
        // A first attempt that was cut short may have stored what has changed or gone since.
        return named.into_iter().chain([Step::Full]).collect();
    };
    let overlapped = watermark - OVERLAP;
    let done = |at: Option<DateTime<Utc>>| at.is_some_and(|at| at >= asked_at);
    let looks_around = demand >= Demand::Recent;
    // What takes long is left to the daily look, or every webhook would wait for it.
    let mut full = hints.full && !done(cursor.full_at)
        || demand == Demand::Everything && !done(cursor.full_at)
        || looks_around && is_over(cursor.full_at, WEEKLY, input);
    let mut window = hints.window && !done(cursor.window_at)
        || looks_around && !done(cursor.window_at)
        || is_over(cursor.window_at, DAILY, input);
    let mut steps = Vec::new();

    let created = |read_at| hints.created_since(input.account, overlapped, read_at);
    let looks = looks_around && !done(cursor.watermark);
    if let Some(since) = created(cursor.watermark).or(looks.then_some(overlapped)) {
        steps.push(Step::CreatedSince(since));
    }
    // What Belvo finds by that filter is not promised.
    window |= input.vendor == Vendor::Belvo && created(cursor.window_at).is_some();
    // They may be of any day. What was read whole since they were named, and asked for, is read with
    // them, or a pull that takes several attempts would begin again after each.
    let read = cursor.full_at.zip(hints.named_at);
    let read = read.is_some_and(|(full_at, named_at)| full_at >= named_at.max(asked_at));
    full |= too_many && !read;
    steps.extend(named);
    let backfilled = |from, to| {
        let covers = |one: Backfill| one.from <= from && to <= one.to && done(Some(one.at));
        cursor.backfill.is_some_and(covers)
    };
    if let Some((from, to)) = input.backfill
        && !backfilled(from, to)
    {
        steps.push(Step::Window { from, to });
    }
    if full {
        steps.push(Step::Full);
    } else if window {
        let (from, to) = recent_past(now);
        steps.push(Step::Window { from, to });
    }
    steps
}

/// What reads the rows of the account that events name, and whether they are too many for that.
fn by_name(input: &PlanInput<'_>) -> (Vec<Step>, bool) {
    let mut named = input.hints.unread_in(input.account, input.named);
    if named.len() > most_by_name(input.vendor) {
        return (Vec::new(), true);
    }
    for name in input
        .hints
        .named_anywhere(input.vendor)
        .into_iter()
        .flatten()
    {
        named.remove(name.0);
    }
    (in_parts(named, input.vendor, input.now), false)
}

/// Whether it is time again. Each connection has its own moment within the last tenth of the
/// interval, so that they do not all come at once.
fn is_over(last: Option<DateTime<Utc>>, every: TimeDelta, input: &PlanInput<'_>) -> bool {
    last.is_none_or(|last| input.now >= last + every - jitter(input.connection, every))
}

/// A stretch of time up to a tenth of `every`, always the same for a connection.
#[must_use]
pub fn jitter(connection: ConnectionId, every: TimeDelta) -> TimeDelta {
    let share = i64::try_from(connection.0.as_u128() % 1000).unwrap_or_default();
    TimeDelta::milliseconds(every.num_milliseconds() / 10 * share / 1000)
}

/// How long to wait before attempt number `attempts + 1`: a minute, then twice as long each time, up
/// to an hour and a half; `chance` (0 to 999) spreads the last third.
#[must_use]
pub fn backoff(attempts: u32, chance: u16) -> TimeDelta {
    let minutes = 1_i64 << attempts.saturating_sub(1).min(7);
    let full = TimeDelta::minutes(minutes.min(90));
    full * 2 / 3 + full / 3 * i32::from(chance.min(999)) / 1000
}

/// How often a pull is tried before it rests in `failed`.
pub const MAX_ATTEMPTS: u32 = 8;

#[cfg(test)]
mod tests;
