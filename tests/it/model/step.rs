//! What may happen, in whatever order.

use proptest::prelude::*;

/// One thing that happens. Numbers that pick something are taken modulo what there is to pick from.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// A vendor's rows change, and it sends its webhooks, which are on their way from then on.
    Edit(Vendor, Edit),
    /// Every webhook on its way comes in, in this order.
    DeliverAll(Order),
    /// One webhook comes in, however long the others have been on their way.
    Deliver(usize),
    /// One webhook comes in and will come once more.
    Double(usize),
    /// One webhook never comes in.
    Lose(usize),
    /// Time goes by.
    Pass(u32),
    /// The workers look after what is abandoned and what the calendar asks for, and run what is due.
    Work,
    /// The same, while calls to a vendor go wrong.
    WorkThrough(Fault),
    /// The same, and while a call is held at the vendor something else happens.
    WorkAmid(Hold, Vec<Amid>),
    /// A vendor can no longer read the bank.
    Trouble(Vendor, Trouble),
    /// It can again.
    Recover(Vendor),
    /// An operator asks for a pull; of so many of the last days, if any.
    Ask(Vendor, Option<u8>),
    /// An operator retries the last pull, if there is something to retry.
    Retry(Vendor),
    /// The consumer of the feed reads so many answers of so many changes each.
    Read { answers: u8, limit: u8 },
    /// It writes down what it has and where it is.
    Remember,
    /// It falls back to what it had written down.
    FallBack,
}

#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Vendor {
    Pluggy,
    Belvo,
}

impl Vendor {
    pub(super) const BOTH: [Self; 2] = [Self::Pluggy, Self::Belvo];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Pluggy => "pluggy",
            Self::Belvo => "belvo",
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    FirstFirst,
    LastFirst,
}

#[derive(Clone, Debug)]
pub(super) enum Edit {
    /// A row of an account, so many days old.
    Add {
        account: usize,
        days: u16,
        pending: bool,
        cents: u32,
        told: bool,
    },
    /// A row that looks like another one.
    Twin(usize),
    Amount(usize, u32),
    Text(usize, u8),
    /// A pending row settles under its name.
    Post(usize),
    /// A row comes back under a new name.
    Recreate(usize),
    Delete(usize),
    /// A row that was deleted comes back under its old name; as if it had been there all the time,
    /// or as a new one.
    Revive {
        which: usize,
        as_new: bool,
    },
    /// The vendor has been to the bank.
    Sync,
}

/// How a vendor fails to read a bank.
#[derive(Clone, Copy, Debug)]
pub(super) enum Trouble {
    Login,
    Outdated,
    Partial,
    Waiting,
    Consent,
}

/// Calls that go wrong.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) vendor: Vendor,
    pub(super) place: Place,
    pub(super) kind: Kind,
    /// How many calls go well before.
    pub(super) after: u8,
    /// How many go wrong then.
    pub(super) times: u8,
}

/// What is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    Key,
    Source,
    Accounts,
    Rows,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    TooMany(u16),
    Unavailable(u16),
    Forbidden,
    Reset,
    Truncate,
    Cut,
    Html,
    Charset,
    ErrorInside,
}

/// A call for rows that is held at the vendor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hold {
    pub(super) vendor: Vendor,
    /// How many calls for rows are answered before.
    pub(super) after: u8,
}

/// What happens while a call is held.
#[derive(Clone, Debug)]
pub(super) enum Amid {
    Edit(Edit),
    DeliverAll,
    Ask,
    /// An operator calls the pull off.
    Cancel,
    /// The worker gives no sign of life, and another one takes over; then the first one goes on.
    TakeOver,
    /// The worker is gone for good.
    Die,
    /// The vendor can no longer read the bank, just now.
    Trouble(Trouble),
    /// The vendor forgets the item or link.
    Forget,
}

fn vendor() -> impl Strategy<Value = Vendor> {
    prop_oneof![Just(Vendor::Pluggy), Just(Vendor::Belvo)]
}

/// Few rows, so that much happens to each of them.
fn row() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 0..6_usize, 1 => 0..120_usize]
}

