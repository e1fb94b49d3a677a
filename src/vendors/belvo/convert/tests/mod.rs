use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::*;

mod accounts;
mod links;
mod listings;
mod transactions;

const ACCOUNT: &str = "0a1b2c3d-4e5f-4678-9abc-def012345678";

fn base() -> Url {
    Url::parse("https://sandbox.belvo.com").unwrap()
}

fn asked() -> AccountToRead<'static> {
    AccountToRead {
        vendor_id: ACCOUNT,
        account_type: AccountType::Bank,
    }
}

/// A listing of one page, from rows as they are written.
fn listing(rows: &[&str]) -> Vec<u8> {
    let (count, rows) = (rows.len(), rows.join(","));
    format!(r#"{{"count":{count},"next":null,"previous":null,"results":[{rows}]}}"#).into_bytes()
}

/// `row` with these members put in the place of its own.
fn with(mut row: Value, members: &Value) -> Value {
    for (name, value) in members.as_object().unwrap() {
        row[name] = value.clone();
    }
    row
}

fn amount_of(text: &str) -> Amount {
    text.parse().unwrap()
}

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

#[expect(clippy::unnecessary_wraps, reason = "it is compared with options")]
fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}
