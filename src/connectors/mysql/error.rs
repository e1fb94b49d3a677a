//! What the engine's error numbers mean.

use sqlx::mysql::MySqlDatabaseError;

use super::super::ConnectorError;

/// What an error of the driver comes to. The engine's own words may hold names and values of the
/// tenant's, so that nothing but the number is looked at.
pub(super) fn classify(error: &sqlx::Error) -> ConnectorError {
    match error {
        sqlx::Error::Tls(_) => ConnectorError::Tls,
        sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => {
            ConnectorError::Unreachable
        }
        sqlx::Error::PoolTimedOut => ConnectorError::TimedOut,
        sqlx::Error::Database(error) => {
            let number = error
                .try_downcast_ref::<MySqlDatabaseError>()
                .map_or(0, MySqlDatabaseError::number);
            tracing::debug!(number, "the database refused a statement");
            of_number(number)
        }
        _ => ConnectorError::Malformed,
    }
}

fn of_number(number: u16) -> ConnectorError {
    match number {
        // Access denied; the host may not connect; the account is locked, expired or has another
        // way of proving itself.
        1045 | 1130 | 1250 | 1251 | 1524 | 1698 | 1820 | 1862 | 3118 | 3955 | 4151 => {
            ConnectorError::LoginRefused
        }
        // A secure way is asked for by the server.
        1759 | 3159 => ConnectorError::Tls,
        // To the database, the table, a column, or what a view stands on. Of a view that is broken
        // (1356) the engine does not tell whether something is gone or not granted.
        1044 | 1142 | 1143 | 1227 | 1345 | 1370 => ConnectorError::NotPermitted,
        1049 => ConnectorError::NoSuchPlace,
        // Gone since it was described, altered since, or moved from under the snapshot.
        1051 | 1054 | 1146 | 1412 => ConnectorError::Changed,
        // A statement, a lock, a transaction took longer than it may.
        1205 | 1969 | 3024 | 3572 => ConnectorError::TimedOut,
        1040 | 1203 | 1226 => ConnectorError::Throttled,
        // The server goes down, or the connection was ended there.
        1053 | 1077..=1080 | 1152..=1161 | 1317 | 1927 | 3169 | 4031 => ConnectorError::Unreachable,
        _ => ConnectorError::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_that_can_be_acted_on_are_told_apart() {
        for (number, error) in [
            (1045, ConnectorError::LoginRefused),
            (1044, ConnectorError::NotPermitted),
            (1049, ConnectorError::NoSuchPlace),
            (1146, ConnectorError::Changed),
            (1969, ConnectorError::TimedOut),
            (1040, ConnectorError::Throttled),
            (1053, ConnectorError::Unreachable),
            (1064, ConnectorError::Refused),
            (1356, ConnectorError::Refused),
        ] {
            assert_eq!(of_number(number), error, "{number}");
        }
    }

    #[test]
    fn a_broken_line_is_no_answer() {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        assert_eq!(
            classify(&sqlx::Error::Io(reset)),
            ConnectorError::Unreachable
        );
        assert_eq!(
            classify(&sqlx::Error::Tls("canary".into())),
            ConnectorError::Tls
        );
    }
}
