use std::time::Duration;

use super::{
    Endpoint::{Accounts, Auth, Item, Transactions},
    *,
};
use crate::{net::HeaderValue, vendors::Disposition};

fn answer(status: u16, body: &str, from: Endpoint) -> VendorError {
    error_of(status, &HeaderMap::new(), body.as_bytes(), from)
}

const KEYS: &str = r#"{"code":401,"codeDescription":"CLIENT_KEYS_UNAUTHORIZED","message":"Client keys are invalid"}"#;
const DISABLED: &str =
    r#"{"code":401,"codeDescription":"CLIENT_DISABLED","message":"Client is disabled"}"#;
const NO_KEY: &str = r#"{"code":403,"message":"Missing or invalid authorization token"}"#;
const NO_ITEM: &str =
    r#"{"code":404,"codeDescription":"ITEM_NOT_FOUND","message":"item not found"}"#;
const CURSOR: &str = r#"{"message":"Invalid cursor","code":400}"#;
const HTML: &str = "<html><body>403 Forbidden</body></html>";

const ANSWERS: &[(Endpoint, u16, &str, ErrorKind)] = &[
    (Auth, 401, KEYS, ErrorKind::BadCredential),
    (Auth, 400, KEYS, ErrorKind::BadCredential),
    (Auth, 401, DISABLED, ErrorKind::Disabled),
    (Auth, 403, DISABLED, ErrorKind::Disabled),
    (Item, 403, DISABLED, ErrorKind::Disabled),
    (
        Auth,
        400,
        r#"{"code":400,"message":"clientId must be a UUID"}"#,
        ErrorKind::BadCredential,
    ),
    (Auth, 401, "", ErrorKind::BadCredential),
    (
        Auth,
        401,
        r#"{"code":401,"codeDescription":"SOMETHING_NEW"}"#,
        ErrorKind::BadCredential,
    ),
    (Auth, 403, NO_KEY, ErrorKind::BadCredential),
    (Auth, 400, HTML, ErrorKind::VendorFault),
    (Auth, 401, HTML, ErrorKind::VendorFault),
    (Auth, 403, HTML, ErrorKind::VendorFault),
    (Item, 404, HTML, ErrorKind::VendorFault),
    (Auth, 404, "{}", ErrorKind::WrongRequest),
    (Item, 403, NO_KEY, ErrorKind::KeyExpired),
    (Accounts, 403, HTML, ErrorKind::VendorFault),
    (Transactions, 401, "{}", ErrorKind::KeyExpired),
    (
        Transactions,
        401,
        r#"{"code":401,"codeDescription":"UNAUTHORIZED"}"#,
        ErrorKind::KeyExpired,
    ),
    (
        Item,
        403,
        r#"{"code":403,"codeDescription":"LIST_ITEMS_FEATURE_NOT_ENABLED"}"#,
        ErrorKind::NotAllowed,
    ),
    (
        Accounts,
        403,
        r#"{"code":403,"codeDescription":"BALANCE_CONSENT_ERROR"}"#,
        ErrorKind::NotAllowed,
    ),
    (Item, 404, NO_ITEM, ErrorKind::Gone),
    (
        Accounts,
        404,
        r#"{"message":"account not found for the given id","code":404}"#,
        ErrorKind::Gone,
    ),
    (Transactions, 400, CURSOR, ErrorKind::BadCursor),
    (
        Transactions,
        400,
        r#"{"message":"accountId must be a UUID, invalid cursor","code":400}"#,
        ErrorKind::BadCursor,
    ),
    (Accounts, 400, CURSOR, ErrorKind::Gone),
    (
        Item,
        400,
        r#"{"code":400,"message":"id must be a UUID"}"#,
        ErrorKind::Gone,
    ),
    (
        Transactions,
        400,
        r#"{"message":"accountId must be a UUID","code":400}"#,
        ErrorKind::WrongRequest,
    ),
    (
        Transactions,
        400,
        r#"{"code":400,"codeDescription":"IDS_PARAMETER_EXCEEDS_MAX_LENGTH"}"#,
        ErrorKind::WrongRequest,
    ),
    (Item, 405, "", ErrorKind::WrongRequest),
    (Item, 406, "", ErrorKind::WrongRequest),
    (Item, 409, "{}", ErrorKind::WrongRequest),
    (
        Transactions,
        410,
        r#"{"code":410,"codeDescription":"ENDPOINT_DEPRECATED"}"#,
        ErrorKind::Retired,
    ),
    (Auth, 429, "Too many requests", ErrorKind::Throttled),
    (Item, 500, HTML, ErrorKind::VendorFault),
    (Auth, 502, "", ErrorKind::VendorFault),
    (Accounts, 503, "[]", ErrorKind::VendorFault),
    (Accounts, 599, "null", ErrorKind::VendorFault),
    (Item, 301, HTML, ErrorKind::Redirected),
    (Auth, 308, "", ErrorKind::Redirected),
    (Item, 204, "", ErrorKind::Malformed),
    (Item, 418, "\u{0}", ErrorKind::Malformed),
    (Item, 999, "", ErrorKind::Malformed),
];

