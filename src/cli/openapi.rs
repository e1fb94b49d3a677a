//! `openapi`: the OpenAPI document.

use std::{fs, path::Path, process::ExitCode};

use clap::Args;
use serde_json::Value;

use super::{Failure, say};
use crate::http::openapi;

/// Where the document is committed.
const COMMITTED: &str = "openapi/discovery.json";
/// More differences than this help nobody.
const SHOWN: usize = 40;

#[derive(Args, Debug)]
pub(super) struct OpenapiArgs {
    /// Compares with the committed document instead of printing
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &OpenapiArgs) -> Result<ExitCode, Failure> {
    let document = openapi::to_pretty_json();
    if !args.check {
        say(document)?;
        return Ok(ExitCode::SUCCESS);
    }
    let committed = fs::read_to_string(Path::new(COMMITTED)).map_err(|error| {
        format!("can't read {COMMITTED}: {error}; run this in the project's root")
    })?;
    let differences = differences(
        &serde_json::from_str(&committed)?,
        &serde_json::from_str(document)?,
    );
    if differences.is_empty() {
        say(&format!("{COMMITTED} is what the server answers"))?;
        return Ok(ExitCode::SUCCESS);
    }
    say(&format!(
        "{COMMITTED} is not what the server answers (- committed, + server):\n{}\n\n\
         Adopt the change with: cargo run -- openapi > {COMMITTED}",
        differences[..differences.len().min(SHOWN)].join("\n")
    ))?;
    Ok(ExitCode::FAILURE)
}

/// What differs between two documents, each difference with the place where it is.
fn differences(committed: &Value, served: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare("", committed, served, &mut found);
    found
}

fn compare(place: &str, committed: &Value, served: &Value, found: &mut Vec<String>) {
    match (committed, served) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in old {
                let place = format!("{place}/{name}");
                match new.get(name) {
                    Some(other) => compare(&place, value, other, found),
                    None => found.push(format!("- {place}")),
                }
            }
            for name in new.keys().filter(|name| !old.contains_key(*name)) {
                found.push(format!("+ {place}/{name}"));
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (at, (value, other)) in old.iter().zip(new).enumerate() {
                compare(&format!("{place}/{at}"), value, other, found);
            }
        }
        _ if committed == served => {}
        _ => {
            found.push(format!("- {place}: {committed}"));
            found.push(format!("+ {place}: {served}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_difference_is_named_by_its_place_and_order_is_none() {
        let old = json!({"a": {"b": 1, "c": [1, 2]}, "gone": true});
        let same = json!({"gone": true, "a": {"c": [1, 2], "b": 1}});
        assert_eq!(differences(&old, &same), [""; 0]);
        let new = json!({"a": {"b": 2, "c": [1, 3], "new": {}}});
        assert_eq!(
            differences(&old, &new),
            [
                "- /a/b: 1",
                "+ /a/b: 2",
                "- /a/c/1: 2",
                "+ /a/c/1: 3",
                "+ /a/new",
                "- /gone",
            ]
        );
    }
}
