//! Numbers as a table shows them.

use std::time::Duration;

/// A duration in milliseconds, with two decimals.
pub(crate) fn millis(duration: Duration) -> String {
    hundredths(duration.as_micros() / 10)
}

/// A number of hundredths, as a decimal.
pub(crate) fn hundredths(number: u128) -> String {
    format!("{}.{:02}", number / 100, number % 100)
}
