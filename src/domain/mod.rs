//! Types and rules; no async, no I/O.

pub mod caller;
pub mod clock;
pub mod credential;
pub mod fault;
pub mod ids;
pub mod random;
pub mod vendor;
