//! The connectors, against what they connect to.

#[cfg(feature = "connector-postgres")]
mod postgres;
#[cfg(feature = "connector-postgres")]
mod relay;
