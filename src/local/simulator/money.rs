//! Money as whole cents, read and written without a float in between.

use std::str::FromStr as _;

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
    if fraction.len() > 2 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    if !whole.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let fraction: i64 = format!("{fraction:0<2}").parse().ok()?;
    let whole = whole.parse::<u32>().ok()?;
    Some(sign * (i64::from(whole) * 100 + fraction))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn money_keeps_its_sign_and_its_cents() {
        assert_eq!(money(14_990).to_string(), "149.9");
        assert_eq!(money(-5).to_string(), "-0.05");
        for amount in [0, 1, 99, 100, -14_990, 123_456_789] {
            assert_eq!(cents(&money(amount)), Some(amount));
        }
        assert_eq!(cents(&json!("10.5")), Some(1050));
        for odd in [json!("ten"), json!("-+1"), json!("1.234"), json!(null)] {
            assert_eq!(cents(&odd), None, "{odd}");
        }
    }
}
