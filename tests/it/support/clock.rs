//! A clock that moves when it is told to.

use std::sync::Mutex;

use chrono::{DateTime, TimeDelta, Utc};
use matcher_discovery::domain::clock::Clock;

#[derive(Debug)]
pub(crate) struct ManualClock(Mutex<DateTime<Utc>>);

impl ManualClock {
    /// Stands at a fixed instant.
    pub(crate) fn new() -> Self {
        Self(Mutex::new("2026-03-01T12:00:00Z".parse().unwrap()))
    }

    pub(crate) fn advance(&self, by: TimeDelta) {
        *self.0.lock().unwrap() += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }
}
