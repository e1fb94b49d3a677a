//! The `matcher-discovery` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    matcher_discovery::cli::main()
}
