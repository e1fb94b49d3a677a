//! The vendors on a laptop: both APIs as a client meets them, with their habits and their faults.
//!
//! Everything the vendors would say is written by hand here and shares nothing with the code that
//! reads it, or both would be wrong together.

mod belvo;
mod chance;
mod exchange;
mod money;
mod notice;
mod pluggy;

/// The demo's Pluggy client id.
pub const PLUGGY_CLIENT_ID: &str = "5b1c0f6e-2f0a-4c7e-9a51-0d1e2f3a4b5c";
/// The demo's Pluggy client secret.
pub const PLUGGY_SECRET: &str = "demo-pluggy-secret";
/// The demo's Pluggy item.
pub const PLUGGY_ITEM: &str = "a1b2c3d4-5678-40ab-8def-1234567890ab";
