//! The forms in which Belvo writes dates.

use std::ops::Range;

use chrono::{
    DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, SubsecRound as _,
    TimeDelta, Utc,
};

/// How far Brazil's clocks are behind UTC, all year since 2019.
const BRAZIL_BEHIND_UTC: TimeDelta = TimeDelta::hours(3);

/// The years that a bank can mean.
const YEARS: Range<i32> = 1900..2200;

/// A date, or a date with a time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum When {
    Day(NaiveDate),
    Moment(DateTime<FixedOffset>),
}

impl When {
    /// Reads a date; or a date-time with any number of fraction digits and with `Z`, an offset, or
    /// nothing, which is taken for UTC.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let when = if let [_, _, _, _, b'-', _, _, b'-', _, _] = text.as_bytes() {
            Self::Day(text.parse().ok()?)
        } else if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
            Self::Moment(moment)
        } else {
            Self::Moment(text.parse::<NaiveDateTime>().ok()?.and_utc().fixed_offset())
        };
        YEARS.contains(&when.day().year()).then_some(when)
    }

    /// The day as it is written.
    pub(super) fn day(self) -> NaiveDate {
        match self {
            Self::Day(day) => day,
            Self::Moment(moment) => moment.date_naive(),
        }
    }

    /// The instant; for a day, its first one in UTC.
    pub(super) fn instant(self) -> DateTime<Utc> {
        match self {
            Self::Day(day) => day.and_time(NaiveTime::MIN).and_utc(),
            // Finer than microseconds would be lost in the database, and the row would look changed.
            Self::Moment(moment) => moment.to_utc().trunc_subsecs(6),
        }
    }

    /// The instant, if it is one: some banks know only the day and have it written as midnight UTC.
    pub(super) fn time_of_day(self) -> Option<DateTime<Utc>> {
        let instant = self.instant();
        (instant.time() != NaiveTime::MIN).then_some(instant)
    }

    /// The calendar day in Brazil; the day as it is written, if there is no time of day to it.
    pub(super) fn day_in_brazil(self) -> NaiveDate {
        self.time_of_day().map_or(self.day(), |instant| {
            (instant - BRAZIL_BEHIND_UTC).date_naive()
        })
    }
}

/// The first instant of a day in Brazil.
pub(super) fn midnight_in_brazil(day: NaiveDate) -> DateTime<Utc> {
    day.and_time(NaiveTime::MIN).and_utc() + BRAZIL_BEHIND_UTC
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_is_read() {
        for (text, day, instant) in [
            ("2026-04-02", "2026-04-02", "2026-04-02T00:00:00Z"),
            ("2026-04-02T14:07:33Z", "2026-04-02", "2026-04-02T14:07:33Z"),
            (
                "2026-04-02T14:07:33.120Z",
                "2026-04-02",
                "2026-04-02T14:07:33.120Z",
            ),
            (
                "2026-04-02T14:07:33.120394Z",
                "2026-04-02",
                "2026-04-02T14:07:33.120394Z",
            ),
            (
                "2026-04-02T14:07:33.120394+00:00",
                "2026-04-02",
                "2026-04-02T14:07:33.120394Z",
            ),
            (
                "2026-04-02T22:30:00.000-03:00",
                "2026-04-02",
                "2026-04-03T01:30:00Z",
            ),
            (
                "2026-04-02T14:07:33.120",
                "2026-04-02",
                "2026-04-02T14:07:33.120Z",
            ),
            (" 2026-04-02 ", "2026-04-02", "2026-04-02T00:00:00Z"),
        ] {
            let when = When::parse(text).unwrap();
            assert_eq!(when.day().to_string(), day, "{text}");
            assert_eq!(
                when.instant(),
                instant.parse::<DateTime<Utc>>().unwrap(),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_date_of_our_time_is_not_read() {
        for text in [
            "",
            "yesterday",
            "2026-02-30",
            "2026-4-2",
            "02/04/2026",
            "20260402",
            "1775138853",
            "+2026-4-02",
            "0000-00-00",
            "0001-01-01",
            "9999-12-31",
            "2026-04-02T25:00:00Z",
            "0000-01-01T00:00:00+23:59",
            "9999-12-31T23:59:59-23:59",
            "é2026-04-0",
        ] {
            assert_eq!(When::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn midnight_in_utc_is_only_a_day() {
        for (text, day) in [
            ("2026-04-02T00:00:00.000Z", "2026-04-02"),
            ("2026-04-02", "2026-04-02"),
            ("2026-04-02T00:00:00.001Z", "2026-04-01"),
            ("2026-04-02T02:59:59Z", "2026-04-01"),
            ("2026-04-02T03:00:00Z", "2026-04-02"),
            ("2026-04-02T00:00:00-03:00", "2026-04-02"),
        ] {
            let when = When::parse(text).unwrap();
            assert_eq!(when.day_in_brazil().to_string(), day, "{text}");
        }
        let day = "2026-04-02".parse().unwrap();
        assert_eq!(
            midnight_in_brazil(day).to_rfc3339(),
            "2026-04-02T03:00:00+00:00"
        );
    }
}
