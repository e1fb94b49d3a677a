//! Which processor time went to which program.

use std::{collections::HashMap, fs, time::Duration};

use super::Failure;

/// Linux counts the time of processes in hundredths of a second, whatever its own clock does.
pub(super) const MICROS_PER_TICK: u64 = 10_000;

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
        for process in tree(std::process::id())? {
            let taken = Duration::from_micros(process.ticks.saturating_mul(MICROS_PER_TICK));
            match &*process.name {
                _ if process.id == std::process::id() => times.here += taken,
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

/// A process, and the time that it and what it waited for took.
pub(crate) struct Process {
    pub(crate) id: u32,
    pub(crate) name: String,
    pub(crate) ticks: u64,
}

/// A process and all below it; `None` where it can't be told.
pub(crate) fn tree(root: u32) -> Option<Vec<Process>> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut found = HashMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(id) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        // It may have ended since it was listed.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        // The name comes second, in parentheses, and may hold anything.
        let (head, fields) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
        let parent = fields.get(1)?.parse().ok()?;
        // utime, stime, and both of the children that were waited for.
        let times = fields.get(11..15)?.iter();
        let ticks = times
            .map(|field| field.parse::<u64>().ok())
            .sum::<Option<_>>()?;
        children.entry(parent).or_default().push(id);
        let name = name.to_owned();
        found.insert(id, Process { id, name, ticks });
    }
    let mut tree = Vec::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        tree.extend(found.remove(&id));
        open.extend(children.remove(&id).unwrap_or_default());
    }
    Some(tree)
}

/// The memory that a process holds, in kilobytes; from now on its peak is counted anew.
pub(crate) fn memory(id: u32) -> Result<u64, Failure> {
    fs::write(format!("/proc/{id}/clear_refs"), "5")?;
    status(id, "VmRSS:")
}

/// The most memory that a process held since that was last asked, in kilobytes.
pub(crate) fn peak_memory(id: u32) -> Result<u64, Failure> {
    status(id, "VmHWM:")
}

fn status(id: u32, name: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes = kilobytes.ok_or_else(|| format!("/proc does not tell {name}"))?;
    Ok(kilobytes.trim().parse()?)
}
