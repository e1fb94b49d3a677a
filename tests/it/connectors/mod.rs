//! The connectors, against what they connect to.

mod postgres;
mod relay;
