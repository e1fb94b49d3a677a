use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::{
    domain::source::{SourceReport, SourceState},
    vendors::{ErrorKind, pluggy::convert::item},
};

fn now() -> DateTime<Utc> {
    "2026-09-02T12:00:00Z".parse().unwrap()
}

fn report(body: &Value) -> SourceReport {
    item(body.to_string().as_bytes(), now()).unwrap()
}

fn with_error(status: &str, code: &str) -> Value {
    json!({
        "id": "item-1", "status": status, "executionStatus": "ERROR",
        "error": {"code": code, "message": "?", "providerMessage": null},
    })
}

#[test]
fn every_status_has_a_state_and_an_unknown_one_is_unknown() {
    for (status, state, reason) in [
        ("UPDATED", SourceState::Ok, "updated"),
        ("UPDATING", SourceState::Updating, "updating"),
        ("MERGING", SourceState::Updating, "merging"),
        ("CREATING", SourceState::Updating, "creating"),
        ("CREATED", SourceState::Updating, "created"),
        (
            "WAITING_USER_INPUT",
            SourceState::WaitingUser,
            "waiting_user_input",
        ),
        (
            "WAITING_USER_ACTION",
            SourceState::WaitingUser,
            "waiting_user_action",
        ),
        ("LOGIN_ERROR", SourceState::LoginError, "login_error"),
        ("OUTDATED", SourceState::Outdated, "outdated"),
        ("SOMETHING_NEW", SourceState::Unknown, "something_new"),
        ("<b>updated</b>", SourceState::Unknown, "unknown"),
        ("updated", SourceState::Unknown, "updated"),
    ] {
        let report = report(&json!({
            "id": "item-1", "status": status, "executionStatus": null, "error": null,
            "lastUpdatedAt": "2026-09-02T09:11:00.000Z", "statusDetail": null,
        }));
        assert_eq!(
            (report.state, report.reason.as_str()),
            (state, reason),
            "{status}"
        );
        // Only an item that is up to date has transactions that are.
        assert_eq!(
            report.transactions_current,
            state == SourceState::Ok,
            "{status}"
        );
        assert_eq!(
            report.last_synced_at.map(|at| at.to_rfc3339()).as_deref(),
            Some("2026-09-02T09:11:00+00:00")
        );
    }
}

#[test]
fn every_error_of_a_failed_run_has_a_state() {
    for (code, state) in [
        ("INVALID_CREDENTIALS", SourceState::LoginError),
        ("INVALID_CREDENTIALS_MFA", SourceState::LoginError),
        ("ALREADY_LOGGED_IN", SourceState::Outdated),
        ("UNEXPECTED_ERROR", SourceState::Outdated),
        ("SITE_NOT_AVAILABLE", SourceState::Outdated),
        ("ACCOUNT_LOCKED", SourceState::LoginError),
        ("ACCOUNT_CREDENTIALS_RESET", SourceState::LoginError),
        ("CONNECTION_ERROR", SourceState::Outdated),
        ("ACCOUNT_NEEDS_ACTION", SourceState::WaitingUser),
        ("USER_AUTHORIZATION_PENDING", SourceState::WaitingUser),
        (
            "USER_AUTHORIZATION_NOT_GRANTED",
            SourceState::ConsentExpired,
        ),
        ("USER_AUTHORIZATION_REVOKED", SourceState::ConsentExpired),
        ("USER_NOT_SUPPORTED", SourceState::LoginError),
        ("USER_INPUT_TIMEOUT", SourceState::WaitingUser),
        ("SOMETHING_NEW", SourceState::Outdated),
    ] {
        let told = report(&with_error("OUTDATED", code));
        assert_eq!(told.state, state, "{code}");
        assert_eq!(told.reason, code.to_lowercase());
        assert!(!told.transactions_current);
        // Some items have no error, and name their last run by what went wrong.
        let item = json!({"id": "i", "status": "OUTDATED", "executionStatus": code, "error": null});
        assert_eq!(report(&item), told, "{code}");
    }
}

