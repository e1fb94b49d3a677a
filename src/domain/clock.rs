//! Time, passed in rather than read.

use std::fmt;

use chrono::{DateTime, Utc};

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
