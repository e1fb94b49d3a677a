//! Which form of an answer a caller wants.

use std::convert::Infallible;

use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, header, request::Parts},
};

/// The form of a list.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Form {
    /// A page, as JSON.
    Page,
    /// Everything, one JSON object a line.
    Lines,
    /// Everything, as a table.
    Table,
}

impl Form {
    const ALL: [Self; 3] = [Self::Page, Self::Lines, Self::Table];

    /// The media type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Page => "application/json",
            Self::Lines => "application/x-ndjson",
            Self::Table => "text/csv; charset=utf-8; header=present",
        }
    }

    /// How much a caller wants this form, in thousandths, by the most specific range that speaks of
    /// it.
    fn weight(self, ranges: &[(String, u16)]) -> u16 {
        let own = self.media_type().split(';').next().unwrap_or_default();
        let kind = own.split('/').next().unwrap_or_default();
        [own.to_owned(), format!("{kind}/*"), "*/*".to_owned()]
            .iter()
            .find_map(|name| ranges.iter().find(|(range, _)| range == name))
            .map_or(0, |(_, weight)| *weight)
    }

    /// What is wanted most. A caller who can take none of them gets a page: that is still of more use
    /// than nothing.
    fn wanted(headers: &HeaderMap) -> Self {
        let ranges: Vec<(String, u16)> = headers
            .get_all(header::ACCEPT)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(range)
            .collect();
        let mut best = (Self::Page, 0);
        for form in Self::ALL {
            let weight = form.weight(&ranges);
            if weight > best.1 {
                best = (form, weight);
            }
        }
        best.0
    }
}

/// A media range and its weight.
fn range(text: &str) -> (String, u16) {
    let mut parts = text.split(';').map(str::trim);
    let name = parts.next().unwrap_or_default().to_ascii_lowercase();
    let weight = parts
        .filter_map(|part| part.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
        .map_or(1000, |(_, value)| thousandths(value.trim()));
    (name, weight)
}

/// A weight from 0 to 1 with up to three digits; what is none counts as 0.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    match whole {
        "1" if digits => 1000,
        "0" if digits => format!("{fraction:0<3}").parse().unwrap_or_default(),
        _ => 0,
    }
}

/// The form that the caller wants most.
#[derive(Debug)]
pub(super) struct Wanted(pub(super) Form);

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(Form::wanted(&parts.headers)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_wanted_form_wins() {
        for (accept, form) in [
            (None, Form::Page),
            (Some(""), Form::Page),
            (Some("*/*"), Form::Page),
            (Some("image/png"), Form::Page),
            (Some("application/json"), Form::Page),
            (Some("application/*"), Form::Page),
            (Some("application/x-ndjson"), Form::Lines),
            (Some("Application/X-NDJSON; charset=utf-8"), Form::Lines),
            (Some("text/csv"), Form::Table),
            (Some("text/*"), Form::Table),
            (Some("text/csv, application/json"), Form::Page),
            (Some("text/csv, */*;q=0.1"), Form::Table),
            (Some("application/json;q=0.5, text/csv;q=0.75"), Form::Table),
            (Some("text/csv;q=0, text/*"), Form::Page),
            (Some("text/csv;q=much"), Form::Page),
            (Some("text/csv;q=0.001"), Form::Table),
            (
                Some("text/csv;q=1.0, application/json;q=0.999"),
                Form::Table,
            ),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().unwrap());
            }
            assert_eq!(Form::wanted(&headers), form, "{accept:?}");
        }
    }
}
