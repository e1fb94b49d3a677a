//! The database, stopped and started again beneath a server that is at work.

use matcher_discovery::{
    local::embedded_pg::{Cluster, Durability, Options},
    storage::Store,
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{Chance, House};
use crate::support::cluster::options_at;

/// How the database goes.
#[derive(Clone, Copy, Debug)]
enum Stop {
    /// In order: sessions are ended, everything is on disk.
    Fast,
    /// As in a crash: the next start recovers what was committed.
    Immediate,
}

/// A database server of the test's own, made to last.
async fn start(directory: &std::path::Path) -> Cluster {
    let options = Options {
        durability: Durability::Full,
        ..options_at(directory.join("data"))
    };
    Cluster::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_restarted_under_load_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut cluster = start(directory.path()).await;
    Store::migrate(&cluster.connect_options()).await.unwrap();
    let admin = cluster.admin_options().database("discovery");
    let house = House::build(cluster.url(), admin).await;
    let mut chance = Chance::begin();
    // One server, which is never restarted itself.
    let _server = house.serve().await;
    for stop in [Stop::Fast, Stop::Immediate, Stop::Fast] {
        let before = house.acknowledged().await.len();
        for _ in 0..6 {
            house.something_happens(&mut chance).await;
        }
        house
            .until("webhooks are taken", async || {
                house.acknowledged().await.len() >= before + 2
            })
            .await;
        // It goes on while the database goes.
        let going = go(cluster, stop);
        let happening = async {
            for _ in 0..6 {
                house.something_happens(&mut chance).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(going, happening);
        nothing_is_acknowledged(&house, &mut chance).await;

        cluster = start(directory.path()).await;
        // What was at work failed, and could not say so.
        house.nobody_works().await;
        house.everything_arrives().await;
        house
            .until("the queue ran dry", async || {
                house.let_backoffs_pass().await;
                house.is_dry().await
            })
            .await;
        house.expect_every_acknowledged_webhook().await;
        house.expect_truth().await;
    }
}

async fn go(cluster: Cluster, stop: Stop) {
    if let Stop::Immediate = stop {
        let postmaster = Pid::from_raw(cluster.pid().try_into().unwrap());
        kill(postmaster, Signal::SIGQUIT).unwrap();
    }
    cluster.stop().await;
}

/// Without a database, whoever sends a webhook is told to come again.
async fn nothing_is_acknowledged(house: &House, chance: &mut Chance) {
    // What was answered before may be noted only now, so only what is sent from here on counts.
    let before = house.vendors.deliveries().await.len();
    house.something_happens(chance).await;
    let met = async |status: u16| {
        let all = house.vendors.deliveries().await;
        all[before..].iter().any(|one| {
            let attempts = one["attempts"].as_array().unwrap();
            attempts.iter().any(|attempt| attempt["status"] == status)
        })
    };
    house
        .until("a webhook is refused", async || met(503).await)
        .await;
    assert!(!met(202).await, "nothing keeps it");
}
