//! The time that every process on a database goes by.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use matcher_discovery::{
    cli::timekeeping,
    domain::clock::{Clock as _, SetClock},
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
