//! The query language of the lists: what each list understands, and what was asked of it.

use std::cmp::Ordering;

use chrono::{DateTime, NaiveDate, Utc};

use super::super::exchange::Ask;
use super::refusal::Refusal;

/// The most that a page holds.
pub(super) const MOST_PER_PAGE: usize = 1000;

/// The parameters of one list.
#[derive(Debug)]
pub(super) struct Vocabulary {
    /// Compared as they are; `name__in` takes several.
    pub(super) equal: &'static [&'static str],
    /// Compared as times, with the suffixes of [`Op`].
    pub(super) moments: &'static [&'static str],
    /// What Belvo documents and this world does not do; with any suffix.
    pub(super) beyond: &'static [&'static str],
    pub(super) required: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    On,
    After,
    From,
    Before,
    Until,
    Between,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    Day(NaiveDate),
    Instant(DateTime<Utc>),
}

#[derive(Debug)]
pub(super) struct Span {
    pub(super) field: &'static str,
    op: Op,
    low: Moment,
    high: Moment,
}

#[derive(Debug)]
pub(super) struct Paging {
    pub(super) page: usize,
    pub(super) size: usize,
}

/// What was asked of a list.
#[derive(Debug)]
pub(super) struct Query {
    pub(super) equal: Vec<(&'static str, Vec<String>)>,
    pub(super) spans: Vec<Span>,
    /// The members to keep, and the members to leave out.
    pub(super) fields: Vec<String>,
    pub(super) omit: Vec<String>,
    pub(super) paging: Paging,
}

enum Term {
    Page,
    PageSize,
    Fields,
    Omit,
    Equal(&'static str, bool),
    Moment(&'static str, Op),
    Beyond,
    Unknown,
}

impl Vocabulary {
    /// Whether the edge would let these parameters through.
    pub(super) fn vets(&self, ask: &Ask<'_>) -> bool {
        ask.query
            .iter()
            .all(|(name, _)| !matches!(self.term(name), Term::Unknown))
    }

    fn term(&self, name: &str) -> Term {
        match name {
            "page" => return Term::Page,
            "page_size" => return Term::PageSize,
            "fields" => return Term::Fields,
            "omit" => return Term::Omit,
            _ => {}
        }
        let among = |names: &'static [&'static str], wanted: &str| {
            names.iter().copied().find(|name| *name == wanted)
        };
        let (stem, suffix) = name.rsplit_once("__").unwrap_or((name, ""));
        if let Some(field) = among(self.equal, name) {
            return Term::Equal(field, false);
        }
        if suffix == "in"
            && let Some(field) = among(self.equal, stem)
        {
            return Term::Equal(field, true);
        }
        if let (Some(field), Some(op)) = (among(self.moments, stem), Op::of(suffix)) {
            return Term::Moment(field, op);
        }
        let known = suffix.is_empty() || suffix == "in" || Op::of(suffix).is_some();
        if among(self.beyond, name).is_some() || (known && among(self.beyond, stem).is_some()) {
            return Term::Beyond;
        }
        Term::Unknown
    }

    /// Reads the query of `ask`. A parameter that nobody documents is ignored, as Belvo does when
    /// its edge has let it pass; a later value of one name wins over an earlier one.
    pub(super) fn read(&self, ask: &Ask<'_>, page_size: usize) -> Result<Query, Refusal> {
        let mut query = Query {
            equal: Vec::new(),
            spans: Vec::new(),
            fields: Vec::new(),
            omit: Vec::new(),
            paging: Paging {
                page: 1,
                size: page_size,
            },
        };
        for (name, value) in &ask.query {
            match self.term(name) {
                Term::Page => query.paging.page = page(value)?,
                Term::PageSize => {
                    query.paging.size = match value.parse::<usize>() {
                        Ok(size) if size > 0 => size.min(MOST_PER_PAGE),
                        _ => page_size,
                    }
                }
                Term::Fields => query.fields = parts(value),
                Term::Omit => query.omit = parts(value),
                Term::Equal(field, several) => {
                    let values = if several {
                        parts(value)
                    } else {
                        vec![value.clone()]
                    };
                    query.equal.push((field, values));
                }
                Term::Moment(field, op) => query.spans.push(Span::read(field, op, value)?),
                Term::Beyond => {
                    return Err(Refusal::new(
                        501,
                        "not_simulated",
                        "Belvo documents this filter, but the simulator does not apply it.",
                    )
                    .with("field", name.as_str()));
                }
                Term::Unknown => {}
            }
        }
        match self.required {
            Some(field) if query.equal.iter().all(|(name, _)| *name != field) => {
                Err(Refusal::required(field))
            }
            _ => Ok(query),
        }
    }
}

impl Op {
    fn of(suffix: &str) -> Option<Self> {
        Some(match suffix {
            "" => Self::On,
            "gt" => Self::After,
            "gte" => Self::From,
            "lt" => Self::Before,
            "lte" => Self::Until,
            "range" => Self::Between,
            _ => return None,
        })
    }
}

impl Moment {
    fn read(field: &'static str, text: &str) -> Result<Self, Refusal> {
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return Ok(Self::Day(day));
        }
        // Only the time of collection is documented to take more than a date.
        match DateTime::parse_from_rfc3339(text) {
            Ok(at) if field == "collected_at" => Ok(Self::Instant(at.to_utc())),
            _ => Err(Refusal::invalid(field, "Enter a valid date.")),
        }
    }
}

impl Span {
    fn read(field: &'static str, op: Op, value: &str) -> Result<Self, Refusal> {
        let (low, high) = match op {
            Op::Between => value
                .split_once(',')
                .ok_or_else(|| Refusal::invalid(field, "Enter two dates."))?,
            _ => (value, value),
        };
        Ok(Self {
            field,
            op,
            low: Moment::read(field, low)?,
            high: Moment::read(field, high)?,
        })
    }

    pub(super) fn holds_day(&self, day: NaiveDate) -> bool {
        self.holds(|moment| match moment {
            Moment::Day(other) => day.cmp(other),
            Moment::Instant(at) => day.cmp(&at.date_naive()),
        })
    }

    /// A bare date means the whole of that day.
    pub(super) fn holds_instant(&self, instant: DateTime<Utc>) -> bool {
        self.holds(|moment| match moment {
            Moment::Day(day) => instant.date_naive().cmp(day),
            Moment::Instant(at) => instant.cmp(at),
        })
    }

    fn holds(&self, against: impl Fn(&Moment) -> Ordering) -> bool {
        let (low, high) = (against(&self.low), against(&self.high));
        match self.op {
            Op::On => low.is_eq(),
            Op::After => low.is_gt(),
            Op::From => low.is_ge(),
            Op::Before => low.is_lt(),
            Op::Until => low.is_le(),
            Op::Between => low.is_ge() && high.is_le(),
        }
    }
}

fn page(value: &str) -> Result<usize, Refusal> {
    match value.parse() {
        Ok(page) if page > 0 => Ok(page),
        _ => Err(no_such_page()),
    }
}

pub(super) fn no_such_page() -> Refusal {
    Refusal::new(404, "not_found", "Invalid page.")
}

fn parts(value: &str) -> Vec<String> {
    value.split(',').map(str::to_owned).collect()
}
