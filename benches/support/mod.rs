//! What the benchmarks of the running server share.

pub(crate) mod cpu;
pub(crate) mod database;
pub(crate) mod figures;
pub(crate) mod filling;
pub(crate) mod line;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod memory;
pub(crate) mod pieces;
pub(crate) mod posts;
pub(crate) mod processes;
pub(crate) mod relay;
pub(crate) mod server;
pub(crate) mod usage;
pub(crate) mod vendor;

/// Why a benchmark ends without a table, told to whoever started it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
