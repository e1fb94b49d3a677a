//! The vendors' rate limits, kept together by everybody behind one address.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use matcher_discovery::{
    app::SharedBudget,
    domain::vendor::Vendor,
    storage::{Store, StoreOptions},
    vendors::budget::{Bucket, Budget as _, BudgetError, Share},
};

use crate::support::{TestDatabase, migrated};

const NOW: Duration = Duration::ZERO;

/// A process of its own, as far as the database can tell.
fn process(database: &TestDatabase, group: &str, limit: u32) -> Arc<SharedBudget> {
    let store = Store::new(StoreOptions {
        connect: database.options(),
        max_connections: 4,
        acquire_timeout: Duration::from_secs(20),
    });
    let limits = Vendor::ALL.map(|vendor| (vendor, limit));
    Arc::new(SharedBudget::new(store, group.to_owned(), limits.into()))
}

async fn granted(processes: &[Arc<SharedBudget>], bucket: Bucket, each: usize) -> usize {
    let takes = processes.iter().flat_map(|process| {
        (0..each).map(|_| {
            let process = Arc::clone(process);
            async move { process.take(bucket, Share::Whole, NOW).await }
        })
    });
    let answers = join_all(takes).await;
    for answer in &answers {
        assert!(
            matches!(answer, Ok(()) | Err(BudgetError::Spent(_))),
            "{answer:?}"
        );
    }
    answers.iter().filter(|answer| answer.is_ok()).count()
}

#[tokio::test]
async fn two_processes_together_never_cross_a_ceiling() {
    let database = migrated().await;
    // Of 200 in a minute 180 are used: 45 at once, and then one every 444 ms.
    let processes = [
        process(&database, "default", 200),
        process(&database, "default", 200),
    ];
    for bucket in Bucket::ALL {
        let began = Instant::now();
        let granted = granted(&processes, bucket, 120).await;
        let window = bucket.window().as_millis();
        let refilled = began.elapsed().as_millis() * 135 / window + 1;
        assert!(granted >= 45, "{bucket:?}: {granted}");
        assert!(
            granted as u128 <= 45 + refilled,
            "{bucket:?}: {granted} and {refilled}"
        );
    }
    let rows: Vec<String> = database
        .column("SELECT egress_group || ' ' || bucket FROM budgets ORDER BY 1")
        .await;
    assert_eq!(
        rows,
        [
            "default belvo",
            "default pluggy/accounts",
            "default pluggy/auth",
            "default pluggy/other",
            "default pluggy/transactions"
        ]
    );
}

#[tokio::test]
async fn another_address_has_a_budget_of_its_own() {
    let database = migrated().await;
    let here = [process(&database, "here", 10)];
    let there = [process(&database, "there", 10)];
    assert!(granted(&here, Bucket::Belvo, 20).await >= 2);
    assert!(granted(&there, Bucket::Belvo, 20).await >= 2);
}

#[tokio::test]
async fn who_is_patient_gets_room_and_who_is_not_is_told_how_long() {
    let database = migrated().await;
    let process = process(&database, "default", 600);
    while process.take(Bucket::Belvo, Share::Whole, NOW).await.is_ok() {}
    let Err(BudgetError::Spent(wait)) = process.take(Bucket::Belvo, Share::Whole, NOW).await else {
        // A slow machine refilled it in between; then there is nothing to wait for.
        return;
    };
    assert!(
        wait > Duration::ZERO && wait < Duration::from_secs(30),
        "{wait:?}"
    );
    process
        .take(Bucket::Belvo, Share::Whole, Duration::from_secs(30))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_limiter_that_can_not_be_asked_lets_nothing_through() {
    let database = migrated().await;
    let process = process(&database, "default", 600);
    database.execute("ALTER TABLE budgets RENAME TO gone").await;
    assert_eq!(
        process.take(Bucket::PluggyAuth, Share::Whole, NOW).await,
        Err(BudgetError::Unavailable)
    );
}

#[tokio::test]
async fn what_is_tried_by_hand_leaves_room_for_what_has_to_be_done() {
    let database = migrated().await;
    let process = process(&database, "default", 200);
    let take = async |share| process.take(Bucket::Belvo, share, NOW).await.is_ok();
    let mut by_hand = 0;
    while take(Share::Half).await {
        by_hand += 1;
    }
    assert!((22..45).contains(&by_hand), "{by_hand}");
    assert!(take(Share::Whole).await);
    assert!(!take(Share::Half).await);
}

#[tokio::test]
async fn a_clock_that_was_set_back_stops_nobody() {
    let database = migrated().await;
    let process = process(&database, "default", 600);
    process
        .take(Bucket::Belvo, Share::Whole, NOW)
        .await
        .unwrap();
    database
        .execute("UPDATE budgets SET busy_until = clock_timestamp() + interval '1 day'")
        .await;
    process
        .take(Bucket::Belvo, Share::Whole, Duration::from_secs(5))
        .await
        .unwrap();
}
