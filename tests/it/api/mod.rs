//! The API, resource by resource, through the router and a real database.

pub(crate) mod aggregator_connections;
mod aggregator_connections_input;
mod connection_health;
mod connector_types;
mod deliveries;
pub(crate) mod discovery_connections;
mod discovery_connections_input;
mod discovery_refresh;
mod extractions;
mod operations;
pub(crate) mod rest_connections;
pub(crate) mod transaction_changes;
mod transactions;
mod webhook_tokens;
