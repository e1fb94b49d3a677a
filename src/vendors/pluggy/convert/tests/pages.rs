use serde_json::{Value, json};
use url::Url;

use crate::{
    domain::account::AccountType,
    vendors::{
        AccountToRead, ErrorKind, PageMark, TransactionPage, VendorError,
        pluggy::convert::transactions,
    },
};

const LISTING: &str = "https://api.pluggy.ai/v2/transactions?accountId=acc-1&dateFrom=2026-08-01";

fn read(body: &[u8]) -> Result<TransactionPage, VendorError> {
    let account = AccountToRead {
        vendor_id: "acc-1",
        account_type: AccountType::Bank,
    };
    transactions(body, account, &Url::parse(LISTING).unwrap())
}

fn next(link: &Value) -> Result<Option<String>, ErrorKind> {
    let body = json!({ "results": [], "next": link }).to_string();
    match read(body.as_bytes()) {
        Ok(page) => Ok(page.next.map(|PageMark(cursor)| cursor)),
        Err(error) => Err(error.kind),
    }
}

#[test]
fn a_listing_goes_on_at_its_cursor() {
    for (link, cursor) in [
        ("?accountId=acc-1&after=MjAyNg%3D%3D", "MjAyNg=="),
        ("?accountId=acc-1&after=MjAyNg==", "MjAyNg=="),
        // Base64 has no spaces; a bare plus sign is one.
        ("?accountId=acc-1&after=a+b/c%2Bd", "a+b/c+d"),
        ("?after=YQ", "YQ"),
        ("?dateFrom=2026-08-01&after=YQ&accountId=acc-1", "YQ"),
        ("/v2/transactions?accountId=acc-1&after=YQ", "YQ"),
        (
            "https://api.pluggy.ai/v2/transactions?accountId=acc-1&after=YQ",
            "YQ",
        ),
        (
            "https://API.pluggy.ai:443/v2/transactions?accountId=acc-1&after=YQ",
            "YQ",
        ),
    ] {
        assert_eq!(next(&json!(link)), Ok(Some(cursor.to_owned())), "{link}");
    }
}

#[test]
fn a_listing_ends_without_a_link() {
    assert_eq!(next(&json!(null)), Ok(None));
    assert_eq!(next(&json!("")), Ok(None));
}

#[test]
fn a_listing_never_leads_elsewhere() {
    for link in [
        "https://evil.example/v2/transactions?accountId=acc-1&after=YQ",
        "//evil.example/v2/transactions?accountId=acc-1&after=YQ",
        "http://api.pluggy.ai/v2/transactions?accountId=acc-1&after=YQ",
        "https://api.pluggy.ai:8443/v2/transactions?accountId=acc-1&after=YQ",
        "https://user@api.pluggy.ai/v2/transactions?accountId=acc-1&after=YQ",
        "/transactions?accountId=acc-1&after=YQ",
        "/v2/transactions/../accounts?after=YQ",
        "accounts?after=YQ",
        "?accountId=acc-2&after=YQ",
        "?accountId=acc-1&accountId=acc-2&after=YQ",
        "javascript:after=YQ",
        "file:///v2/transactions?after=YQ",
    ] {
        assert_eq!(next(&json!(link)), Err(ErrorKind::ForeignLink), "{link}");
    }
}

#[test]
fn a_link_without_one_good_cursor_is_malformed() {
    let long = format!("?after={}", "x".repeat(2049));
    for link in [
        json!("?accountId=acc-1"),
        json!("?accountId=acc-1&after="),
        json!("?after=YQ&after=Yg"),
        json!("?after=%00"),
        json!("https://"),
        json!(long),
        json!({ "after": "YQ" }),
        json!(false),
    ] {
        assert_eq!(next(&link), Err(ErrorKind::Malformed), "{link}");
    }
}

#[test]
fn a_body_that_is_no_page_is_one_classified_error() {
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"null",
        b"<html></html>",
        b"\xff\xfe{\"results\":[]}",
        b"{\"results\":[\"\xe7\"]}",
        br#"{"next":null}"#,
        br#"{"results":[]}"#,
        br#"{"page":1,"totalPages":1,"total":0,"results":[]}"#,
        br#"{"results":null}"#,
        br#"{"results":{}}"#,
        br#"{"results":[],"results":[]}"#,
        br#"{"results":[{"id":"a"}"#,
        br#"{"results":[]} trailing"#,
    ] {
        let error = read(body).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Malformed, "{body:?}");
    }
    let error = read(br#"{"code":403,"codeDescription":"SOME_CONSENT_ERROR"}"#).unwrap_err();
    assert_eq!(error.reason(), "some_consent_error");
    assert_eq!(error.kind, ErrorKind::NotAllowed);
}

#[test]
fn a_page_with_a_byte_order_mark_is_read() {
    assert!(read(b"\xef\xbb\xbf {\"results\":[],\"next\":null}").is_ok());
}

#[test]
fn a_page_of_more_rows_than_any_has_is_refused() {
    let page = |rows: usize| format!(r#"{{"results":[0{}],"next":null}}"#, ",0".repeat(rows - 1));
    let most = read(page(20_000).as_bytes()).unwrap();
    assert_eq!(most.converted.quarantined.len(), 20_000);
    let error = read(page(20_001).as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed);
}

#[test]
fn a_row_nested_without_end_is_put_aside() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"results":[{deep},{{"id":{deep}}}],"next":null}}"#);
    let page = read(body.as_bytes()).unwrap();
    assert_eq!(page.converted.quarantined.len(), 2);
}