fn edit() -> impl Strategy<Value = Edit> {
    let added = (0..3_usize, 0..40_u16, any::<bool>(), 1..20_000_u32, 0..8_u8).prop_map(
        |(account, days, pending, cents, told)| Edit::Add {
            account,
            days,
            pending,
            cents,
            told: told > 0,
        },
    );
    prop_oneof![
        4 => added,
        1 => row().prop_map(Edit::Twin),
        3 => (row(), 1..5_000_u32).prop_map(|(row, cents)| Edit::Amount(row, cents)),
        2 => (row(), any::<u8>()).prop_map(|(row, word)| Edit::Text(row, word)),
        2 => row().prop_map(Edit::Post),
        3 => row().prop_map(Edit::Recreate),
        4 => row().prop_map(Edit::Delete),
        3 => (0..4_usize, any::<bool>()).prop_map(|(which, as_new)| Edit::Revive { which, as_new }),
        1 => Just(Edit::Sync),
    ]
}

fn minutes() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => 1..100_u32,
        2 => 100..2_000_u32,
        2 => 1_300..4_500_u32,
        1 => Just(8 * 24 * 60),
    ]
}

fn fault() -> impl Strategy<Value = Fault> {
    let place = prop_oneof![
        1 => Just(Place::Key),
        1 => Just(Place::Source),
        1 => Just(Place::Accounts),
        4 => Just(Place::Rows),
    ];
    let kind = prop_oneof![
        3 => (1..4_000_u16).prop_map(Kind::TooMany),
        2 => prop_oneof![Just(500), Just(502), Just(503)].prop_map(Kind::Unavailable),
        1 => Just(Kind::Forbidden),
        1 => Just(Kind::Reset),
        1 => Just(Kind::Truncate),
        1 => Just(Kind::Cut),
        1 => Just(Kind::Html),
        1 => Just(Kind::Charset),
        1 => Just(Kind::ErrorInside),
    ];
    (vendor(), place, kind, 0..6_u8, 1..4_u8).prop_map(|(vendor, place, kind, after, times)| {
        Fault {
            vendor,
            place,
            kind,
            after: if place == Place::Rows { after } else { 0 },
            times,
        }
    })
}

fn amid() -> impl Strategy<Value = Amid> {
    prop_oneof![
        8 => edit().prop_map(Amid::Edit),
        4 => Just(Amid::DeliverAll),
        1 => Just(Amid::Ask),
        1 => Just(Amid::Cancel),
        2 => Just(Amid::TakeOver),
        1 => Just(Amid::Die),
        1 => trouble().prop_map(Amid::Trouble),
    ]
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        Just(Trouble::Login),
        Just(Trouble::Outdated),
        Just(Trouble::Partial),
        Just(Trouble::Waiting),
        Just(Trouble::Consent),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let hold = (vendor(), 0..6_u8).prop_map(|(vendor, after)| Hold { vendor, after });
    let order = prop_oneof![Just(Order::FirstFirst), Just(Order::LastFirst)];
    prop_oneof![
        14 => (vendor(), edit()).prop_map(|(vendor, edit)| Step::Edit(vendor, edit)),
        6 => order.prop_map(Step::DeliverAll),
        3 => (0..20_usize).prop_map(Step::Deliver),
        2 => (0..20_usize).prop_map(Step::Double),
        2 => (0..20_usize).prop_map(Step::Lose),
        8 => minutes().prop_map(Step::Pass),
        9 => Just(Step::Work),
        4 => fault().prop_map(Step::WorkThrough),
        4 => (hold, prop::collection::vec(amid(), 1..4))
            .prop_map(|(hold, amid)| Step::WorkAmid(hold, amid)),
        1 => (vendor(), trouble()).prop_map(|(vendor, trouble)| Step::Trouble(vendor, trouble)),
        2 => vendor().prop_map(Step::Recover),
        2 => (vendor(), prop::option::of(1..60_u8))
            .prop_map(|(vendor, days)| Step::Ask(vendor, days)),
        1 => vendor().prop_map(Step::Retry),
        3 => (1..4_u8, 1..60_u8).prop_map(|(answers, limit)| Step::Read { answers, limit }),
        1 => Just(Step::Remember),
        1 => Just(Step::FallBack),
    ]
}

/// A course of things.
pub(super) fn course() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 1..40)
}
