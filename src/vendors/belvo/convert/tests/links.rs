use super::*;

fn link_of(body: &Value) -> Result<SourceReport, VendorError> {
    link(body.to_string().as_bytes())
}

fn read(members: &Value) -> SourceReport {
    let link = json!({
        "id": "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b",
        "institution": "ofmockbank_br_retail",
        "access_mode": "recurrent",
        "status": "valid",
        "refresh_rate": "24h",
        "last_accessed_at": "2026-04-03T06:12:41.120394+00:00",
        "created_at": "2026-01-03T06:12:41.120Z",
        "external_id": null,
        "fetch_resources": ["ACCOUNTS", "TRANSACTIONS"],
        "stale_in": "365d",
    });
    link_of(&with(link, members)).unwrap()
}

#[test]
fn every_status_of_a_link_has_its_state() {
    for (status, state, reason) in [
        (json!("valid"), SourceState::Ok, "valid"),
        (json!("VALID"), SourceState::Ok, "valid"),
        (json!("invalid"), SourceState::LoginError, "invalid"),
        (
            json!("token_required"),
            SourceState::WaitingUser,
            "token_required",
        ),
        (
            json!("unconfirmed"),
            SourceState::WaitingUser,
            "unconfirmed",
        ),
        (json!("brand_new"), SourceState::Unknown, "brand_new"),
        (json!("two words"), SourceState::Unknown, "unknown"),
        (json!(null), SourceState::Unknown, "unknown"),
        (json!(["valid"]), SourceState::Unknown, "unknown"),
    ] {
        let report = read(&json!({ "status": status }));
        assert_eq!((report.state, report.reason.as_str()), (state, reason));
        // Only of a link that works is what is missing truly gone.
        assert_eq!(report.transactions_current, state == SourceState::Ok);
    }
}

#[test]
fn a_link_says_when_the_bank_was_last_read() {
    let read_at = read(&json!({})).last_synced_at;
    assert_eq!(read_at, Some(instant("2026-04-03T06:12:41.120394Z")));
    for never in [json!(null), json!("soon"), json!({})] {
        assert_eq!(
            read(&json!({ "last_accessed_at": never })).last_synced_at,
            None
        );
    }
}

#[test]
fn what_is_no_link_is_malformed_or_the_error_that_it_carries() {
    for body in [
        json!({}),
        json!([]),
        json!(null),
        json!({"status": "valid"}),
        json!([{"id": "x"}]),
    ] {
        assert_eq!(
            link_of(&body).unwrap_err().kind,
            ErrorKind::Malformed,
            "{body}"
        );
    }
    let error = link_of(&json!([{"code": "not_found", "message": "Not found"}])).unwrap_err();
    assert_eq!((error.kind, error.reason()), (ErrorKind::Gone, "not_found"));
    for body in [
        &b""[..],
        b"<html>",
        b"\xef\xbb\xbf{\"id\":\"x\"}",
        b"{\"id\":\"\xe9\"}",
    ] {
        assert_eq!(link(body).unwrap_err().kind, ErrorKind::Malformed);
    }
}
