//! Belvo: Basic auth, reads only.

pub mod answers;
pub mod convert;
pub mod wire;
