//! Which processor time went to which program.

use std::time::Duration;

use super::processes::{MICROS_PER_TICK, tree};

/// Processor time since each program began: this one, the server below it, and its Postgres.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct CpuTimes {
    pub(crate) here: Duration,
    pub(crate) server: Duration,
    pub(crate) postgres: Duration,
}

impl CpuTimes {
    /// What was taken so far; `None` where it can't be told.
    pub(crate) fn now() -> Option<Self> {
        let mut times = Self::default();
        for (id, name, ticks) in tree(std::process::id())? {
            let taken = Duration::from_micros(ticks.saturating_mul(MICROS_PER_TICK));
            match &*name {
                _ if id == std::process::id() => times.here += taken,
                "postgres" => times.postgres += taken,
                _ => times.server += taken,
            }
        }
        Some(times)
    }

    /// What was taken since `before`.
    pub(crate) fn since(self, before: Self) -> Self {
        Self {
            here: self.here.saturating_sub(before.here),
            server: self.server.saturating_sub(before.server),
            postgres: self.postgres.saturating_sub(before.postgres),
        }
    }
}
