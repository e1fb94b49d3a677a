//! What the benchmarks of the running server share.

pub(crate) mod figures;
pub(crate) mod line;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod server;

/// Why a benchmark ends without a table, told to whoever started it.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;
