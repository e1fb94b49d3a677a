//! One page of a list, in the envelope that every list shares.

use serde_json::{Value, json};
use url::form_urlencoded;

use super::super::exchange::{Answer, Ask};
use super::query::{Query, no_such_page};
use super::refusal::Refusal;

/// What the world does to the `next` of every page while it is told to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct NextTrick {
    /// Each page names itself as the next one.
    pub(super) repeat: bool,
    /// The next page is said to be on this host.
    pub(super) foreign: Option<String>,
}

/// Lays one page out. Only the items of the page are written.
pub(super) fn list<T>(
    ask: &Ask<'_>,
    query: &Query,
    trick: &NextTrick,
    items: impl Iterator<Item = T>,
    write: impl Fn(&mut String, &T),
) -> Result<Answer, Refusal> {
    let page = query.paging.page;
    let start = (page - 1).saturating_mul(query.paging.size);
    let end = start.saturating_add(query.paging.size);
    let mut count = 0;
    let mut results = String::new();
    for item in items {
        if (start..end).contains(&count) {
            if count > start {
                results.push(',');
            }
            if query.fields.is_empty() && query.omit.is_empty() {
                write(&mut results, &item);
            } else {
                let mut whole = String::new();
                write(&mut whole, &item);
                results.push_str(&trimmed(&whole, query));
            }
        }
        count += 1;
    }
    if page > 1 && start >= count {
        return Err(no_such_page());
    }

    let host = trick.foreign.as_deref().unwrap_or(ask.host);
    let next = if trick.repeat {
        Some(address(ask, host, page))
    } else {
        (end < count).then(|| address(ask, host, page + 1))
    };
    let previous = (page > 1).then(|| address(ask, ask.host, page - 1));
    let body = format!(
        "{{\"count\":{count},\"next\":{},\"previous\":{},\"results\":[{results}]}}",
        json!(next),
        json!(previous)
    );
    Ok(Answer {
        body: body.into_bytes(),
        ..Answer::json(200, &Value::Null)
    })
}

/// The address of another page of the same list; the first page needs no number.
fn address(ask: &Ask<'_>, host: &str, page: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in ask.query.iter().filter(|(name, _)| name != "page") {
        query.append_pair(name, value);
    }
    if page > 1 {
        query.append_pair("page", &page.to_string());
    }
    let query = query.finish();
    let mark = if query.is_empty() { "" } else { "?" };
    format!("http://{host}{}{mark}{query}", ask.path)
}

/// An item without the members that were not asked for.
fn trimmed(whole: &str, query: &Query) -> String {
    match serde_json::from_str(whole) {
        Ok(Value::Object(mut members)) => {
            members.retain(|name, _| {
                (query.fields.is_empty() || query.fields.contains(name))
                    && !query.omit.contains(name)
            });
            Value::Object(members).to_string()
        }
        _ => whole.to_owned(),
    }
}
