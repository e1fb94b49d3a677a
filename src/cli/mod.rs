//! The composition root: the only place where concrete parts meet.

use std::process::ExitCode;

/// Runs the command named by the process arguments.
#[must_use]
pub fn main() -> ExitCode {
    ExitCode::SUCCESS
}
