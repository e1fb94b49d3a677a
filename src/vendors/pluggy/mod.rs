//! Pluggy: a session key from a pair, and listings that go on by cursor.

pub mod answers;
pub mod convert;
mod dates;
pub mod webhook;
pub mod wire;
