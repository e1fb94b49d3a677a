//! The connectors, against what they connect to.

#[cfg(feature = "connector-mysql")]
mod mysql;
#[cfg(feature = "connector-postgres")]
mod postgres;
#[cfg(feature = "connector-postgres")]
mod relay;
#[cfg(feature = "connector-rest")]
mod rest;
