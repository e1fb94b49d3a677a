//! The query and the path of a request, and the entity tags of connections.

use axum::{
    extract::{FromRequestParts, Path},
    http::{HeaderMap, header, request::Parts},
};

use super::{fields::Fields, problem::Problem};
use crate::{
    app::{AppError, ExtractionRefusal},
    domain::{
        connection::Version,
        delivery::DeliveryId,
        ids::{ConnectionId, ExtractionId, PullId, TransactionId, WebhookTokenId},
    },
};

/// The query of a request.
#[derive(Debug)]
pub(super) struct Query(pub(super) Fields);

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self(Fields::of_query(query)))
    }
}

/// An identifier in a path. What is no identifier names nothing, so it is answered like one that
/// never was.
#[derive(Debug)]
pub(super) struct Id<T>(pub(super) T);

/// An identifier and the problem of not finding what it names.
pub(super) trait Identifier: Sized {
    fn parse(text: &str) -> Option<Self>;
    fn not_found() -> Problem;
}

pub(super) fn parse_uuid(text: &str) -> Option<uuid::Uuid> {
    // One way to write it, so that one thing has one path.
    (text.len() == 36).then(|| text.parse().ok()).flatten()
}

impl Identifier for ConnectionId {
    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    fn not_found() -> Problem {
        AppError::ConnectionNotFound.into()
    }
}

impl Identifier for WebhookTokenId {
    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    fn not_found() -> Problem {
        AppError::WebhookTokenNotFound.into()
    }
}

impl Identifier for TransactionId {
    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    fn not_found() -> Problem {
        AppError::TransactionNotFound.into()
    }
}

impl Identifier for PullId {
    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    fn not_found() -> Problem {
        AppError::PullNotFound.into()
    }
}

impl Identifier for ExtractionId {
    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    fn not_found() -> Problem {
        AppError::from(ExtractionRefusal::NotFound).into()
    }
}

impl Identifier for DeliveryId {
    fn parse(text: &str) -> Option<Self> {
        parse_uuid(text).map(Self)
    }

    fn not_found() -> Problem {
        AppError::DeliveryNotFound.into()
    }
}

impl<S: Send + Sync, T: Identifier> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(T::not_found());
        };
        T::parse(&text).map(Self).ok_or_else(T::not_found)
    }
}

/// A connection's version as an entity tag.
pub(super) fn etag(version: Version) -> String {
    format!("\"{}\"", version.0)
}

/// The versions that `If-Match` names; `None` when any will do. What is no strong tag of ours
/// matches nothing.
pub(super) fn expected_versions(headers: &HeaderMap) -> Option<Vec<Version>> {
    let mut values = headers.get_all(header::IF_MATCH).iter().peekable();
    values.peek()?;
    let tags: Vec<&str> = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    if tags.contains(&"*") {
        return None;
    }
    let version = |tag: &str| {
        let number = tag.strip_prefix('"')?.strip_suffix('"')?;
        number.parse().ok().map(Version)
    };
    Some(tags.into_iter().filter_map(version).collect())
}
