//! Where a tenant's Open-Finance aggregator connections live.
//!
//! The modules are ranked, and a module imports only from lower ranks (a test holds them to it):
//!
//! | rank | modules |
//! |---|---|
//! | 5 | [`cli`]: the composition root |
//! | 4 | [`http`]: the operators' and the vendors' door; [`worker`]: who works on pulls |
//! | 3 | [`app`]: use cases |
//! | 2 | [`storage`], [`vendors`], [`connectors`], [`local`] |
//! | 1 | [`vault`], [`net`], [`config`], [`telemetry`], [`shutdown`] |
//! | 0 | [`domain`]: types and rules, no I/O |

pub mod app;
pub mod cli;
pub mod config;
pub mod connectors;
pub mod domain;
pub mod http;
pub mod local;
pub mod net;
pub mod shutdown;
pub mod storage;
pub mod telemetry;
pub mod vault;
pub mod vendors;
pub mod worker;
