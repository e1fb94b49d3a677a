//! Stand-ins that let one command run with nothing else installed.

pub mod embedded_pg;
pub mod simulator;
