//! Dates in the shapes that Pluggy writes them in, and the day that each stands for in Brazil.
//!
//! The day is that of Brasília, three hours behind UTC all year round. Until February 2019 its
//! summers were two hours behind; Pluggy keeps a year of history, so none of its rows is from then.

use chrono::{
    DateTime, Datelike as _, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound as _, TimeDelta, Utc,
};

/// How far Brasília is behind UTC.
const BEHIND: TimeDelta = TimeDelta::hours(3);

/// An instant, and the day that a book-keeper in Brazil would write down for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct When {
    /// The instant.
    pub(super) at: DateTime<Utc>,
    /// The day.
    pub(super) day: NaiveDate,
}

impl When {
    /// A day without a time: Pluggy writes it as midnight in UTC.
    fn of_day(day: NaiveDate) -> Self {
        Self {
            at: day.and_time(NaiveTime::MIN).and_utc(),
            day,
        }
    }
}

/// Reads an instant, a time without a zone, a day or a month.
///
/// Midnight in UTC is a day without a time: shifted to Brazil it would become the day before. A time
/// without a zone is what the bank's clock showed.
pub(super) fn read(text: &str) -> Option<When> {
    let text = text.trim();
    let when = if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
        let at = instant.to_utc();
        let is_day = instant.offset().local_minus_utc() == 0 && at.time() == NaiveTime::MIN;
        let day = if is_day {
            at
        } else {
            at.checked_sub_signed(BEHIND)?
        }
        .date_naive();
        When { at, day }
    } else if let Ok(local) = NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f") {
        if local.time() == NaiveTime::MIN {
            When::of_day(local.date())
        } else {
            let at = local.checked_add_signed(BEHIND)?.and_utc();
            When {
                at,
                day: local.date(),
            }
        }
    } else if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        When::of_day(day)
    } else {
        let (year, month) = text.split_once('-')?;
        When::of_day(NaiveDate::from_ymd_opt(
            year.parse().ok()?,
            month.parse().ok()?,
            1,
        )?)
    };
    // Finer than microseconds would be lost in the database, and the row would look changed.
    let at = when.at.trunc_subsecs(6);
    // No bank has been digital for longer, and no plan reaches further.
    (1900..=2200)
        .contains(&when.day.year())
        .then_some(When { at, ..when })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shape_has_its_instant_and_its_day_in_brazil() {
        for (text, at, day) in [
            // Real instants: local midnight, and one minute before it.
            (
                "2026-09-02T03:00:00.000Z",
                "2026-09-02T03:00:00Z",
                "2026-09-02",
            ),
            (
                "2026-09-02T02:59:00.000Z",
                "2026-09-02T02:59:00Z",
                "2026-09-01",
            ),
            (
                "2026-09-01T02:59:59.999Z",
                "2026-09-01T02:59:59.999Z",
                "2026-08-31",
            ),
            (
                "2026-01-01T00:00:00.001Z",
                "2026-01-01T00:00:00.001Z",
                "2025-12-31",
            ),
            // Summer is like winter.
            ("2026-01-15T02:30:00Z", "2026-01-15T02:30:00Z", "2026-01-14"),
            // Midnight in UTC is a day and nothing more.
            (
                "2026-09-02T00:00:00.000Z",
                "2026-09-02T00:00:00Z",
                "2026-09-02",
            ),
            (
                "2026-09-02T00:00:00+00:00",
                "2026-09-02T00:00:00Z",
                "2026-09-02",
            ),
            // The same instant, told with a zone of its own, is an evening.
            (
                "2026-09-01T21:00:00-03:00",
                "2026-09-02T00:00:00Z",
                "2026-09-01",
            ),
            (
                "2026-09-02T00:00:00-03:00",
                "2026-09-02T03:00:00Z",
                "2026-09-02",
            ),
            // Without a zone.
            ("2026-07-20T00:00:00", "2026-07-20T00:00:00Z", "2026-07-20"),
            (
                "2026-07-20T23:30:00.5",
                "2026-07-21T02:30:00.5Z",
                "2026-07-20",
            ),
            // A day, a month.
            ("2026-07-20", "2026-07-20T00:00:00Z", "2026-07-20"),
            ("2026-07", "2026-07-01T00:00:00Z", "2026-07-01"),
            (" 2026-07-20 ", "2026-07-20T00:00:00Z", "2026-07-20"),
            // Finer than the database.
            (
                "2026-07-20T10:00:00.123456789Z",
                "2026-07-20T10:00:00.123456Z",
                "2026-07-20",
            ),
        ] {
            let when = read(text).unwrap_or_else(|| panic!("{text:?} is a date"));
            assert_eq!(when.at, at.parse::<DateTime<Utc>>().unwrap(), "{text:?}");
            assert_eq!(when.day, day.parse::<NaiveDate>().unwrap(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_date_or_no_likely_one_is_none() {
        for text in [
            "",
            "yesterday",
            "02/09/2026",
            "2026-13-01",
            "2026-02-30",
            "2026-13",
            "2026",
            "1788307200000",
            "0001-01-01T00:00:00Z",
            "9999-12-31T23:59:59Z",
            "262142-12",
            "-262143-01-01",
            "1899-12-31",
        ] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
