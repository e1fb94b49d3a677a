//! What can go wrong with the database, named by what the caller can do about it.

use sqlx::{
    Error,
    error::{DatabaseError, ErrorKind},
};
use uuid::Uuid;

/// A constraint whose violation means something to a use case.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Constraint {
    /// A living connection of the tenant has that config name.
    ConnectionConfigName,
    /// A pull of the connection waits already.
    WaitingPull,
    /// A pull of the connection runs already.
    RunningPull,
    /// An extraction of the connection runs already.
    RunningExtraction,
}

impl Constraint {
    /// The names are part of the agreement between the migrations and this code.
    fn named(name: &str) -> Option<Self> {
        match name {
            "connections_tenant_id_config_name_key" => Some(Self::ConnectionConfigName),
            "pulls_waiting_idx" => Some(Self::WaitingPull),
            "pulls_running_idx" => Some(Self::RunningPull),
            "extractions_running_idx" => Some(Self::RunningExtraction),
            _ => None,
        }
    }
}

/// Why the database did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// Nobody home, or too busy: the same request may succeed in a moment.
    #[error("the database is not available now")]
    Unavailable(#[source] Error),
    /// The change contradicts a rule that a use case knows.
    #[error("the change violates {0:?}")]
    Violates(Constraint, #[source] Error),
    /// A stored value does not read back: somebody else wrote it, or we did so wrongly.
    #[error("{table}.{column} of {id} does not read back")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row.
        id: Uuid,
    },
    /// A defect of ours.
    #[error("the database refused a statement")]
    Refused(#[source] Error),
}

impl From<Error> for StorageError {
    fn from(error: Error) -> Self {
        let constraint = error
            .as_database_error()
            .filter(|database| database.kind() == ErrorKind::UniqueViolation)
            .and_then(DatabaseError::constraint)
            .and_then(Constraint::named);
        if let Some(constraint) = constraint {
            Self::Violates(constraint, error)
        } else if is_passing(&error) {
            Self::Unavailable(error)
        } else {
            Self::Refused(error)
        }
    }
}

impl StorageError {
    /// Whether the database refused because the role may not do that.
    pub(super) fn is_forbidden(&self) -> bool {
        match self {
            Self::Refused(error) => error
                .as_database_error()
                .and_then(DatabaseError::code)
                .is_some_and(|code| code == "42501"),
            _ => false,
        }
    }
}

/// Whether the trouble is likely to pass by itself.
fn is_passing(error: &Error) -> bool {
    match error {
        Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed
        | Error::BeginFailed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_) => true,
        Error::Database(database) => database.code().is_some_and(|code| {
            // Connection trouble, resources used up (a full disk too), shutting down or starting, ...
            ["08", "53", "57P"].iter().any(|class| code.starts_with(class))
                // ... lock not granted, statement cut short, serialization, deadlock, standby.
                || ["55P03", "57014", "40001", "40P01", "25006"].contains(&&*code)
        }),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_that_passes_is_told_from_a_defect() {
        let io = Error::Io(std::io::ErrorKind::ConnectionRefused.into());
        assert!(matches!(
            StorageError::from(io),
            StorageError::Unavailable(_)
        ));
        assert!(matches!(
            StorageError::from(Error::PoolTimedOut),
            StorageError::Unavailable(_)
        ));
        assert!(matches!(
            StorageError::from(Error::RowNotFound),
            StorageError::Refused(_)
        ));
    }
}
