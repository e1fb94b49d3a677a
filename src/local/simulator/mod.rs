//! The vendors on a laptop: both APIs as a client meets them, with their habits and their faults.
//!
//! Everything the vendors would say is written by hand here and shares nothing with the code that
//! reads it, or both would be wrong together.

mod belvo;
mod chance;
mod exchange;
mod notice;
