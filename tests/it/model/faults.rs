//! Each thing that can go wrong at a vendor, at each place: in the end we have what the vendor has, or
//! the status tells that we have not, and why. Nothing is deleted by mistake.

use serde_json::Value;

use super::{
    step::{Amid, Edit, Fault, Hold, Kind, Order, Place, Step, Trouble, Vendor},
    world::World,
};

/// Something of each kind, which webhooks tell of.
const EDITS: [Edit; 4] = [
    Edit::Add {
        account: 0,
        days: 2,
        pending: false,
        cents: 777,
        told: true,
    },
    Edit::Amount(1, 100),
    Edit::Delete(2),
    Edit::Recreate(3),
];

/// The calls for rows that are answered before the one that matters: none, and as many as lead into
/// the middle of a listing of several pages.
const ROWS: [u8; 2] = [0, 4];

/// The vendor's rows change, its webhooks come in, and an operator has asked for the last months.
async fn change(world: &mut World, vendor: Vendor) {
    world.take(&Step::Pass(7)).await;
    for edit in &EDITS {
        world.edit(vendor, edit).await;
    }
    world.deliver_all(Order::FirstFirst).await;
    world.take(&Step::Ask(vendor, Some(250))).await;
}

async fn last_pull(world: &World, vendor: Vendor) -> Value {
    world.pulls(vendor).await.remove(0)
}

/// What the connection's status says of its data: the verdict and the reason.
async fn data(world: &World, vendor: Vendor) -> (String, String) {
    let status = world.status(vendor).await;
    let told = |member: &str| status["data"][member].as_str().unwrap().to_owned();
    (told("verdict"), told("reason"))
}

fn places(vendor: Vendor) -> impl Iterator<Item = (Place, u8)> {
    let single = [Place::Key, Place::Source, Place::Accounts].map(|place| (place, 0));
    let rows = ROWS.map(|after| (Place::Rows, after));
    single
        .into_iter()
        .chain(rows)
        // Belvo hands out no keys.
        .filter(move |(place, _)| vendor == Vendor::Pluggy || *place != Place::Key)
}

async fn one_fault_anywhere(vendor: Vendor) {
    let mut world = World::begin().await;
    for (place, after) in places(vendor) {
        for kind in [
            Kind::TooMany(30),
            Kind::Unavailable(500),
            Kind::Reset,
            Kind::Truncate,
            Kind::Cut,
            Kind::Html,
        ] {
            change(&mut world, vendor).await;
            let fault = Fault {
                vendor,
                place,
                kind,
                after,
                times: 1,
            };
            world.take(&Step::WorkThrough(fault)).await;
            let pull = last_pull(&world, vendor).await;
            assert_eq!(pull["state"], "retrying", "{fault:?}: {pull:#}");
            assert!(pull["error"]["class"].is_string(), "{fault:?}: {pull:#}");
            world.take(&Step::Pass(3 * 60)).await;
            // Every webhook came in, so this has to lead to the truth.
            world.take(&Step::Work).await;
            let pull = last_pull(&world, vendor).await;
            assert_eq!(pull["state"], "succeeded", "{fault:?}: {pull:#}");
            world.expect_truth(vendor).await;
        }
    }
}

#[tokio::test]
async fn one_fault_anywhere_at_pluggy_delays_the_truth_and_no_more() {
    Box::pin(one_fault_anywhere(Vendor::Pluggy)).await;
}

#[tokio::test]
async fn one_fault_anywhere_at_belvo_delays_the_truth_and_no_more() {
    Box::pin(one_fault_anywhere(Vendor::Belvo)).await;
}

#[tokio::test]
async fn a_fault_that_does_not_end_is_told_with_its_reason() {
    for vendor in Vendor::BOTH {
        for (place, after) in [(Place::Source, 0), (Place::Rows, 0)] {
            let mut world = World::begin().await;
            change(&mut world, vendor).await;
            let fault = Fault {
                vendor,
                place,
                kind: Kind::Unavailable(500),
                after,
                times: u8::MAX,
            };
            for _ in 0..8 {
                world.take(&Step::WorkThrough(fault)).await;
                world.take(&Step::Pass(2 * 60)).await;
            }
            let pull = last_pull(&world, vendor).await;
            assert_eq!(pull["state"], "failed", "{fault:?}: {pull:#}");
            let class = pull["error"]["class"].as_str().unwrap().to_owned();
            assert_eq!(class, "vendor_fault");
            assert_eq!(data(&world, vendor).await, ("failing".to_owned(), class));
            world.end().await;
        }
    }
}

