//! The connectors, against what they connect to.

mod rest;
