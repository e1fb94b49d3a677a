//! Why a source could not be read, named by what can be done about it.

/// Why a source could not be read.
///
/// Nothing of the source's own words, of its host, or of who logs in is in here: those are secrets
/// of the tenant, and texts of strangers.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectorError {
    /// The deployment does not let connections name this host.
    #[error("the host is not among those that connections may name")]
    HostNotAllowed,
    /// Nobody answers, or the connection broke.
    #[error("the source could not be reached")]
    Unreachable,
    /// It took too long.
    #[error("the source took too long")]
    TimedOut,
    /// A secure connection was asked for and could not be made.
    #[error("no secure connection to the source could be made")]
    Tls,
    /// The login was refused.
    #[error("the source refused the login")]
    LoginRefused,
    /// The login may not read this.
    #[error("the login may not read what was asked for")]
    NotPermitted,
    /// There is no such database, schema or path.
    #[error("the source has no such place")]
    NoSuchPlace,
    /// There is no such table, or not any more.
    #[error("the source has no table of that name")]
    NoSuchTable {
        /// What was asked for.
        table: String,
    },
    /// There is no such column, or not any more.
    #[error("the table has no column of that name")]
    NoSuchColumn {
        /// What was asked for.
        table: String,
        /// What was asked for of it.
        column: String,
    },
    /// A column can't be compared with the text it was to equal.
    #[error("the column can't have the value that was asked for")]
    BadFilter {
        /// The column.
        column: String,
    },
    /// A column was to tell the days of rows, and holds none.
    #[error("the column holds neither days nor instants")]
    NoDates {
        /// The column.
        column: String,
    },
    /// The source changed while it was read.
    #[error("the source changed while it was read")]
    Changed,
    /// More came than the limits allow.
    #[error("the answer is larger than the limits allow")]
    TooLarge,
    /// What came could not be understood.
    #[error("the source answered something that can't be understood")]
    Malformed,
    /// It asks to be left alone for a while.
    #[error("the source asks to be asked less often")]
    Throttled,
    /// Something else that the source would not do.
    #[error("the source refused to answer")]
    Refused,
}

impl ConnectorError {
    /// A stable word for records and metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::HostNotAllowed => "host_not_allowed",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed_out",
            Self::Tls => "tls",
            Self::LoginRefused => "login_refused",
            Self::NotPermitted => "not_permitted",
            Self::NoSuchPlace => "no_such_place",
            Self::NoSuchTable { .. } => "no_such_table",
            Self::NoSuchColumn { .. } => "no_such_column",
            Self::BadFilter { .. } => "bad_filter",
            Self::NoDates { .. } => "no_dates",
            Self::Changed => "changed",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::Throttled => "throttled",
            Self::Refused => "refused",
        }
    }

    /// Whether the same may succeed later without anybody's doing.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::Changed | Self::Throttled
        )
    }
}