#[test]
fn a_status_that_says_enough_is_not_overruled() {
    for (status, code, state, reason) in [
        (
            "LOGIN_ERROR",
            "CONNECTION_ERROR",
            SourceState::LoginError,
            "connection_error",
        ),
        (
            "LOGIN_ERROR",
            "ACCOUNT_LOCKED",
            SourceState::LoginError,
            "account_locked",
        ),
        ("LOGIN_ERROR", "ERROR", SourceState::LoginError, "error"),
        (
            "WAITING_USER_INPUT",
            "USER_AUTHORIZATION_PENDING",
            SourceState::WaitingUser,
            "user_authorization_pending",
        ),
        (
            "UPDATING",
            "UNEXPECTED_ERROR",
            SourceState::Updating,
            "updating",
        ),
        // But without a consent nothing works.
        (
            "LOGIN_ERROR",
            "USER_AUTHORIZATION_REVOKED",
            SourceState::ConsentExpired,
            "user_authorization_revoked",
        ),
        (
            "UPDATED",
            "USER_AUTHORIZATION_REVOKED",
            SourceState::ConsentExpired,
            "user_authorization_revoked",
        ),
    ] {
        let report = report(&with_error(status, code));
        assert_eq!(
            (report.state, report.reason.as_str()),
            (state, reason),
            "{status} {code}"
        );
        assert!(!report.transactions_current);
    }
}

#[test]
fn a_consent_ends_at_its_instant() {
    for (expires, state) in [
        (json!(null), SourceState::Ok),
        (json!("2026-09-02T12:00:01Z"), SourceState::Ok),
        (json!("2026-09-02T12:00:00Z"), SourceState::ConsentExpired),
        (json!("2025-09-02"), SourceState::ConsentExpired),
        (json!("soon"), SourceState::Ok),
    ] {
        let report = report(&json!({"status": "UPDATED", "consentExpiresAt": expires}));
        assert_eq!(report.state, state, "{expires}");
        assert_eq!(
            report.transactions_current,
            state == SourceState::Ok,
            "{expires}"
        );
        if state == SourceState::ConsentExpired {
            assert_eq!(report.reason, "consent_expired");
        }
    }
}

#[test]
fn transactions_are_current_only_if_nothing_says_otherwise() {
    let updated = |updated: Value| json!({"transactions": {"isUpdated": updated}});
    for (execution, detail, current) in [
        (json!("SUCCESS"), json!(null), true),
        (json!("SUCCESS"), json!({"transactions": null}), true),
        (json!("SUCCESS"), updated(json!(true)), true),
        (json!("SUCCESS"), updated(json!(false)), false),
        (json!("SUCCESS"), updated(json!("yes")), false),
        (json!(null), updated(json!(false)), false),
        (json!("PARTIAL_SUCCESS"), updated(json!(true)), true),
        (json!("PARTIAL_SUCCESS"), updated(json!(false)), false),
        (
            json!("PARTIAL_SUCCESS"),
            json!({"accounts": {"isUpdated": true}}),
            false,
        ),
        (json!("PARTIAL_SUCCESS"), json!(null), false),
        (json!("MERGE_ERROR"), updated(json!(true)), false),
        (json!("SOMETHING_NEW"), json!(null), false),
    ] {
        let report = report(&json!({
            "status": "UPDATED", "executionStatus": execution, "statusDetail": detail,
        }));
        assert_eq!(report.state, SourceState::Ok);
        assert_eq!(report.transactions_current, current, "{execution} {detail}");
        let partial = execution == "PARTIAL_SUCCESS";
        assert_eq!(
            report.reason,
            if partial {
                "partial_success"
            } else {
                "updated"
            }
        );
    }
}

#[test]
fn what_has_no_status_is_no_item() {
    for body in [
        "",
        "{}",
        "[]",
        r#"{"status":null}"#,
        r#"{"status":{}}"#,
        "<html>",
    ] {
        let error = item(body.as_bytes(), now()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed, "{body}");
    }
    let body = br#"{"code":404,"codeDescription":"ITEM_NOT_FOUND","message":"item not found"}"#;
    let error = item(body, now()).unwrap_err();
    assert_eq!(
        (error.kind, error.reason()),
        (ErrorKind::Gone, "item_not_found")
    );
}
