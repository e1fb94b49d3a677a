//! The server, killed without a word, again and again.

use super::{Chance, House};
use crate::support::migrated;

/// How often it is killed.
const ROUNDS: usize = 20;
/// After so many rounds it is left to finish. A pull that meets its worker's end eight times is
/// given up, and is meant to be; fewer may cost nothing.
const SPELL: usize = 5;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_at_any_moment_loses_nothing_that_it_acknowledged() {
    let database = migrated().await;
    let house = House::build(database.url(), database.admin_options()).await;
    let mut chance = Chance::begin();
    for round in 1..=ROUNDS {
        let mut server = house.serve().await;
        if round % 2 == 0 {
            happen_while_it_reads(&house, &mut chance).await;
        } else {
            happen_while_it_is_told(&house, &mut chance).await;
        }
        server.child.kill().await.unwrap();
        house.nobody_works().await;
        if round % SPELL == 0 {
            settle(&house).await;
        }
    }
    // What the killing was for: it did meet workers at work.
    let met = "pulls WHERE attempts > 1";
    assert!(house.count(met).await > 0, "no pull was ever interrupted");
}

/// Leaves a server alone until everything is done, and expects that it was done right.
async fn settle(house: &House) {
    let _server = house.serve().await;
    house.everything_arrives().await;
    house.runs_dry().await;
    house.expect_every_acknowledged_webhook().await;
    house.expect_truth().await;
}

/// Lets things happen, one for each sign of life of the workers, until some call of theirs is on its
/// way.
async fn happen_while_it_reads(house: &House, chance: &mut Chance) {
    let mut last = house.last_call().await;
    let mut calls = 1 + chance.below(40);
    loop {
        house.something_happens(chance).await;
        house
            .until("a vendor is called", async || {
                house.let_leases_lapse().await;
                !house.vendors.calls_after(last).await.is_empty()
            })
            .await;
        let new = house.vendors.calls_after(last).await;
        if new.len() >= calls {
            break;
        }
        calls -= new.len();
        last = new.last().unwrap()["seq"].as_u64().unwrap();
    }
    a_moment(chance).await;
}

/// Lets several things happen at once, and waits for one of them to be acknowledged, or for none.
async fn happen_while_it_is_told(house: &House, chance: &mut Chance) {
    let before = house.acknowledged().await.len();
    let many = 1 + chance.below(12);
    for _ in 0..many {
        house.something_happens(chance).await;
    }
    // Each of them is told at least once.
    let taken = before + chance.below(many.min(4) + 1);
    house
        .until("a webhook is taken", async || {
            house.acknowledged().await.len() >= taken
        })
        .await;
    a_moment(chance).await;
}

/// A few more turns for whoever runs in this process.
async fn a_moment(chance: &mut Chance) {
    for _ in 0..chance.below(300) {
        tokio::task::yield_now().await;
    }
}