#[test]
fn every_answer_of_the_vendor_has_one_meaning() {
    for (from, status, body, kind) in ANSWERS {
        let error = answer(*status, body, *from);
        assert_eq!(error.kind, *kind, "{from:?} {status} {body}");
        assert_eq!(
            error.retry_after.is_some(),
            error.disposition() == Disposition::RetryWhenTold,
            "{from:?} {status} {body}"
        );
    }
}

#[test]
fn the_reason_is_the_vendors_own_word_where_it_has_one() {
    assert_eq!(answer(401, KEYS, Auth).reason(), "client_keys_unauthorized");
    assert_eq!(answer(404, NO_ITEM, Item).reason(), "item_not_found");
    assert_eq!(answer(403, NO_KEY, Item).reason(), "key_expired");
    assert_eq!(answer(503, HTML, Item).reason(), "vendor_fault");
}

#[test]
fn every_row_of_the_table_can_be_reached() {
    for (index, (at, status, says, kind)) in TABLE.iter().enumerate() {
        let from = match at {
            At::Any | At::Data => Transactions,
            At::Only(endpoint) => *endpoint,
        };
        let status = match status {
            Status::Any => 418,
            Status::Is(one) | Status::Class(one) => *one,
        };
        let body = match says {
            Says::Anything => r#"{"message":"no"}"#.to_owned(),
            Says::Code(word) => format!(r#"{{"codeDescription":"{word}"}}"#),
            Says::SomeCode => r#"{"codeDescription":"SOME"}"#.to_owned(),
            Says::Words(words) => format!(r#"{{"message":"{words}"}}"#),
            Says::Page => "no".to_owned(),
        };
        assert_eq!(answer(status, &body, from).kind, *kind, "row {index}");
    }
}

#[test]
fn a_body_of_any_kind_is_survived() {
    for body in [
        &b"\xff\xfe\x00"[..],
        b"{\"codeDescription\":",
        b"{\"codeDescription\":{\"a\":1},\"code\":[]}",
        b"{\"codeDescription\":\"A\",\"codeDescription\":\"B\"}",
        b"\xef\xbb\xbf{\"message\":null}",
        b"\"text\"",
    ] {
        let error = error_of(403, &HeaderMap::new(), body, Item);
        assert_eq!(error.code, None, "{body:?}");
    }
    // What does not look like a code is not repeated.
    let error = answer(404, r#"{"codeDescription":"<script>"}"#, Item);
    assert_eq!((error.kind, error.code), (ErrorKind::Gone, None));
}

#[test]
fn the_wait_is_the_vendors_and_bounded() {
    for (reset, after, seconds) in [
        (None, None, 60),
        (Some("7"), Some("60"), 7),
        (None, Some("30"), 30),
        (Some("soon"), Some("30"), 30),
        (Some("-1"), Some("Wed, 21 Oct 2026 07:28:00 GMT"), 60),
        (Some("0"), None, 1),
        (Some("1788307200"), None, 3600),
        (Some("99999999999999999999999"), None, 60),
    ] {
        let mut headers = HeaderMap::new();
        for (name, value) in [("RateLimit-Reset", reset), ("Retry-After", after)] {
            if let Some(value) = value {
                let name: crate::net::HeaderName = name.parse().unwrap();
                headers.insert(name, HeaderValue::from_static(value));
            }
        }
        let error = error_of(429, &headers, b"slow down", Transactions);
        assert_eq!(
            error.retry_after,
            Some(Duration::from_secs(seconds)),
            "{reset:?} {after:?}"
        );
    }
}

#[test]
fn an_error_with_the_status_of_success_means_what_it_says() {
    for (body, kind, reason) in [
        (
            r#"{"code":401,"codeDescription":"CLIENT_DISABLED"}"#,
            ErrorKind::Disabled,
            "client_disabled",
        ),
        (
            r#"{"codeDescription":"CLIENT_KEYS_UNAUTHORIZED"}"#,
            ErrorKind::BadCredential,
            "client_keys_unauthorized",
        ),
        (
            r#"{"code":404,"codeDescription":"ITEM_NOT_FOUND"}"#,
            ErrorKind::Gone,
            "item_not_found",
        ),
        (
            r#"{"code":429,"codeDescription":"TOO_MANY"}"#,
            ErrorKind::Throttled,
            "too_many",
        ),
        // Nothing is concluded from a bare number: it may mean anything.
        (
            r#"{"code":404,"message":"?"}"#,
            ErrorKind::Malformed,
            "malformed_answer",
        ),
        (
            r#"{"codeDescription":"SOMETHING_NEW"}"#,
            ErrorKind::Malformed,
            "something_new",
        ),
        ("{}", ErrorKind::Malformed, "malformed_answer"),
        ("<html>", ErrorKind::Malformed, "malformed_answer"),
    ] {
        let error = error_in_success(body.as_bytes(), Item);
        assert_eq!(error.kind, kind, "{body}");
        assert_eq!(error.reason(), reason, "{body}");
        assert_eq!(
            error.retry_after.is_some(),
            kind == ErrorKind::Throttled,
            "{body}"
        );
    }
}
