//! The simulator's time: somebody else's, moved.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};

use super::lock;
use crate::domain::clock::Clock;

/// Another clock, and how far ahead of it this one is.
#[derive(Debug)]
pub(super) struct ShiftedClock {
    base: Arc<dyn Clock>,
    offset: Mutex<TimeDelta>,
}

impl ShiftedClock {
    pub(super) fn new(base: Arc<dyn Clock>) -> Self {
        Self {
            base,
            offset: Mutex::new(TimeDelta::zero()),
        }
    }

    pub(super) fn offset(&self) -> TimeDelta {
        *lock(&self.offset)
    }

    /// Moves on by this much; nothing if the calendar ends before.
    pub(super) fn advance(&self, by: TimeDelta) -> Option<DateTime<Utc>> {
        let mut offset = lock(&self.offset);
        let moved = offset.checked_add(&by)?;
        let now = self.base.now().checked_add_signed(moved)?;
        *offset = moved;
        Some(now)
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> DateTime<Utc> {
        self.base.now() + self.offset()
    }
}
