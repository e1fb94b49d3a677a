//! Reading requests member by member, so that a caller hears of every fault at once.
//!
//! A derived reader stops at the first fault. Here a route names what it reads, faults are gathered
//! on the way, and [`Fields::finish`] turns them into one problem.

use std::{collections::BTreeMap, fmt::Display};

use axum::{
    body::{Body, to_bytes},
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, header, request::Parts},
};
use http_body_util::LengthLimitError;
use serde_json::Value;

use super::{
    json::Node,
    problem::{Code, Problem},
};
use crate::domain::{
    fault::Fault,
    ids::{ConnectionId, WebhookTokenId},
};

/// The largest body of an operator's request.
pub(super) const OPERATOR_BODY: usize = 64 * 1024;
/// The longest text that is quoted back.
const QUOTED_CHARS: usize = 200;

/// The members of a request, and what is wrong with them so far.
#[derive(Debug)]
pub(super) struct Fields {
    place: &'static str,
    members: BTreeMap<String, Value>,
    faults: Vec<(Code, Fault)>,
}

impl Fields {
    /// Reads a member that has to be there.
    pub(super) fn required<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if !self.members.contains_key(name) {
            self.fault(name, "is required", None);
            return None;
        }
        self.optional(name, parse)
    }

    /// Reads a text that may be left out.
    pub(super) fn optional<T, E: Display>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.optional_of(Code::InvalidRequest, name, parse)
    }

    /// The same, where a value that does not parse has a code of its own.
    pub(super) fn optional_of<T, E: Display>(
        &mut self,
        code: Code,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let value = self.members.remove(name)?;
        let Value::String(text) = &value else {
            let message = format!("must be a string, not {}", kind(&value));
            self.fault(name, message, Some(value));
            return None;
        };
        match parse(text) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.fault_of(code, name, error.to_string(), Some(value));
                None
            }
        }
    }

    /// Reads a whole number that may be left out.
    pub(super) fn optional_integer(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        let value = self.members.remove(name)?;
        let number = value.as_i64().filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!(
                "must be a whole number from {} to {}",
                range.start(),
                range.end()
            );
            self.fault(name, message, Some(value));
        }
        number
    }

    /// Whether the member was sent.
    pub(super) fn has(&self, name: &str) -> bool {
        self.members.contains_key(name)
    }

    /// Notes a fault of a member.
    fn fault(&mut self, name: &str, message: impl Into<String>, value: Option<Value>) {
        self.fault_of(Code::InvalidRequest, name, message, value);
    }

    /// Notes a fault that has a code of its own.
    pub(super) fn fault_of(
        &mut self,
        code: Code,
        name: &str,
        message: impl Into<String>,
        value: Option<Value>,
    ) {
        let fault = Fault {
            location: format!("{}.{name}", self.place),
            message: message.into(),
            value: value.filter(|_| !is_secret(name)).map(shorten),
        };
        self.faults.push((code, fault));
    }

    /// What was read, if nothing at all is wrong.
    pub(super) fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        for (name, value) in std::mem::take(&mut self.members) {
            self.fault(&name, "is not known here; leave it out", Some(value));
        }
        match read {
            Some(read) if self.faults.is_empty() => Ok(read),
            _ => Err(self.into_problem()),
        }
    }

    fn into_problem(self) -> Problem {
        // A code of its own speaks for the request only when nothing else is wrong with it.
        let code = match self.faults.first() {
            Some((first, _)) if self.faults.iter().all(|(code, _)| code == first) => *first,
            _ => Code::InvalidRequest,
        };
        Problem::invalid(
            code,
            self.faults.into_iter().map(|(_, fault)| fault).collect(),
        )
    }
}

/// Members whose value is never repeated, however they are spelt or nested.
fn is_secret(name: &str) -> bool {
    ["clientid", "secret", "password"]
        .iter()
        .any(|secret| name.to_ascii_lowercase().contains(secret))
}

