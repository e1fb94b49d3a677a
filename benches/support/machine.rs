//! The machine, and who else keeps it busy.

use std::{
    fs,
    io::Write as _,
    path::Path,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

use super::{Failure, figures::millis, processes};

/// Linux counts the time of processes in hundredths of a second, whatever its own clock does.
const MICROS_PER_TICK: u128 = 10_000;

/// The processor, how many of it there are and how fast it is.
pub(crate) fn processor() -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, model)| model.trim());
    let pace = millis(pace());
    format!("{cores} cores, {model}, one hashes 1 MiB in {pace} ms")
}

/// How fast one core of it is at this moment: a virtual machine's neighbours can halve that, and nothing
/// else tells.
fn pace() -> Duration {
    let block = vec![7_u8; 1024 * 1024];
    let hashes = (0..20).map(|_| {
        let begin = Instant::now();
        std::hint::black_box(Sha256::digest(&block));
        begin.elapsed()
    });
    hashes.min().unwrap_or_default()
}

/// How long the disk below `directory` takes to keep eight kilobytes, half of the times.
pub(crate) fn time_of_a_sync(directory: &Path) -> Result<Duration, Failure> {
    let mut file = tempfile::tempfile_in(directory)?;
    let mut taken = Vec::new();
    for _ in 0..200 {
        let begin = Instant::now();
        file.write_all(&[7; 8192])?;
        file.sync_data()?;
        taken.push(begin.elapsed());
    }
    taken.sort_unstable();
    Ok(taken[taken.len() / 2])
}

/// Watches how much processor time goes to processes that are neither this one nor below it.
///
/// Interrupts are left out: those of this benchmark's own packets belong to no process.
pub(crate) struct OthersAtWork(Option<Ticks>);

struct Ticks {
    all: u128,
    own: u128,
}

impl OthersAtWork {
    pub(crate) fn begin() -> Self {
        Self(Ticks::now())
    }

    /// What others took since, in hundredths of a core.
    pub(crate) fn end(self, elapsed: Duration) -> Option<u128> {
        let (before, after) = (self.0?, Ticks::now()?);
        let all = after.all.saturating_sub(before.all);
        let own = after.own.saturating_sub(before.own);
        let micros = all.saturating_sub(own) * MICROS_PER_TICK;
        Some(micros * 100 / elapsed.as_micros().max(1))
    }
}

impl Ticks {
    fn now() -> Option<Self> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        // user, nice and system are the first three of the line.
        let all = sum(stat
            .lines()
            .next()?
            .split_ascii_whitespace()
            .skip(1)
            .take(3))?;
        let own = own()?;
        Some(Self { all, own })
    }
}

/// What this process and all below it took, with those that have ended.
fn own() -> Option<u128> {
    let tree = processes::tree(std::process::id())?;
    Some(tree.iter().map(|(_, _, ticks)| u128::from(*ticks)).sum())
}

fn sum<'a>(numbers: impl Iterator<Item = &'a str>) -> Option<u128> {
    numbers.map(|number| number.parse::<u128>().ok()).sum()
}
