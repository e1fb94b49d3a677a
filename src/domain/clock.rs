//! Time, passed in rather than read.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the present instant.
///
/// Everything that depends on time takes one of these, so that a test can stand still or jump.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The present instant.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one home of the system clock"
    )]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that is set by another one: what processes on several machines write down and compare has to
/// be of one time, so all of them go by the clock of their database. Clones are set together.
#[derive(Clone, Debug)]
pub struct SetClock {
    own: Arc<dyn Clock>,
    /// In microseconds.
    ahead: Arc<AtomicI64>,
}

impl SetClock {
    /// Goes by `own` until it is set.
    #[must_use]
    pub fn new(own: Arc<dyn Clock>) -> Self {
        Self {
            own,
            ahead: Arc::default(),
        }
    }

    /// What the clock would tell if it had never been set.
    #[must_use]
    pub fn own(&self) -> DateTime<Utc> {
        self.own.now()
    }

    /// How far the other clock is ahead of the own one, as it was last set.
    #[must_use]
    pub fn ahead(&self) -> TimeDelta {
        TimeDelta::microseconds(self.ahead.load(Ordering::Relaxed))
    }

    /// Sets it by what the other clock told between two instants of the own one. The best guess is that
    /// it did so in the middle; a clock that is within what it may have been goes on as it is, or it would
    /// be put back and forth by how long each answer took.
    pub fn set(&self, asked_at: DateTime<Utc>, told: DateTime<Utc>, heard_at: DateTime<Utc>) {
        let half = (heard_at - asked_at) / 2;
        let ahead = told - (asked_at + half);
        if half >= TimeDelta::zero() && (ahead - self.ahead()).abs() > half {
            let ahead = ahead.num_microseconds().unwrap_or_default();
            self.ahead.store(ahead, Ordering::Relaxed);
        }
    }
}

impl Clock for SetClock {
    fn now(&self) -> DateTime<Utc> {
        self.own.now() + self.ahead()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Still(DateTime<Utc>);

    impl Clock for Still {
        fn now(&self) -> DateTime<Utc> {
            self.0
        }
    }

    #[test]
    fn a_clock_that_is_set_goes_by_the_middle_of_the_round_trip_if_it_is_outside_of_it() {
        let noon: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let clock = SetClock::new(Arc::new(Still(noon)));
        assert_eq!(clock.now(), noon);
        let clone = clock.clone();
        for (told, ahead) in [
            (noon + TimeDelta::seconds(3), 2_900),
            (noon + TimeDelta::milliseconds(2_901), 2_900),
            (noon + TimeDelta::milliseconds(3_100), 2_900),
            (noon + TimeDelta::milliseconds(3_101), 3_001),
            (noon + TimeDelta::milliseconds(100), 0),
            (noon - TimeDelta::seconds(45), -45_100),
        ] {
            clock.set(noon, told, noon + TimeDelta::milliseconds(200));
            assert_eq!(clock.ahead(), TimeDelta::milliseconds(ahead));
            assert_eq!(clone.now(), noon + TimeDelta::milliseconds(ahead));
            assert_eq!(clock.own(), noon);
        }
        // The own clock was put back meanwhile, which says nothing of the other one.
        clock.set(noon, noon, noon - TimeDelta::seconds(1));
        assert_eq!(clock.ahead(), TimeDelta::milliseconds(-45_100));
    }
}
