//! The parameters of a scenario, read strictly: whoever steers should learn of a slip.

use serde_json::Value;
use uuid::Uuid;

#[derive(Debug)]
pub(in super::super) struct Params<'a>(&'a Value);

impl<'a> Params<'a> {
    pub(in super::super) fn read(value: &'a Value, known: &[&str]) -> Result<Self, String> {
        let members = match value {
            Value::Null => return Ok(Self(value)),
            Value::Object(members) => members,
            _ => return Err("parameters are an object".to_owned()),
        };
        match members.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(format!(
                "there is no parameter {name:?} here; there are: {}",
                known.join(", ")
            )),
            None => Ok(Self(value)),
        }
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.get(name).is_some()
    }

    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.0.get(name)
    }

    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>, String> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(format!("{name} is text")),
        }
    }

    pub(super) fn choice(&self, name: &str, choices: &[&str]) -> Result<Option<&'a str>, String> {
        match self.text(name)? {
            Some(text) if !choices.contains(&text) => {
                Err(format!("{name} is one of {}", choices.join(", ")))
            }
            other => Ok(other),
        }
    }

    pub(in super::super) fn id(&self, name: &str) -> Result<Option<Uuid>, String> {
        self.text(name)?
            .map(|text| text.parse().map_err(|_| format!("{name} is a UUID")))
            .transpose()
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(format!("{name} is true or false")),
        }
    }

    pub(in super::super) fn count(
        &self,
        name: &str,
        default: u64,
        most: u64,
    ) -> Result<u64, String> {
        match self.0.get(name) {
            None => Ok(default),
            Some(value) => value
                .as_u64()
                .filter(|count| *count <= most)
                .ok_or_else(|| format!("{name} is a number from 0 to {most}")),
        }
    }

    pub(in super::super) fn list(&self, name: &str) -> Result<Option<&'a [Value]>, String> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(format!("{name} is a list")),
        }
    }
}
