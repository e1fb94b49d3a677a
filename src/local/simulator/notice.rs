//! What a vendor's world wants told to its subscribers.

use serde_json::Value;

/// One event, before anybody has been told of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Notice {
    /// The item or link it speaks of.
    pub(super) resource: String,
    /// The body that every subscriber gets, the same on each attempt.
    pub(super) body: Value,
}
