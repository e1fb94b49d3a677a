//! The load client: some clients, each with a connection of its own that it keeps, each asking again
//! as soon as it was answered.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use super::{
    Failure,
    figures::{hundredths, millis},
    line::{Line, Step},
    machine::OthersAtWork,
};

/// What is asked of one server: operations of one or more requests, in turn.
pub(crate) struct Load {
    address: SocketAddr,
    operations: Vec<Vec<Step>>,
    next: AtomicUsize,
}

/// When to stop: after this many operations or this long, whichever comes first.
#[derive(Clone, Copy)]
pub(crate) struct Until {
    pub(crate) operations: usize,
    pub(crate) elapsed: Duration,
}

impl Load {
    pub(crate) fn new(address: SocketAddr, operations: Vec<Vec<Step>>) -> Arc<Self> {
        Arc::new(Self {
            address,
            operations,
            next: AtomicUsize::new(0),
        })
    }

    /// Runs operations with that many clients, and measures each.
    pub(crate) async fn run(
        self: &Arc<Self>,
        clients: usize,
        until: Until,
    ) -> Result<Sample, Failure> {
        let mut lines = Vec::new();
        for _ in 0..clients {
            lines.push(Line::open(self.address).await?);
        }
        let started = Arc::new(AtomicUsize::new(0));
        let others = OthersAtWork::begin();
        let start = Instant::now();
        let mut running = JoinSet::new();
        for mut line in lines {
            let (load, started) = (Arc::clone(self), Arc::clone(&started));
            running.spawn(async move {
                let mut latencies = Vec::new();
                while start.elapsed() < until.elapsed
                    && started.fetch_add(1, Ordering::Relaxed) < until.operations
                {
                    let turn = load.next.fetch_add(1, Ordering::Relaxed);
                    let asked_at = Instant::now();
                    for step in &load.operations[turn % load.operations.len()] {
                        line.ask(step).await?;
                    }
                    latencies.push(asked_at.elapsed());
                }
                Ok::<_, Failure>(latencies)
            });
        }
        let mut latencies = Vec::new();
        while let Some(one) = running.join_next().await {
            latencies.extend(one??);
        }
        let elapsed = start.elapsed();
        latencies.sort_unstable();
        Ok(Sample {
            latencies,
            elapsed,
            others: others.end(elapsed),
        })
    }
}

/// What a run came to.
pub(crate) struct Sample {
    /// From the shortest to the longest.
    latencies: Vec<Duration>,
    elapsed: Duration,
    /// How much of the machine went elsewhere, in hundredths of a core; `None` where it can't be told.
    pub(crate) others: Option<u128>,
}

impl Sample {
    /// The latency that this many thousandths of the operations stay within.
    pub(crate) fn within(&self, thousandths: usize) -> Duration {
        let rank = (self.latencies.len() * thousandths).div_ceil(1000);
        let found = self.latencies.get(rank.saturating_sub(1));
        found.copied().unwrap_or_default()
    }

    /// How many operations were finished in a second.
    pub(crate) fn rate(&self) -> u128 {
        let finished = u128::try_from(self.latencies.len()).unwrap_or(u128::MAX);
        finished * 1_000_000 / self.elapsed.as_micros().max(1)
    }

    /// Whether nobody else worked while this was measured, as far as can be told.
    pub(crate) fn is_quiet(&self) -> bool {
        /// A tenth of a core.
        const MOST: u128 = 10;
        self.others.is_none_or(|others| others <= MOST)
    }

    /// The columns of the table.
    pub(crate) fn columns(&self) -> Columns<'_> {
        Columns(self)
    }
}

/// Operations a second, p50, p99 and the longest in milliseconds, cores that others took.
pub(crate) struct Columns<'a>(&'a Sample);

impl fmt::Display for Columns<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(sample) = self;
        write!(f, "{:>7}", sample.rate())?;
        for thousandths in [500, 990, 1000] {
            write!(f, " {:>8}", millis(sample.within(thousandths)))?;
        }
        match sample.others {
            Some(others) => write!(f, " {:>8}", hundredths(others)),
            None => write!(f, " {:>8}", "?"),
        }
    }
}
