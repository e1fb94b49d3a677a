//! Belvo: Basic auth, reads only.

pub mod answers;
mod client;
pub mod convert;
pub mod webhook;
pub mod wire;

pub use self::client::Belvo;
