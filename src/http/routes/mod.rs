//! One file a resource: what it reads, what it answers, which use case it calls.

pub(super) mod aggregator_connections;
pub(super) mod connection_health;
pub(super) mod connector_types;
pub(super) mod operations;
pub(super) mod webhook_tokens;
