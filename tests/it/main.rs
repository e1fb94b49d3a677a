//! The integration tests: one binary, driven through the router and the commands.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test that can't go on panics"
)]

mod api;
mod audit;
mod authz;
mod clocks;
mod commands;
mod connectors;
mod documents;
mod isolation;
mod keys;
mod layering;
mod list_cost;
mod local;
mod migrations;
mod model;
mod openapi;
mod pulls;
mod rows;
mod secrets;
mod support;
mod survival;
mod vendor_budget;
mod vendor_clients;
mod webhooks;
