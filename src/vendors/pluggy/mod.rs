//! Pluggy: a session key from a pair, and listings that go on by cursor.

pub mod answers;
mod client;
pub mod convert;
mod dates;
mod keys;
pub mod webhook;
pub mod wire;

pub use self::client::Pluggy;
