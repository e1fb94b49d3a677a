//! What is logged, and how.

use super::{
    reader::Reader,
    variables::{LOG, LOG_FORMAT},
};

/// The settings of the log.
#[derive(Clone, Debug)]
pub struct Log {
    /// Which lines are written; telemetry knows what it means.
    pub filter: String,
    /// How they are written.
    pub format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// Words, for people.
    Text,
}

impl Log {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let filter = reader.words(&LOG);
        let format = reader.parsed(&LOG_FORMAT, format);
        Some(Self {
            filter: filter?,
            format: format?,
        })
    }
}

fn format(text: &str) -> Result<LogFormat, &'static str> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        _ => Err("is neither `json` nor `text`"),
    }
}
