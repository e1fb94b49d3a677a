//! JSON as it was sent: repeated members are noticed, which `serde_json::Value` would hide.

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// A JSON value whose objects keep every member they were sent with.
#[derive(Debug)]
pub(super) enum Node {
    /// Anything that holds no other value.
    Plain(Value),
    /// A list.
    List(Vec<Node>),
    /// An object, members in order, repeated ones included.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Reads a whole document and nothing behind it. Nesting is bounded by the parser.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// The places of members that were sent more than once.
    pub(super) fn repeated(&self, place: &str, found: &mut Vec<String>) {
        match self {
            Self::Plain(_) => {}
            Self::List(nodes) => {
                for (at, node) in nodes.iter().enumerate() {
                    node.repeated(&format!("{place}[{at}]"), found);
                }
            }
            Self::Object(members) => {
                for (at, (name, node)) in members.iter().enumerate() {
                    let place = format!("{place}.{name}");
                    node.repeated(&place, found);
                    let is_second = members[..at]
                        .iter()
                        .filter(|(other, _)| other == name)
                        .count()
                        == 1;
                    if is_second {
                        found.push(place);
                    }
                }
            }
        }
    }

    /// The value, as others know it; of repeated members the first one.
    pub(super) fn into_value(self) -> Value {
        match self {
            Self::Plain(value) => value,
            Self::List(nodes) => nodes.into_iter().map(Self::into_value).collect(),
            Self::Object(members) => {
                let mut map = Map::new();
                for (name, node) in members {
                    map.entry(name).or_insert_with(|| node.into_value());
                }
                Value::Object(map)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Plain(Value::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    // No member of ours is a fraction; the number is kept only to be quoted in the fault.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        Number::from_f64(value)
            .map(|number| Node::Plain(number.into()))
            .ok_or_else(|| E::custom("not a number"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Plain(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = object.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_members_are_found_at_every_depth() {
        let text = r#"{"a": 1, "b": [{"c": 1, "c": 2, "c": 3}], "a": 2, "d": {"e": {}, "e": {}}}"#;
        let mut found = Vec::new();
        Node::parse(text.as_bytes())
            .unwrap()
            .repeated("body", &mut found);
        found.sort();
        assert_eq!(found, ["body.a", "body.b[0].c", "body.d.e"]);
    }

    #[test]
    fn what_is_not_one_json_document_is_refused() {
        let deep = format!("{}{}", "[".repeat(1000), "]".repeat(1000));
        for text in [
            "",
            "{",
            "{} {}",
            "NaN",
            "01",
            "'a'",
            "{\"a\":1,}",
            "\"\\ud800\"",
            &deep,
        ] {
            assert!(Node::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Node::parse(b"\"\xff\"").is_err());
    }
}
