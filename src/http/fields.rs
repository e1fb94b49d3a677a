//! Reading requests member by member, so that a caller hears of every fault at once.
//!
//! A derived reader stops at the first fault. Here a route names what it reads, faults are gathered
//! on the way, and [`Fields::finish`] turns them into one problem.

use std::{borrow::Cow, collections::BTreeMap, fmt::Display};

use serde_json::Value;

use super::{
    body::whole_body_fault,
    json::Node,
    problem::{Code, Problem},
};
use crate::domain::fault::Fault;

/// What is wrong with a member that nobody reads.
const UNKNOWN: &str = "is not known here; leave it out";
/// The longest text that is quoted back.
const QUOTED_CHARS: usize = 200;

/// The members of a request, and what is wrong with them so far.
#[derive(Debug)]
pub(super) struct Fields {
    place: Cow<'static, str>,
    members: BTreeMap<String, Value>,
    faults: Vec<(Code, Fault)>,
    /// Whether faults repeat the values they are about.
    quotes: bool,
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

    /// Takes a member that is not a text, for whoever reads it himself.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    /// Reads a whole number that has to be there.
    pub(super) fn required_integer(
        &mut self,
        name: &str,
        range: std::ops::RangeInclusive<i64>,
    ) -> Option<i64> {
        if !self.members.contains_key(name) {
            self.fault(name, "is required", None);
            return None;
        }
        self.optional_integer(name, range)
    }

    /// Takes an object out that has to be there, to be read member by member and given back to
    /// [`close`](Self::close).
    pub(super) fn required_object(&mut self, name: &str) -> Option<Self> {
        if !self.members.contains_key(name) {
            self.fault(name, "is required", None);
            return None;
        }
        self.object(name)
    }

    /// The same of one that may be left out.
    pub(super) fn object(&mut self, name: &str) -> Option<Self> {
        let value = self.members.remove(name)?;
        self.inside(name, value)
    }

    /// Takes a list of objects out that has to be there, as [`object`](Self::object) does.
    pub(super) fn required_objects(&mut self, name: &str) -> Option<Vec<Self>> {
        let Some(value) = self.members.remove(name) else {
            self.fault(name, "is required", None);
            return None;
        };
        let Value::Array(values) = value else {
            let message = format!("must be a list of objects, not {}", kind(&value));
            self.fault(name, message, Some(value));
            return None;
        };
        let inside: Vec<Option<Self>> = values
            .into_iter()
            .enumerate()
            .map(|(at, value)| self.inside(&format!("{name}[{at}]"), value))
            .collect();
        inside.into_iter().collect()
    }

    fn inside(&mut self, name: &str, value: Value) -> Option<Self> {
        let Value::Object(members) = value else {
            let message = format!("must be an object, not {}", kind(&value));
            self.fault(name, message, None);
            return None;
        };
        Some(Self {
            place: Cow::Owned(format!("{}.{name}", self.place)),
            members: members.into_iter().collect(),
            faults: Vec::new(),
            quotes: self.quotes,
        })
    }

    /// The same, no value of which is repeated.
    pub(super) fn unquoted(mut self) -> Self {
        self.quotes = false;
        self
    }

    /// Takes back what was taken out, with its faults and with whatever nobody has read of it.
    pub(super) fn close(&mut self, mut inner: Self) {
        for name in std::mem::take(&mut inner.members).into_keys() {
            inner.fault(&name, UNKNOWN, None);
        }
        self.faults.append(&mut inner.faults);
    }

    /// Says nothing of what was not read: what it should be is not known either.
    pub(super) fn forget_members(&mut self) {
        self.members.clear();
    }

    /// Takes a member out that was sent as `null`; answers whether it was.
    pub(super) fn takes_null(&mut self, name: &str) -> bool {
        let is_null = self.members.get(name).is_some_and(Value::is_null);
        if is_null {
            self.members.remove(name);
        }
        is_null
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
            value: value
                .filter(|_| self.quotes && !is_secret(name))
                .map(shorten),
        };
        self.faults.push((code, fault));
    }

    /// What was read, if nothing at all is wrong.
    pub(super) fn finish<T>(mut self, read: Option<T>) -> Result<T, Problem> {
        // Not quoted: a secret under a name that is only nearly right is still a secret.
        for name in std::mem::take(&mut self.members).into_keys() {
            self.fault(&name, UNKNOWN, None);
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

/// Members whose value is never repeated, however they are spelt or nested: secrets, and where a
/// tenant's own sources are.
fn is_secret(name: &str) -> bool {
    [
        "clientid",
        "secret",
        "password",
        "host",
        "username",
        "certificates",
    ]
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

impl Fields {
    pub(super) fn empty(place: &'static str) -> Self {
        Self {
            place: Cow::Borrowed(place),
            members: BTreeMap::new(),
            faults: Vec::new(),
            quotes: true,
        }
    }

    pub(super) fn of_body(bytes: &[u8]) -> Result<Self, Problem> {
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

    /// Reads the query of a request.
    pub(super) fn of_query(query: &str) -> Self {
        let mut fields = Self::empty("query");
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            if fields.has(&name) {
                fields.fault(&name, "is given more than once; give it once", None);
            } else {
                fields
                    .members
                    .insert(name.into_owned(), value.into_owned().into());
            }
        }
        fields
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
                "other": {"secret": "deep"}, "list": ["deep"], "plain": 6, "unknown": 7}"#,
        );
        for known in ["secret", "other", "list", "plain"] {
            fields.required(known, str::parse::<String>);
        }
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
    fn what_is_inside_is_read_like_the_rest_and_told_with_its_place() {
        let mut outer = fields(
            r#"{"auth": {"key": 5, "odd": 1}, "list": [{"a": 1}, {"a": "x", "odd": 1}, 7], "no": 1}"#,
        );
        let mut auth = outer.required_object("auth").unwrap().unquoted();
        auth.required("key", str::parse::<String>);
        outer.close(auth);
        assert!(outer.required_objects("list").is_none(), "one is no object");
        assert!(outer.required_objects("no").is_none());
        assert!(outer.object("missing").is_none());
        assert!(outer.required_object("gone").is_none());
        let problem = outer.finish(Some(())).unwrap_err();
        let told: Vec<(&str, bool)> = problem
            .errors
            .iter()
            .map(|fault| (fault.location.as_str(), fault.value.is_some()))
            .collect();
        assert_eq!(
            told,
            [
                ("body.auth.key", false),
                ("body.auth.odd", false),
                ("body.list[2]", false),
                ("body.no", true),
                ("body.gone", false),
            ]
        );
    }

    #[test]
    fn null_is_told_from_a_value_and_from_nothing() {
        let mut fields = fields(r#"{"a": null, "b": "x"}"#);
        assert!(fields.takes_null("a"));
        assert!(!fields.takes_null("b"));
        assert!(!fields.takes_null("c"));
        assert!(!fields.has("a") && fields.has("b"));
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
