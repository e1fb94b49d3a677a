//! How much memory a program holds.

use std::fs;

use super::Failure;

/// The memory that a process holds, in kilobytes; from now on its peak is counted anew.
pub(crate) fn held(id: u32) -> Result<u64, Failure> {
    fs::write(format!("/proc/{id}/clear_refs"), "5")?;
    status(id, "VmRSS:")
}

/// The most memory that a process held since that was last asked, in kilobytes.
pub(crate) fn peak(id: u32) -> Result<u64, Failure> {
    status(id, "VmHWM:")
}

fn status(id: u32, name: &str) -> Result<u64, Failure> {
    let status = fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes = kilobytes.ok_or_else(|| format!("/proc does not tell {name}"))?;
    Ok(kilobytes.trim().parse()?)
}
