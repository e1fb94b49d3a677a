//! What an error of the driver or of the server means. The server's own words go nowhere.

use std::{borrow::Cow, io};

use crate::connectors::ConnectorError;

/// What went wrong while the connection was made.
pub(super) fn connecting(error: &sqlx::Error) -> ConnectorError {
    match error {
        // Somebody accepted and hung up, or speaks another protocol: no server is there.
        sqlx::Error::Protocol(_) => ConnectorError::Unreachable,
        error => of(error),
    }
}

/// What went wrong afterwards.
pub(super) fn of(error: &sqlx::Error) -> ConnectorError {
    let meaning = match error {
        sqlx::Error::Database(_) => {
            sqlstate(error).map_or(ConnectorError::Refused, |state| meaning_of(&state))
        }
        sqlx::Error::Tls(_) => ConnectorError::Tls,
        // A handshake that fails comes as data that is not valid.
        sqlx::Error::Io(io) if io.kind() == io::ErrorKind::InvalidData => ConnectorError::Tls,
        sqlx::Error::Io(io) if io.kind() == io::ErrorKind::TimedOut => ConnectorError::TimedOut,
        sqlx::Error::Io(_) => ConnectorError::Unreachable,
        _ => ConnectorError::Malformed,
    };
    tracing::debug!(
        class = meaning.class(),
        sqlstate = sqlstate(error).as_deref(),
        "a database would not answer"
    );
    meaning
}

/// The server's code for what went wrong, if it was the server who said so.
pub(super) fn sqlstate(error: &sqlx::Error) -> Option<Cow<'_, str>> {
    let code = error.as_database_error()?.code()?;
    let plain = code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    plain.then_some(code)
}

/// Appendix A of the manual, as far as it makes a difference. The first row that matches decides.
fn meaning_of(state: &str) -> ConnectorError {
    match state {
        "3D000" | "3F000" => ConnectorError::NoSuchPlace,
        "42501" => ConnectorError::NotPermitted,
        // Statement, lock and idle time-outs, and being cancelled by somebody else.
        "57014" | "55P03" | "25P03" | "25P04" | "57P05" => ConnectorError::TimedOut,
        // What was there a moment ago has another shape now, or is gone.
        "42P01" | "42703" => ConnectorError::Changed,
        // A text that is not of the database's encoding, or that UTF-8 has no place for.
        "22021" | "22P05" => ConnectorError::Malformed,
        _ => match state.get(..2) {
            Some("28") => ConnectorError::LoginRefused,
            Some("08" | "57" | "58") => ConnectorError::Unreachable,
            Some("53") => ConnectorError::Throttled,
            Some("40") => ConnectorError::Changed,
            _ => ConnectorError::Refused,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_of_the_server_has_its_meaning() {
        for (state, class) in [
            ("28P01", "login_refused"),
            ("28000", "login_refused"),
            ("3D000", "no_such_place"),
            ("42501", "not_permitted"),
            ("57014", "timed_out"),
            ("55P03", "timed_out"),
            ("57P01", "unreachable"),
            ("57P03", "unreachable"),
            ("08006", "unreachable"),
            ("53300", "throttled"),
            ("40001", "changed"),
            ("42P01", "changed"),
            ("22021", "malformed"),
            ("22012", "refused"),
            ("55000", "refused"),
            ("XX000", "refused"),
            ("", "refused"),
        ] {
            assert_eq!(meaning_of(state).class(), class, "{state}");
        }
    }

    #[test]
    fn an_error_without_a_code_is_known_by_its_kind() {
        let io = |kind: io::ErrorKind| sqlx::Error::Io(kind.into());
        assert_eq!(
            of(&io(io::ErrorKind::ConnectionRefused)),
            ConnectorError::Unreachable
        );
        assert_eq!(of(&io(io::ErrorKind::InvalidData)), ConnectorError::Tls);
        let odd = sqlx::Error::Protocol("canary".to_owned());
        assert_eq!(of(&odd), ConnectorError::Malformed);
        assert_eq!(connecting(&odd), ConnectorError::Unreachable);
    }
}
