//! The time that every process on a database goes by.

use std::sync::{
    Arc,
    atomic::{AtomicI32, Ordering},
};

use chrono::{DateTime, TimeDelta, Utc};
use matcher_discovery::{
    cli::timekeeping,
    domain::clock::{Clock, SetClock},
};

use crate::support::TestApp;

#[tokio::test]
async fn a_machine_whose_clock_is_months_apart_goes_by_the_databases() {
    let app = TestApp::start().await;
    // Theirs stands still, so nothing passes while the database is asked.
    let clock = SetClock::new(Arc::clone(&app.clock) as _);
    let told = async || {
        let now: Vec<DateTime<Utc>> = app.column("SELECT clock_timestamp()").await;
        now[0]
    };
    let before = told().await;
    assert_ne!(clock.now(), before);
    timekeeping::set(&clock, &app.store()).await.unwrap();
    let after = told().await;
    let now = clock.now();
    assert!(before <= now && now <= after, "{before} {now} {after}");
    assert_eq!(clock.own(), app.clock.now());
}

/// A clock by which a second passes between two looks at it.
#[derive(Debug)]
struct Slow {
    start: DateTime<Utc>,
    looks: AtomicI32,
}

impl Clock for Slow {
    fn now(&self) -> DateTime<Utc> {
        self.start + TimeDelta::seconds(1) * self.looks.fetch_add(1, Ordering::Relaxed)
    }
}

#[tokio::test]
async fn a_database_that_answers_slowly_is_gone_by_too() {
    let app = TestApp::start().await;
    let start = app.clock.now();
    let clock = SetClock::new(Arc::new(Slow {
        start,
        looks: AtomicI32::default(),
    }));
    let told = async || {
        let now: Vec<DateTime<Utc>> = app.column("SELECT clock_timestamp()").await;
        now[0]
    };
    let before = told().await;
    timekeeping::set(&clock, &app.store()).await.unwrap();
    let after = told().await;
    let middle = start + TimeDelta::milliseconds(500) + clock.ahead();
    assert!(
        before <= middle && middle <= after,
        "{before} {middle} {after}"
    );
}
