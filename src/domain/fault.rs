//! What is wrong with an input, collected so that a caller hears all of it at once.

use serde_json::Value;

/// One fault of an input.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// Where, as in `body.baseUrl` or `query.limit`.
    pub location: String,
    /// What is wrong and what would be right.
    pub message: String,
    /// The offending value; `None` for secrets and for bodies that failed as a whole.
    pub value: Option<Value>,
}

impl Fault {
    /// A fault that shows the value it is about.
    pub fn new(
        location: impl Into<String>,
        message: impl Into<String>,
        value: impl Into<Value>,
    ) -> Self {
        Self {
            location: location.into(),
            message: message.into(),
            value: Some(value.into()),
        }
    }

    /// A fault whose value is missing, or must not be repeated.
    pub fn hidden(location: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            location: location.into(),
            message: message.into(),
            value: None,
        }
    }
}
