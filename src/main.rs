//! The `matcher-discovery` command.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// What a webhook needs is made by one thread and given back by another, in pieces of a few kilobytes,
/// which costs the system's allocator a lock each.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    matcher_discovery::cli::main()
}
