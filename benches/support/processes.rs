//! What runs, and how much of the processor it took.

use std::{collections::HashMap, fs};

/// Linux counts the time of processes in hundredths of a second, whatever its own clock does.
pub(super) const MICROS_PER_TICK: u64 = 10_000;

/// A process: its number, its name, and the ticks that it and what it waited for took.
pub(super) type Process = (u32, String, u64);

/// A process and all below it; `None` where it can't be told.
pub(super) fn tree(root: u32) -> Option<Vec<Process>> {
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
        found.insert(id, (id, name, ticks));
    }
    let mut tree = Vec::new();
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        tree.extend(found.remove(&id));
        open.extend(children.remove(&id).unwrap_or_default());
    }
    Some(tree)
}
