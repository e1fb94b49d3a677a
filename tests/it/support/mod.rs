//! What the tests stand on.

use std::fmt::Write as _;

mod app;
mod client;
mod clock;
pub(crate) mod cluster;
pub(crate) mod inspect;
mod log;
#[cfg(feature = "connector-mysql")]
pub(crate) mod mariadb;
pub(crate) mod process;
pub(crate) mod relay;
pub(crate) mod sources;
pub(crate) mod tokens;
mod vendors;

pub(crate) use self::{
    app::{TestApp, empty, migrated},
    client::{Answer, Client},
    clock::ManualClock,
    cluster::TestDatabase,
    log::Log,
    sources::Sources,
    vendors::Vendors,
};

/// Whether a test must not pass for want of what it needs, as a variable says.
#[expect(
    clippy::disallowed_methods,
    reason = "the tests' counterpart of the command line, which reads the environment for the program"
)]
pub(crate) fn is_required(variable: &str) -> bool {
    std::env::var_os(variable).is_some()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