#[tokio::test]
async fn a_vendor_that_only_wants_to_be_left_alone_makes_the_data_stale() {
    for vendor in Vendor::BOTH {
        let mut world = World::begin().await;
        change(&mut world, vendor).await;
        let fault = Fault {
            vendor,
            place: Place::Rows,
            kind: Kind::TooMany(600),
            after: 0,
            times: u8::MAX,
        };
        for _ in 0..20 {
            world.take(&Step::WorkThrough(fault)).await;
            world.take(&Step::Pass(2 * 60)).await;
        }
        let pull = last_pull(&world, vendor).await;
        assert_eq!(pull["state"], "retrying", "{pull:#}");
        assert_eq!(pull["error"]["class"], "throttled", "{pull:#}");
        assert_eq!(data(&world, vendor).await.0, "stale");
        world.end().await;
    }
}

#[tokio::test]
async fn what_changes_while_it_is_paged_is_neither_lost_nor_deleted_by_mistake() {
    for vendor in Vendor::BOTH {
        let mut world = World::begin().await;
        for after in 0..6 {
            change(&mut world, vendor).await;
            let amid: Vec<Amid> = EDITS.iter().cloned().map(Amid::Edit).collect();
            let hold = Hold { vendor, after };
            world.take(&Step::WorkAmid(hold, amid)).await;
            world.take(&Step::DeliverAll(Order::LastFirst)).await;
            world.take(&Step::Work).await;
            world.expect_truth(vendor).await;
        }
        world.end().await;
    }
}

#[tokio::test]
async fn a_source_that_is_lost_at_any_moment_deletes_nothing_and_is_told() {
    // An expired consent can't be seen on a link of Belvo's, and its rows stay there to be read.
    for (vendor, trouble, told) in [
        (Vendor::Pluggy, Trouble::Consent, "consent_expired"),
        (Vendor::Belvo, Trouble::Login, "login_error"),
    ] {
        for after in 0..5 {
            let mut world = World::begin().await;
            // Twice, since what two listings agree on is gone.
            for _ in 0..2 {
                world.take(&Step::Pass(7)).await;
                world.take(&Step::Ask(vendor, Some(250))).await;
                let amid = vec![Amid::Trouble(trouble)];
                let hold = Hold { vendor, after };
                world.take(&Step::WorkAmid(hold, amid)).await;
                assert!(world.sides[&vendor].troubled, "{after}: no call was held");
                world.expect_truth(vendor).await;
                world.take(&Step::Pass(24 * 60)).await;
                world.take(&Step::Work).await;
                world.expect_truth(vendor).await;
                let status = world.status(vendor).await;
                assert_eq!(status["source"]["verdict"], told, "{after}: {status:#}");
                world.take(&Step::Recover(vendor)).await;
            }
            world.end().await;
        }
    }
}

#[tokio::test]
async fn an_item_that_is_forgotten_at_any_moment_keeps_its_rows_and_is_told_to_be_gone() {
    for vendor in Vendor::BOTH {
        for after in [0, 1, 4] {
            let mut world = World::begin().await;
            world.take(&Step::Pass(7)).await;
            world.take(&Step::Ask(vendor, Some(250))).await;
            let hold = Hold { vendor, after };
            world.take(&Step::WorkAmid(hold, vec![Amid::Forget])).await;
            assert!(world.sides[&vendor].forgotten, "{after}: no call was held");
            for _ in 0..3 {
                world.take(&Step::Pass(8 * 24 * 60)).await;
                world.take(&Step::Work).await;
            }
            world.expect_truth(vendor).await;
            let expected = ("failing".to_owned(), "gone".to_owned());
            assert_eq!(data(&world, vendor).await, expected);
            let status = world.status(vendor).await;
            assert_eq!(status["source"]["verdict"], "gone", "{status:#}");
        }
    }
}
