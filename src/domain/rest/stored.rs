//! What is declared of a REST endpoint, as JSON: the form in which it is kept.

use serde_json::{Map, Value, json};
use url::Url;

use super::{Paging, Resource, RestPlace};

/// What was kept can't be read back. Says nothing of its content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the stored form of a REST endpoint can't be read; was it written by a newer version?")]
pub struct InvalidStored;

impl RestPlace {
    /// The form to keep.
    #[must_use]
    pub fn to_stored(&self) -> Value {
        let resources: Vec<Value> = self.resources.iter().map(Resource::to_stored).collect();
        json!({"baseUrl": self.base_url.as_str(), "resources": resources})
    }

    /// Takes back what was checked before it was stored.
    pub fn from_stored(stored: &Value) -> Result<Self, InvalidStored> {
        let resources = stored["resources"].as_array().ok_or(InvalidStored)?;
        Ok(Self {
            base_url: text(stored, "baseUrl")?
                .parse::<Url>()
                .map_err(|_| InvalidStored)?,
            resources: resources
                .iter()
                .map(Resource::from_stored)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Resource {
    fn to_stored(&self) -> Value {
        json!({
            "name": self.name,
            "path": self.path,
            "recordPath": self.record_path,
            "paging": self.paging.to_stored(),
        })
    }

    fn from_stored(stored: &Value) -> Result<Self, InvalidStored> {
        Ok(Self {
            name: text(stored, "name")?,
            path: text(stored, "path")?,
            record_path: text(stored, "recordPath")?,
            paging: Paging::from_stored(&stored["paging"])?,
        })
    }
}

impl Paging {
    /// What kind it is, as callers see it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Page { .. } => "page",
            Self::Cursor { .. } => "cursor",
            Self::Link => "link",
        }
    }

    fn to_stored(&self) -> Value {
        let mut stored = Map::from_iter([("kind".to_owned(), self.kind().into())]);
        let mut keep = |name: &str, value: Value| stored.insert(name.to_owned(), value);
        match self {
            Self::None | Self::Link => {}
            Self::Page {
                parameter,
                first,
                size,
            } => {
                keep("parameter", parameter.as_str().into());
                keep("first", (*first).into());
                if let Some((parameter, records)) = size {
                    keep("sizeParameter", parameter.as_str().into());
                    keep("size", (*records).into());
                }
            }
            Self::Cursor {
                parameter,
                next_path,
            } => {
                keep("parameter", parameter.as_str().into());
                keep("nextPath", next_path.as_str().into());
            }
        }
        stored.into()
    }

    fn from_stored(stored: &Value) -> Result<Self, InvalidStored> {
        match stored["kind"].as_str() {
            Some("none") => Ok(Self::None),
            Some("link") => Ok(Self::Link),
            Some("page") => Ok(Self::Page {
                parameter: text(stored, "parameter")?,
                first: number(stored, "first")?,
                size: if stored.get("sizeParameter").is_some() {
                    Some((text(stored, "sizeParameter")?, number(stored, "size")?))
                } else {
                    None
                },
            }),
            Some("cursor") => Ok(Self::Cursor {
                parameter: text(stored, "parameter")?,
                next_path: text(stored, "nextPath")?,
            }),
            _ => Err(InvalidStored),
        }
    }
}

fn text(stored: &Value, member: &str) -> Result<String, InvalidStored> {
    stored[member]
        .as_str()
        .map(str::to_owned)
        .ok_or(InvalidStored)
}

fn number(stored: &Value, member: &str) -> Result<u32, InvalidStored> {
    stored[member]
        .as_u64()
        .and_then(|number| number.try_into().ok())
        .ok_or(InvalidStored)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> RestPlace {
        let resource = |name: &str, paging| Resource {
            name: name.to_owned(),
            path: format!("/{name}?a=b"),
            record_path: "/data/items".to_owned(),
            paging,
        };
        RestPlace {
            base_url: "https://api.example/v1".parse().unwrap(),
            resources: vec![
                resource("whole", Paging::None),
                resource(
                    "numbered",
                    Paging::Page {
                        parameter: "page".to_owned(),
                        first: 0,
                        size: None,
                    },
                ),
                resource(
                    "sized",
                    Paging::Page {
                        parameter: "page".to_owned(),
                        first: 1,
                        size: Some(("limit".to_owned(), 500)),
                    },
                ),
                resource(
                    "cursor",
                    Paging::Cursor {
                        parameter: "after".to_owned(),
                        next_path: "/meta/next".to_owned(),
                    },
                ),
                resource("link", Paging::Link),
            ],
        }
    }

    #[test]
    fn a_place_is_the_same_after_it_was_stored() {
        let text = place().to_stored().to_string();
        let stored: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(RestPlace::from_stored(&stored), Ok(place()));
    }

    #[test]
    fn the_stored_form_stays_as_it_is() {
        let stored = place().to_stored();
        assert_eq!(stored["baseUrl"], "https://api.example/v1");
        assert_eq!(
            stored["resources"][2],
            json!({
                "name": "sized",
                "path": "/sized?a=b",
                "recordPath": "/data/items",
                "paging": {
                    "kind": "page", "parameter": "page", "first": 1,
                    "sizeParameter": "limit", "size": 500,
                },
            })
        );
        assert_eq!(
            stored["resources"][3]["paging"],
            json!({"kind": "cursor", "parameter": "after", "nextPath": "/meta/next"})
        );
    }

    #[test]
    fn what_is_no_stored_place_is_refused() {
        let good = place().to_stored();
        for (pointer, broken) in [
            ("/baseUrl", json!("not a URL")),
            ("/resources", json!({})),
            ("/resources/0/name", json!(1)),
            ("/resources/1/paging/kind", json!("offset")),
            ("/resources/1/paging/first", json!(-1)),
            ("/resources/2/paging/size", Value::Null),
            ("/resources/3/paging", json!([])),
        ] {
            let mut stored = good.clone();
            *stored.pointer_mut(pointer).unwrap() = broken;
            assert_eq!(
                RestPlace::from_stored(&stored),
                Err(InvalidStored),
                "{pointer}"
            );
        }
    }
}
