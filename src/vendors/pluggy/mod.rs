//! Pluggy: a session key from a pair, and listings that go on by cursor.

pub mod answers;
mod dates;
pub mod wire;
