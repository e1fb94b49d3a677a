use super::*;

fn read(json: &str) -> Option<String> {
    Text::from(serde_json::from_str::<&RawValue>(json).unwrap())
        .get()
        .map(str::to_owned)
}

#[test]
fn a_text_is_a_text_or_the_digits_of_a_number() {
    for (json, text) in [
        (r#""Padaria""#, Some("Padaria")),
        (r#""a \"b\"\u00e9 \\""#, Some("a \"b\"é \\")),
        (r#""a\u0000b""#, Some("ab")),
        (r#""\u0000""#, None),
        ("149.90", Some("149.90")),
        ("-1e5", Some("-1e5")),
        (r#""""#, None),
        (r#"" ""#, None),
        (r#""ab\ud83d""#, Some("ab\u{fffd}\u{fffd}\u{fffd}")),
        (r#""\ud83d\ude00""#, Some("\u{1f600}")),
        ("null", None),
        ("true", None),
        ("[\"a\"]", None),
        ("{}", None),
    ] {
        assert_eq!(read(json).as_deref(), text, "{json}");
    }
}

#[test]
fn a_member_of_another_type_is_no_member_and_fails_nothing() {
    let row = r#"{"id":"t","amount":"1.50","account":["a"],"counterparty":7,"new":{"x":[]},
        "credit_card_data":{"card_number":1234,"credit_card_bill":null}}"#;
    let row = transaction(row).unwrap();
    assert_eq!(row.amount.get(), Some("1.50"));
    assert!(row.account.0.is_none() && row.counterparty.0.is_none());
    assert_eq!(row.description.get(), None);
    let card = row.credit_card_data.0.unwrap();
    assert_eq!(card.card_number.get(), Some("1234"));
    assert!(card.credit_card_bill.0.is_none());
}

#[test]
fn an_array_is_no_object() {
    for row in [
        r#"["id"]"#,
        r#""id""#,
        "7",
        "null",
        "",
        "{",
        r#"{"id":"a","id":"b"}"#,
    ] {
        assert!(account(row).is_err(), "{row}");
        assert!(transaction(row).is_err(), "{row}");
        assert!(name_of(row).id.get().is_none(), "{row}");
    }
}

#[test]
fn a_page_says_how_many_rows_there_are_and_where_they_go_on() {
    let page = super::page(
        br#" {"results":[{"id":1},null], "next":"?page=2","previous":null,"count":"12","x":0}"#,
    );
    let page = page.unwrap();
    assert_eq!((page.count, page.rows.len()), (12, 2));
    assert_eq!(page.next.as_deref(), Some("?page=2"));
    let last = super::page(br#"{"count":0,"next":null,"results":[]}"#).unwrap();
    assert!(last.next.is_none() && last.rows.is_empty());
}

#[test]
fn what_does_not_say_so_is_no_page() {
    for body in [
        &b""[..],
        b"{}",
        b"[]",
        b"null",
        br#"{"next":null,"results":[]}"#,
        br#"{"count":0,"results":[]}"#,
        br#"{"count":0,"next":null}"#,
        br#"{"count":0,"next":null,"results":null}"#,
        br#"{"count":0,"next":null,"results":{}}"#,
        br#"{"count":-1,"next":null,"results":[]}"#,
        br#"{"count":0,"next":false,"results":[]}"#,
        br#"{"count":0,"next":null,"results":[{"#,
        br#"{"count":0,"next":null,"results":[]} x"#,
        b"[1,null,[]]",
        b"\xef\xbb\xbf{\"count\":0,\"next\":null,\"results\":[]}",
        b"{\"count\":0,\"next\":null,\"results\":[\"\xe9\"]}",
    ] {
        assert!(super::page(body).is_err(), "{}", body.escape_ascii());
    }
}

#[test]
fn a_page_that_is_too_long_is_not_read_to_its_end() {
    let page = |rows: usize| {
        let rows = vec!["1"; rows].join(",");
        format!(r#"{{"count":1,"next":null,"results":[{rows}]}}"#)
    };
    assert!(super::page(page(MAX_ELEMENTS).as_bytes()).is_ok());
    assert!(super::page(page(MAX_ELEMENTS + 1).as_bytes()).is_err());
}

#[test]
fn the_codes_of_errors_are_found_in_an_array_and_alone() {
    let codes = |body: &[u8]| -> Vec<String> {
        let codes = error_codes(body);
        codes.iter().map(|code| code.as_str().to_owned()).collect()
    };
    assert_eq!(
        codes(br#"[{"code":"required","field":"link"},{"code":" Invalid_Link "}]"#),
        ["required", "invalid_link"]
    );
    assert_eq!(
        codes(br#"{"code":"not_found","message":"x"}"#),
        ["not_found"]
    );
    assert_eq!(
        codes(br#"[7,{"code":null},{"code":"a b"},{"code":"x"}]"#),
        ["x"]
    );
    for body in [&b""[..], b"<html>", b"{}", b"[]", b"\xff", b"[[[[", b"null"] {
        assert!(codes(body).is_empty(), "{}", body.escape_ascii());
    }
}

#[test]
fn what_was_read_is_not_shown() {
    let row = transaction(r#"{"id":"t-1","description":"Padaria","amount":12}"#).unwrap();
    let shown = format!("{row:?}");
    assert!(
        !shown.contains("Padaria") && !shown.contains("12"),
        "{shown}"
    );
}