/// A value as it may be quoted: without secrets inside, and short.
fn shorten(value: Value) -> Value {
    match value {
        Value::String(text) => text.chars().take(QUOTED_CHARS).collect::<String>().into(),
        // Objects and lists may hold anything; what kind of thing was sent is enough.
        Value::Array(_) => "[…]".into(),
        Value::Object(_) => "{…}".into(),
        plain => plain,
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// The JSON body of an operator's request.
#[derive(Debug)]
pub(super) struct JsonBody(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read_body(request, OPERATOR_BODY).await?;
        Fields::of_body(&bytes).map(Self)
    }
}

/// A JSON body that may be left out altogether.
#[derive(Debug)]
pub(super) struct OptionalJsonBody(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let untyped = !request.headers().contains_key(header::CONTENT_TYPE);
        if untyped {
            let bytes = collect(request.into_body(), OPERATOR_BODY).await?;
            return if bytes.is_empty() {
                Ok(Self(Fields::empty("body")))
            } else {
                Err(wrong_type())
            };
        }
        let bytes = read_body(request, OPERATOR_BODY).await?;
        if bytes.is_empty() {
            return Ok(Self(Fields::empty("body")));
        }
        Fields::of_body(&bytes).map(Self)
    }
}

async fn read_body(request: Request, limit: usize) -> Result<Vec<u8>, Problem> {
    // The size is looked at first: nobody should have to send much to hear that it is too much.
    check_length(request.headers(), limit)?;
    check_type(request.headers())?;
    collect(request.into_body(), limit).await
}

fn check_length(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > limit as u64 => Err(too_large(limit)),
        _ => Ok(()),
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.parse::<mime::Mime>().ok())
        .is_some_and(|kind| kind.essence_str() == mime::APPLICATION_JSON.essence_str());
    if is_json { Ok(()) } else { Err(wrong_type()) }
}

fn wrong_type() -> Problem {
    Problem::new(
        Code::UnsupportedMediaType,
        "The body must be sent as JSON, with the header Content-Type: application/json.",
    )
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("The body must have at most {limit} bytes."),
    )
}

async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    match to_bytes(body, limit).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            if cause.is_some_and(<dyn std::error::Error>::is::<LengthLimitError>) {
                Err(too_large(limit))
            } else {
                Err(whole_body_fault("could not be read to its end"))
            }
        }
    }
}

fn whole_body_fault(message: impl Into<String>) -> Problem {
    Problem::invalid(Code::InvalidRequest, vec![Fault::hidden("body", message)])
}

impl Fields {
    fn empty(place: &'static str) -> Self {
        Self {
            place,
            members: BTreeMap::new(),
            faults: Vec::new(),
        }
    }

    fn of_body(bytes: &[u8]) -> Result<Self, Problem> {
        let node = Node::parse(bytes).map_err(|error| {
            // The parser's own words may quote the body; its position does not.
            whole_body_fault(format!(
                "must be one JSON object; it stops being JSON at line {}, column {}",
                error.line(),
                error.column()
            ))
        })?;
        let mut repeated = Vec::new();
        node.repeated("", &mut repeated);
        let Value::Object(members) = node.into_value() else {
            return Err(whole_body_fault("must be one JSON object"));
        };
        let mut fields = Self::empty("body");
        fields.members = members.into_iter().collect();
        for place in repeated {
            fields.fault(
                place.trim_start_matches('.'),
                "is sent more than once; send it once",
                None,
            );
        }
        Ok(fields)
    }
}

/// The query of a request.
#[derive(Debug)]
pub(super) struct Query(pub(super) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut fields = Fields::empty("query");
        let query = parts.uri.query().unwrap_or_default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if fields.has(&name) {
                fields.fault(&name, "is given more than once; give it once", None);
            } else {
                fields
                    .members
                    .insert(name.into_owned(), value.into_owned().into());
            }
        }
        Ok(Self(fields))
    }
}

/// An identifier in a path. What is no identifier names nothing, so it is answered like one that
/// never was.
#[derive(Debug)]
pub(super) struct Id<T>(pub(super) T);

