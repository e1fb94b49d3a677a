use super::*;
use crate::{net::HeaderValue, vendors::error::Disposition};

const LINK: Endpoint = Endpoint::Link;
const FIRST_PAGE: Endpoint = Endpoint::Transactions { page: 1 };
const LATER_PAGE: Endpoint = Endpoint::Transactions { page: 2 };
const HTML: &str = "<html>\r\n<center><h1>403 Forbidden</h1></center>\r\n<hr>openresty</html>";

fn body(codes: &[&str]) -> Vec<u8> {
    let errors: Vec<_> = codes
        .iter()
        .map(|code| {
            serde_json::json!({
                "code": code,
                "message": "made up",
                "request_id": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
            })
        })
        .collect();
    serde_json::to_vec(&errors).unwrap()
}

fn answer(status: u16, body: &[u8], from: Endpoint) -> VendorError {
    error_of(status, &HeaderMap::new(), body, from)
}

fn pause_of(status: u16, retry_after: &'static str) -> Option<u64> {
    let told = HeaderValue::from_static(retry_after);
    let headers = HeaderMap::from_iter([(RETRY_AFTER, told)]);
    let error = error_of(status, &headers, HTML.as_bytes(), LINK);
    error.retry_after.map(|pause| pause.as_secs())
}

#[test]
fn every_documented_code_has_its_meaning() {
    use ErrorKind::*;
    let wrong_request = [
        "activation_failed",
        "blank",
        "does_not_exist",
        "duplicated",
        "invalid",
        "invalid_choice",
        "invalid_credentials_storage",
        "invalid_fetch_resources",
        "invalid_period",
        "not_a_list",
        "null",
        "parse_error",
        "required",
        "unsupported_operation",
        "validation_error",
    ];
    let rows = [
        (400, "institution_down", BankUnavailable),
        (400, "institution_inactive", BankUnavailable),
        (400, "institution_unavailable", BankUnavailable),
        (400, "invalid_link", LoginRefused),
        (400, "login_error", LoginRefused),
        (400, "session_expired", UserActionNeeded),
        (400, "session_expired_ob", UserActionNeeded),
        (400, "too_many_sessions", BankUnavailable),
        (400, "unavailable_data", BankUnavailable),
        (400, "unconfirmed_link", LoginRefused),
        (401, "authentication_failed", BadCredential),
        (401, "consent_without_accounts", ConsentOver),
        (403, "access_to_production_denied", NotAllowed),
        (403, "access_to_resource_denied", NotAllowed),
        (403, "permission_denied", BankUnavailable),
        (403, "quota_limit_reached", NotAllowed),
        (404, "not_found", Gone),
        (404, "expired_credentials", LoginRefused),
        (405, "method_not_allowed", WrongRequest),
        (408, "request_timeout", BankUnavailable),
        (409, "link_refreshed", BankUnavailable),
        (428, "token_required", UserActionNeeded),
        (428, "activation_required", UserActionNeeded),
        (500, "unexpected_error", VendorFault),
        (500, "service_unavailable", VendorFault),
    ];
    let rows = rows
        .into_iter()
        .chain(wrong_request.map(|code| (400, code, WrongRequest)));
    for (status, code, kind) in rows {
        let error = answer(status, &body(&[code]), LINK);
        assert_eq!(
            (error.kind, error.reason()),
            (kind, code),
            "{status} {code}"
        );
        assert_eq!(error.vendor, Vendor::Belvo);
        assert_eq!(error.retry_after, None, "{status} {code}");
    }
}

#[test]
fn an_answer_without_a_known_code_is_judged_by_its_status() {
    for (status, with_unknown_code, without_code) in [
        (301, ErrorKind::Redirected, ErrorKind::Redirected),
        (302, ErrorKind::Redirected, ErrorKind::Redirected),
        (308, ErrorKind::Redirected, ErrorKind::Redirected),
        (400, ErrorKind::WrongRequest, ErrorKind::WrongRequest),
        (401, ErrorKind::Malformed, ErrorKind::Malformed),
        (403, ErrorKind::NotAllowed, ErrorKind::Throttled),
        (404, ErrorKind::Malformed, ErrorKind::Malformed),
        (405, ErrorKind::WrongRequest, ErrorKind::WrongRequest),
        (408, ErrorKind::BankUnavailable, ErrorKind::BankUnavailable),
        (409, ErrorKind::BankUnavailable, ErrorKind::BankUnavailable),
        (418, ErrorKind::Malformed, ErrorKind::Malformed),
        (
            428,
            ErrorKind::UserActionNeeded,
            ErrorKind::UserActionNeeded,
        ),
        (429, ErrorKind::Throttled, ErrorKind::Throttled),
        (500, ErrorKind::VendorFault, ErrorKind::VendorFault),
        (502, ErrorKind::VendorFault, ErrorKind::VendorFault),
        (503, ErrorKind::VendorFault, ErrorKind::VendorFault),
        (504, ErrorKind::VendorFault, ErrorKind::VendorFault),
        (599, ErrorKind::VendorFault, ErrorKind::VendorFault),
        (0, ErrorKind::Malformed, ErrorKind::Malformed),
        (100, ErrorKind::Malformed, ErrorKind::Malformed),
        (200, ErrorKind::Malformed, ErrorKind::Malformed),
        (204, ErrorKind::Malformed, ErrorKind::Malformed),
        (600, ErrorKind::Malformed, ErrorKind::Malformed),
        (65535, ErrorKind::Malformed, ErrorKind::Malformed),
    ] {
        let error = answer(status, &body(&["brand_new"]), LINK);
        assert_eq!(
            (error.kind, error.reason()),
            (with_unknown_code, "brand_new"),
            "{status}"
        );
        for body in [
            "",
            HTML,
            "plain words",
            "[]",
            "{}",
            "[{\"code\":null}]",
            "[[",
        ] {
            let error = answer(status, body.as_bytes(), LINK);
            assert_eq!(
                (error.kind, error.code),
                (without_code, None),
                "{status} {body}"
            );
        }
        assert_eq!(
            answer(status, b"\xff\xfe", LINK).kind,
            without_code,
            "{status}"
        );
    }
}

