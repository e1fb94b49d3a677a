//! Rows that a reader stumbles over.

use chrono::{DateTime, Duration, NaiveTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::local::simulator::pluggy::World;

impl World {
    /// The odd rows of this scenario.
    pub(super) fn oddity(&mut self, name: &str, account: Uuid, now: DateTime<Utc>) -> Vec<Value> {
        let mut draft = |date, description: &str, cents, status: &str| {
            self.draft(account, date, now, description, cents, status)
        };
        match name {
            "midnight-rows" => {
                let day = now.date_naive().and_time(NaiveTime::MIN).and_utc();
                [0, 3 * 60, 2 * 60 + 59]
                    .map(|minutes| {
                        let date = day + Duration::minutes(minutes);
                        draft(
                            date,
                            &format!("AS {}", date.format("%H:%MZ")),
                            -1_000,
                            "POSTED",
                        )
                    })
                    .to_vec()
            }
            "odd-mcc" => [json!(5411), json!("5411"), json!("N/A"), Value::Null]
                .map(|code| {
                    let mut row = draft(now, "MERCADO", -5_000, "POSTED");
                    row["creditCardMetadata"]["payeeMCC"] = code;
                    row
                })
                .to_vec(),
            "unknown-enum-and-field" => {
                let mut row = draft(now, "NOVIDADE", -3_000, "POSTED");
                row["status"] = json!("SETTLING");
                row["operationType"] = json!("PIX_AUTOMATICO");
                row["carbonFootprint"] = json!({ "grams": 12, "source": ["estimate"] });
                let mut other = draft(now, "OUTRA NOVIDADE", -3_100, "POSTED");
                other["type"] = json!("REVERSAL");
                vec![row, other]
            }
            "sign-contradiction" => {
                let mut row = draft(now, "SINAL TROCADO", -6_000, "POSTED");
                row["type"] = json!("CREDIT");
                let mut untyped = draft(now, "SEM TIPO", -6_100, "POSTED");
                untyped["type"] = Value::Null;
                vec![row, untyped]
            }
            // The last of the names: rows that no reader can take, beside one that is well.
            _ => {
                let mut rows = vec![json!(null), json!("a row"), json!({})];
                for (name, value) in [
                    ("id", Value::Null),
                    ("amount", json!("muito")),
                    ("amount", Value::Null),
                    ("date", json!("ontem")),
                    ("date", json!(20_260_902)),
                    ("accountId", json!(["x"])),
                ] {
                    let mut row = draft(now, "LINHA ESTRAGADA", -2_000, "POSTED");
                    row[name] = value;
                    rows.push(row);
                }
                rows.push(draft(now, "LINHA BOA", -2_000, "POSTED"));
                rows
            }
        }
    }
}
