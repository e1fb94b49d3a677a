//! One file a resource: what it reads, what it answers, which use case it calls.

pub(super) mod accounts;
pub(super) mod aggregator_connections;
pub(super) mod connection_health;
pub(super) mod connector_types;
mod day;
pub(super) mod deliveries;
pub(super) mod discovery;
pub(super) mod discovery_connections;
pub(super) mod extractions;
pub(super) mod operations;
pub(super) mod pulls;
pub(super) mod rest_connections;
pub(super) mod transaction_changes;
pub(super) mod transactions;
pub(super) mod webhook_tokens;
pub(super) mod webhooks;

/// An instant as it is answered.
fn instant(at: chrono::DateTime<chrono::Utc>) -> String {
    at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
}

/// The schema of a member that holds one of these words.
fn words(words: impl Iterator<Item = &'static str>) -> utoipa::openapi::schema::Object {
    utoipa::openapi::schema::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .enum_values(Some(words))
        .build()
}
