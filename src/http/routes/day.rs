//! Calendar days, as they are asked for.

use chrono::NaiveDate;

/// Why a text is no day.
#[derive(Debug, thiserror::Error)]
#[error("must be a day such as 2026-01-31")]
pub(super) struct NotADay;

/// Reads a day in the one way that it is written.
pub(super) fn day(text: &str) -> Result<NaiveDate, NotADay> {
    let day: NaiveDate = text.parse().map_err(|_| NotADay)?;
    // Four digits for the year, so that what comes before and after is a day, too.
    (day.to_string() == text && text.len() == 10)
        .then_some(day)
        .ok_or(NotADay)
}
