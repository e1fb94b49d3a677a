//! How Belvo writes money and time.

use std::str::FromStr as _;

use chrono::{DateTime, Utc};
use serde_json::{Number, Value};

/// Money as a JSON number, made from its digits.
pub(super) fn money(cents: i64) -> Value {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    Number::from_str(&format!("{sign}{}.{:02}", cents / 100, cents % 100))
        .map_or(Value::Null, Value::Number)
}

/// The cents of a JSON number or of text that looks like one.
pub(super) fn cents(value: &Value) -> Option<i64> {
    let text = match value {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or((1, &*text), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if fraction.len() > 4 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<2}")[..2].parse().ok()?;
    let whole: i64 = whole.parse().ok()?;
    Some(sign * whole.checked_mul(100)?.checked_add(fraction)?)
}

/// A timestamp in one of the four forms that Belvo mixes: three or six digits of a second, and
/// either spelling of UTC. `habit` picks one.
pub(super) fn stamp(at: DateTime<Utc>, habit: u128) -> String {
    let form = match habit % 4 {
        0 => "%Y-%m-%dT%H:%M:%S%.6fZ",
        1 => "%Y-%m-%dT%H:%M:%S%.3fZ",
        2 => "%Y-%m-%dT%H:%M:%S%.6f+00:00",
        _ => "%Y-%m-%dT%H:%M:%S%.3f+00:00",
    };
    at.format(form).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn money_keeps_its_sign_and_its_cents() {
        assert_eq!(money(14_990).to_string(), "149.9");
        assert_eq!(money(-5).to_string(), "-0.05");
        for amount in [0, 1, 99, 100, -14_990, 123_456_789_012] {
            assert_eq!(cents(&money(amount)), Some(amount));
        }
        assert_eq!(cents(&json!("10.5")), Some(1050));
        assert_eq!(cents(&json!("ten")), None);
        assert_eq!(cents(&json!(null)), None);
    }

    #[test]
    fn timestamps_come_in_four_forms() {
        let at = DateTime::from_timestamp_micros(1_775_100_000_123_456).unwrap();
        let forms: Vec<_> = (0..4).map(|habit| stamp(at, habit)).collect();
        assert_eq!(
            forms,
            [
                "2026-04-02T03:20:00.123456Z",
                "2026-04-02T03:20:00.123Z",
                "2026-04-02T03:20:00.123456+00:00",
                "2026-04-02T03:20:00.123+00:00",
            ]
        );
    }
}
