//! One request as a vendor meets it, and what the vendor says to it.

use serde_json::Value;

use super::notice::Notice;

/// A request, already read off the wire.
#[derive(Clone, Debug)]
pub(super) struct Ask<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    /// Decoded, in the order of the address.
    pub(super) query: Vec<(String, String)>,
    /// Names in lower case.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: &'a [u8],
    /// What the caller called us, for absolute links.
    pub(super) host: &'a str,
}

/// An answer, and what its making has to tell the subscribers.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) notices: Vec<Notice>,
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
            notices: Vec::new(),
        }
    }
}
