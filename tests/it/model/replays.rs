//! Courses that are known to be dangerous, each played as it is.

use super::{
    play,
    step::{Amid, Edit, Fault, Hold, Kind, Order, Place, Step, Trouble, Vendor},
};

fn both(course: impl Fn(Vendor) -> Vec<Step>) {
    for vendor in Vendor::BOTH {
        play(&course(vendor));
    }
}

fn added(days: u16, cents: u32) -> Edit {
    Edit::Add {
        account: 0,
        days,
        pending: true,
        cents,
        told: true,
    }
}

fn forbidden(vendor: Vendor) -> Step {
    Step::WorkThrough(Fault {
        vendor,
        place: Place::Source,
        kind: Kind::Forbidden,
        after: 0,
        times: 9,
    })
}

#[test]
fn a_row_that_comes_back_is_no_longer_replaced() {
    both(|vendor| {
        vec![
            Step::Edit(vendor, added(1, 11)),
            Step::DeliverAll(Order::FirstFirst),
            Step::Work,
            Step::Pass(7),
            Step::Edit(vendor, Edit::Recreate(0)),
            Step::DeliverAll(Order::FirstFirst),
            Step::Work,
            Step::Read {
                answers: 9,
                limit: 200,
            },
            Step::Pass(7),
            Step::Edit(
                vendor,
                Edit::Revive {
                    which: 0,
                    as_new: true,
                },
            ),
            Step::DeliverAll(Order::FirstFirst),
            Step::Work,
        ]
    });
}

#[test]
fn what_a_failed_pull_was_asked_for_is_done_by_the_next_one() {
    both(|vendor| {
        vec![
            Step::Pass(7),
            // Too old for a look at the recent past.
            Step::Edit(vendor, Edit::Amount(60, 100)),
            Step::Edit(vendor, Edit::Delete(70)),
            Step::DeliverAll(Order::FirstFirst),
            forbidden(vendor),
            Step::Pass(7),
            Step::Ask(vendor, None),
            forbidden(vendor),
            Step::Edit(vendor, added(0, 22)),
            Step::DeliverAll(Order::FirstFirst),
            Step::Work,
        ]
    });
}

#[test]
fn the_news_of_a_deletion_may_come_after_the_row_came_back() {
    both(|vendor| {
        vec![
            Step::Edit(vendor, Edit::Delete(3)),
            Step::Edit(
                vendor,
                Edit::Revive {
                    which: 0,
                    as_new: true,
                },
            ),
            Step::DeliverAll(Order::LastFirst),
            Step::Work,
        ]
    });
}

#[test]
fn a_worker_that_is_overtaken_between_two_pages_leaves_no_trace() {
    both(|vendor| {
        vec![
            Step::Pass(7),
            Step::Edit(vendor, Edit::Amount(1, 100)),
            Step::Ask(vendor, Some(200)),
            Step::WorkAmid(
                Hold { vendor, after: 2 },
                vec![
                    Amid::TakeOver,
                    Amid::Edit(Edit::Delete(1)),
                    Amid::DeliverAll,
                ],
            ),
            Step::Pass(7),
            Step::Work,
        ]
    });
}

#[test]
fn a_worker_that_dies_between_two_pages_loses_nothing() {
    both(|vendor| {
        vec![
            Step::Pass(7),
            Step::Edit(vendor, Edit::Amount(50, 100)),
            Step::Edit(vendor, Edit::Delete(1)),
            Step::DeliverAll(Order::FirstFirst),
            Step::Ask(vendor, Some(200)),
            Step::WorkAmid(
                Hold { vendor, after: 3 },
                vec![Amid::Edit(added(4, 33)), Amid::DeliverAll, Amid::Die],
            ),
            Step::Pass(7),
            Step::Work,
        ]
    });
}

#[test]
fn a_consent_that_goes_in_the_middle_of_two_listings_deletes_nothing() {
    both(|vendor| {
        let listing = [
            Step::Pass(25 * 60),
            Step::WorkAmid(
                Hold { vendor, after: 1 },
                vec![Amid::Trouble(Trouble::Consent)],
            ),
            Step::Recover(vendor),
        ];
        [listing.clone(), listing].concat()
    });
}

#[test]
fn what_came_in_just_after_a_look_is_read_after_an_attempt_that_was_put_off() {
    both(|vendor| {
        vec![
            Step::Pass(1388),
            Step::Work,
            Step::Edit(
                vendor,
                Edit::Add {
                    account: 0,
                    days: 0,
                    pending: false,
                    cents: 1,
                    told: true,
                },
            ),
            Step::DeliverAll(Order::FirstFirst),
            Step::WorkThrough(Fault {
                vendor,
                place: Place::Source,
                kind: Kind::TooMany(1),
                after: 0,
                times: 1,
            }),
            Step::Pass(1),
            Step::Work,
        ]
    });
}
