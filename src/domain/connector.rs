//! What kinds of sources a deployment can connect to besides the aggregators.

use serde::Serialize;

/// The family a connector belongs to; what a connection form is chosen by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConnectorCategory {
    /// A database engine.
    Database,
    /// A REST endpoint.
    Rest,
}

/// A registered connector, as a connection form sees it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ConnectorType {
    /// Its name, as in `postgres`.
    pub name: &'static str,
    /// Its family.
    pub category: ConnectorCategory,
}