#[test]
fn of_several_errors_the_most_telling_decides() {
    let error = answer(400, &body(&["required", "brand_new", "login_error"]), LINK);
    assert_eq!(error.kind, ErrorKind::LoginRefused);
    assert_eq!(error.reason(), "login_error");
    let error = answer(
        401,
        &body(&["consent_without_accounts", "authentication_failed"]),
        LINK,
    );
    assert_eq!(error.kind, ErrorKind::BadCredential);
}

#[test]
fn a_code_decides_nothing_under_a_status_that_is_not_its_own() {
    for status in [400, 403, 404, 500] {
        let error = answer(status, &body(&["authentication_failed"]), LINK);
        assert_ne!(error.kind, ErrorKind::BadCredential, "{status}");
    }
}

#[test]
fn an_error_that_stands_alone_is_understood() {
    let error = answer(404, br#"{"code":"NOT_FOUND","message":"Not found"}"#, LINK);
    assert_eq!((error.kind, error.reason()), (ErrorKind::Gone, "not_found"));
}

#[test]
fn success_that_carries_errors_is_judged_by_their_codes() {
    for (code, kind) in [
        ("authentication_failed", ErrorKind::BadCredential),
        ("token_required", ErrorKind::UserActionNeeded),
        ("not_found", ErrorKind::Gone),
        ("request_timeout", ErrorKind::BankUnavailable),
        ("unexpected_error", ErrorKind::VendorFault),
        ("brand_new", ErrorKind::Malformed),
    ] {
        let error = answer(200, &body(&[code]), FIRST_PAGE);
        assert_eq!((error.kind, error.reason()), (kind, code));
    }
}

#[test]
fn what_is_missing_depends_on_where_it_was_looked_for() {
    let not_found = body(&["not_found"]);
    for (from, kind) in [
        (Endpoint::Link, ErrorKind::Gone),
        (Endpoint::Transaction, ErrorKind::Gone),
        (Endpoint::Accounts { page: 1 }, ErrorKind::Gone),
        (FIRST_PAGE, ErrorKind::Gone),
        (Endpoint::Accounts { page: 2 }, ErrorKind::BadCursor),
        (LATER_PAGE, ErrorKind::BadCursor),
        (Endpoint::Institutions, ErrorKind::WrongRequest),
    ] {
        assert_eq!(answer(404, &not_found, from).kind, kind, "{from:?}");
    }
    assert_eq!(
        answer(404, HTML.as_bytes(), LATER_PAGE).kind,
        ErrorKind::BadCursor
    );
    let expired = answer(404, &body(&["expired_credentials"]), LATER_PAGE);
    assert_eq!(expired.kind, ErrorKind::LoginRefused);
}

#[test]
fn who_is_throttled_is_told_for_how_long() {
    for (status, told, pause) in [
        (429, "7", Some(7)),
        (429, "0", Some(1)),
        (429, "3600", Some(3600)),
        (429, "86400", Some(3600)),
        (429, "soon", Some(30)),
        (429, "-5", Some(30)),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", Some(30)),
        (403, "5", Some(30)),
        (403, "90", Some(90)),
        (503, "90", Some(90)),
        (503, "soon", None),
    ] {
        assert_eq!(pause_of(status, told), pause, "{status} {told}");
    }
    for status in [403, 429] {
        let error = answer(status, HTML.as_bytes(), LINK);
        assert_eq!(error.retry_after, Some(PAUSE));
        assert_eq!(error.disposition(), Disposition::RetryWhenTold);
    }
}

#[test]
fn no_row_of_the_table_is_hidden_by_an_earlier_one() {
    for (at, statuses, says, kind) in TABLE {
        let status = match statuses {
            Is(status) => *status,
            // Not one that has a row of its own.
            Hundred(hundred) => hundred * 100 + 99,
        };
        let from = match at {
            Anywhere => LINK,
            Institutions => Endpoint::Institutions,
            LaterPage => LATER_PAGE,
        };
        let body = match says {
            Word(word) => body(&[word]),
            NoWord => Vec::new(),
            Anything => body(&["brand_new"]),
        };
        assert_eq!(answer(status, &body, from).kind, *kind, "{status} {says:?}");
    }
}
