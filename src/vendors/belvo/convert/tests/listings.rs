use super::*;

const SANDBOX: &str = "https://sandbox.belvo.com";

/// Where a listing of transactions goes on for a client of `base`, if it says `next`.
fn follow(base: &str, next: &str) -> Result<u32, ErrorKind> {
    let body = json!({"count": 3542, "next": next, "previous": null, "results": []}).to_string();
    let base = Url::parse(base).unwrap();
    let (_, next, count) =
        transactions(body.as_bytes(), asked(), &base).map_err(|error| error.kind)?;
    assert_eq!(count, 3542);
    Ok(next.unwrap().0)
}

#[test]
fn the_next_page_is_a_number_in_the_same_listing() {
    for (base, next, page) in [
        (
            SANDBOX,
            "https://sandbox.belvo.com/api/transactions/?link=x&page_size=1000&page=2",
            2,
        ),
        (
            SANDBOX,
            "https://sandbox.belvo.com:443/api/transactions/?page=4294967295",
            u32::MAX,
        ),
        (
            SANDBOX,
            "https://SANDBOX.belvo.com/api/transactions/?page=3&link=x",
            3,
        ),
        (SANDBOX, "/api/transactions/?page=12", 12),
        (SANDBOX, "?page=7", 7),
        (
            "http://127.0.0.1:8099",
            "http://127.0.0.1:8099/api/transactions/?page=2",
            2,
        ),
        (
            "https://proxy.example/belvo",
            "https://proxy.example/belvo/api/transactions/?page=2",
            2,
        ),
        ("https://proxy.example/belvo/", "?page=2", 2),
    ] {
        assert_eq!(follow(base, next), Ok(page), "{next}");
    }
}

#[test]
fn a_listing_that_leads_elsewhere_is_not_followed() {
    for next in [
        "https://api.belvo.com/api/transactions/?page=2",
        "https://sandbox.belvo.com.example.org/api/transactions/?page=2",
        "https://sandbox.belvo.com@example.org/api/transactions/?page=2",
        "https://sandbox.belvo.com:8443/api/transactions/?page=2",
        "http://sandbox.belvo.com/api/transactions/?page=2",
        "//example.org/api/transactions/?page=2",
        "https://sandbox.belvo.com/api/accounts/?page=2",
        "https://sandbox.belvo.com/api/transactions/../accounts/?page=2",
        "/api/accounts/?page=2",
        "../accounts/?page=2",
        "file:///api/transactions/?page=2",
        "data:text/plain,page=2",
    ] {
        assert_eq!(follow(SANDBOX, next), Err(ErrorKind::ForeignLink), "{next}");
    }
    let under_a_path = follow("https://proxy.example/belvo", "/api/transactions/?page=2");
    assert_eq!(under_a_path, Err(ErrorKind::ForeignLink));
}

#[test]
fn a_next_page_whose_number_is_none_is_malformed() {
    for next in [
        "?page=",
        "?page=two",
        "?page=-2",
        "?page=0",
        "?page=4294967296",
        "http://[",
    ] {
        assert_eq!(follow(SANDBOX, next), Err(ErrorKind::Malformed), "{next:?}");
    }
}

#[test]
fn the_last_page_leads_nowhere() {
    let (converted, next, count) = transactions(&listing(&[]), asked(), &base()).unwrap();
    assert_eq!((converted, next, count), (Converted::default(), None, 0));
    let (accounts, next) = super::accounts(&listing(&[]), &base()).unwrap();
    assert!(accounts.accounts.is_empty() && accounts.quarantined.is_empty() && next.is_none());
}

#[test]
fn accounts_go_on_among_accounts() {
    let body = |next: &str| json!({"count": 101, "next": next, "results": []}).to_string();
    let (_, next) = super::accounts(body("/api/accounts/?page=2").as_bytes(), &base()).unwrap();
    assert_eq!(next, Some(Next(2)));
    let error = super::accounts(body("/api/transactions/?page=2").as_bytes(), &base()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ForeignLink);
}

#[test]
fn what_is_no_page_is_malformed_or_the_error_that_it_carries() {
    let malformed = (ErrorKind::Malformed, "malformed_answer");
    for (body, (kind, reason)) in [
        ("", malformed),
        ("<html>", malformed),
        ("[]", malformed),
        ("{}", malformed),
        (r#"[{"id":"x"}]"#, malformed),
        (r#"{"count":1,"next":null,"results":[{"id":"#, malformed),
        (
            "\u{feff}{\"count\":0,\"next\":null,\"results\":[]}",
            malformed,
        ),
        (
            r#"[{"code":"brand_new"}]"#,
            (ErrorKind::Malformed, "brand_new"),
        ),
        (
            r#"[{"code":"invalid_link","message":"m"}]"#,
            (ErrorKind::LoginRefused, "invalid_link"),
        ),
        (
            r#"{"code":"unexpected_error"}"#,
            (ErrorKind::VendorFault, "unexpected_error"),
        ),
    ] {
        let error = transactions(body.as_bytes(), asked(), &base()).unwrap_err();
        assert_eq!((error.kind, error.reason()), (kind, reason), "{body}");
        assert_eq!(
            super::accounts(body.as_bytes(), &base()).unwrap_err(),
            error,
            "{body}"
        );
        assert_eq!(
            transaction(body.as_bytes(), asked()).unwrap_err(),
            error,
            "{body}"
        );
    }
    let latin1 = b"{\"count\":1,\"next\":null,\"results\":[{\"description\":\"\xe9\"}]}";
    let error = transactions(latin1, asked(), &base()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Malformed);
}
