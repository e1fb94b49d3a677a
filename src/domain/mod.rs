//! Types and rules; no async, no I/O.

pub mod account;
pub mod address;
pub mod audit;
pub mod base_url;
pub mod caller;
pub mod clock;
pub mod connection;
pub mod connector;
pub mod credential;
pub mod delivery;
pub mod event;
pub mod fault;
pub mod host_rule;
pub mod ids;
pub mod money;
pub mod pull;
pub mod random;
pub mod replacement;
pub mod secret;
pub mod source;
pub mod status;
pub mod transaction;
pub mod vendor;
pub mod webhook_token;
