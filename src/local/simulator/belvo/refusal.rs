//! How Belvo says no: an array of faults, or a page of HTML from the edge in front of it.

use serde_json::{Map, Value, json};

use super::super::exchange::Answer;

const EDGE_PAGE: &str = "<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n\
<center><h1>403 Forbidden</h1></center>\r\n<hr><center>openresty</center>\r\n</body>\r\n</html>\r\n";

#[derive(Debug)]
pub(super) enum Refusal {
    /// The edge turned the request away before the API saw it.
    Edge,
    Fault {
        status: u16,
        members: Map<String, Value>,
    },
}

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let mut members = Map::new();
        members.insert("code".to_owned(), json!(code));
        members.insert("message".to_owned(), json!(message.into()));
        Self::Fault { status, members }
    }

    pub(super) fn not_found() -> Self {
        Self::new(404, "not_found", "Not found")
    }

    pub(super) fn required(field: &str) -> Self {
        Self::new(400, "required", "This field is required.").with("field", field)
    }

    pub(super) fn invalid(field: &str, message: &str) -> Self {
        Self::new(400, "invalid", message).with("field", field)
    }

    /// Adds one member to the fault; the edge has none.
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        if let Self::Fault { members, .. } = &mut self {
            members.insert(name.to_owned(), value.into());
        }
        self
    }

    pub(super) fn answer(self, request_id: &str) -> Answer {
        match self.with("request_id", request_id) {
            Self::Edge => Answer {
                status: 403,
                headers: vec![("content-type", "text/html".to_owned())],
                body: EDGE_PAGE.as_bytes().to_vec(),
                notices: Vec::new(),
            },
            Self::Fault { status, members } => Answer::json(status, &json!([members])),
        }
    }
}