/// An identifier and the problem of not finding what it names.
pub(super) trait Identifier: Sized {
    fn parse(text: &str) -> Option<Self>;
    fn not_found() -> Problem;
}

fn parse_uuid(text: &str) -> Option<uuid::Uuid> {
    // One way to write it, so that one thing has one path.
    (text.len() == 36).then(|| text.parse().ok()).flatten()
}

impl Identifier for ConnectionId {
    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    fn not_found() -> Problem {
        crate::app::AppError::ConnectionNotFound.into()
    }
}

impl Identifier for WebhookTokenId {
    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    fn not_found() -> Problem {
        crate::app::AppError::WebhookTokenNotFound.into()
    }
}

impl<S: Send + Sync, T: Identifier> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(T::not_found());
        };
        T::parse(&text).map(Self).ok_or_else(T::not_found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        Fields::of_body(text.as_bytes()).unwrap()
    }

    #[test]
    fn everything_wrong_is_found_in_one_go() {
        let mut fields = fields(r#"{"a": 1, "c": "x", "d": {}, "d": {}}"#);
        let read = (
            fields.required("a", str::parse::<String>),
            fields.required("b", str::parse::<String>),
        );
        assert_eq!(read, (None, None));
        let problem = fields.finish(Some(())).unwrap_err();
        let mut places: Vec<&str> = problem
            .errors
            .iter()
            .map(|one| one.location.as_str())
            .collect();
        places.sort_unstable();
        assert_eq!(places, ["body.a", "body.b", "body.c", "body.d", "body.d"]);
    }

    #[test]
    fn a_code_of_its_own_stands_only_alone() {
        let mut alone = fields("{}");
        alone.fault_of(Code::BaseUrlNotAllowed, "baseUrl", "no", None);
        assert_eq!(
            alone.finish(Some(())).unwrap_err().code,
            Code::BaseUrlNotAllowed
        );
        let mut beside = fields(r#"{"x": 1}"#);
        beside.fault_of(Code::BaseUrlNotAllowed, "baseUrl", "no", None);
        assert_eq!(
            beside.finish(Some(())).unwrap_err().code,
            Code::InvalidRequest
        );
    }

    #[test]
    fn secrets_and_what_may_hold_them_are_not_quoted() {
        let mut fields = fields(
            r#"{"secret": 1, "clientId": 2, "password": 3, "Secret": 4, "clientSecret": 5,
                "other": {"secret": "deep"}, "list": ["deep"], "plain": 6}"#,
        );
        fields.required("secret", str::parse::<String>);
        let problem = fields.finish(Some(())).unwrap_err();
        for fault in &problem.errors {
            let shown = fault.value.as_ref().map(ToString::to_string);
            match fault.location.as_str() {
                "body.plain" => assert_eq!(shown.as_deref(), Some("6")),
                "body.other" => assert_eq!(shown.as_deref(), Some("\"{…}\"")),
                "body.list" => assert_eq!(shown.as_deref(), Some("\"[…]\"")),
                _ => assert_eq!(shown, None, "{}", fault.location),
            }
        }
    }

    #[test]
    fn a_long_value_is_quoted_in_part() {
        let mut fields = fields(&format!("{{\"a\": \"{}\"}}", "é".repeat(5000)));
        fields.optional("a", |_| Err::<(), _>("no"));
        let problem = fields.finish(Some(())).unwrap_err();
        let shown = problem.errors[0].value.as_ref().unwrap().as_str().unwrap();
        assert_eq!(shown.chars().count(), QUOTED_CHARS);
    }

    #[test]
    fn numbers_are_whole_and_in_range() {
        for (text, wanted) in [
            ("5", Some(5)),
            ("0", None),
            ("11", None),
            ("5.0", None),
            ("\"5\"", None),
            ("null", None),
            ("99999999999999999999", None),
        ] {
            let mut fields = fields(&format!("{{\"n\": {text}}}"));
            assert_eq!(fields.optional_integer("n", 1..=10), wanted, "{text}");
            assert_eq!(fields.finish(Some(())).is_ok(), wanted.is_some(), "{text}");
        }
    }
}
