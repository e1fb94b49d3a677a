//! The connectors, against engines that really run.

mod mysql;
