//! Refusals, bounds and strangers.

use super::*;
use crate::support::Log;

#[tokio::test]
async fn a_refusal_is_told_by_its_kind() {
    for (status, error) in [
        (401, ConnectorError::LoginRefused),
        (403, ConnectorError::NotPermitted),
        (
            404,
            ConnectorError::NoSuchTable {
                table: "orders".to_owned(),
            },
        ),
        (400, ConnectorError::Refused),
    ] {
        let server =
            Server::start(move |_| StatusCode::from_u16(status).unwrap().into_response()).await;
        let (connector, source) = (server.connector(), server.source(Paging::None));
        let expected = Err(error.clone());
        assert_eq!(connector.test(&source, LIMITS).await, expected, "{status}");
        let described = connector.describe(&source, LIMITS).await;
        assert_eq!(described, Err(error.clone()), "{status}");
        assert_eq!(server.read(Paging::None).await, Err(error), "{status}");
        assert_eq!(server.targets().len(), 3, "asking again changes nothing");
    }
}

#[tokio::test]
async fn what_is_no_list_of_records_is_malformed() {
    for body in [
        "",
        "<html></html>",
        "[1,",
        "[1] [2]",
        "\"text\"",
        "null",
        "[\"\n\"]",
    ] {
        let server = Server::start(move |_| document(body)).await;
        let malformed = server.read(Paging::None).await;
        assert_eq!(malformed, Err(ConnectorError::Malformed), "{body:?}");
    }
}

#[tokio::test]
async fn a_server_that_fails_is_asked_again_a_few_times() {
    let server = Server::start(|asked| match asked.before {
        0 => StatusCode::BAD_GATEWAY.into_response(),
        1 => (StatusCode::TOO_MANY_REQUESTS, [("retry-after", "0")]).into_response(),
        _ => document("[1]"),
    })
    .await;
    assert_eq!(server.read(Paging::None).await.unwrap(), ["{\"value\":1}"]);

    let server = Server::start(|_| {
        (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]).into_response()
    })
    .await;
    let failed = server.read(Paging::None).await;
    assert_eq!(failed, Err(ConnectorError::Unreachable));
    assert_eq!(server.targets().len(), 4);
}

#[tokio::test]
async fn a_wait_that_does_not_fit_or_is_long_is_not_begun() {
    for (status, told) in [
        (StatusCode::TOO_MANY_REQUESTS, "61"),
        (StatusCode::TOO_MANY_REQUESTS, "31"),
        (StatusCode::SERVICE_UNAVAILABLE, "31"),
    ] {
        let server =
            Server::start(move |_| (status, [("retry-after", told)]).into_response()).await;
        let throttled = server.read(Paging::None).await;
        assert_eq!(throttled, Err(ConnectorError::Throttled), "{status} {told}");
        assert_eq!(server.targets().len(), 1);
    }
}

#[tokio::test]
async fn an_answer_is_bounded_in_size_and_time() {
    let server = Server::start(|_| {
        // 33 MiB of space around an empty list, without a length that would tell.
        let space = Bytes::from(vec![b' '; 1 << 20]);
        let chunks = stream::repeat(space)
            .take(33)
            .chain(stream::once(async { "[]".into() }));
        document(Body::from_stream(chunks.map(Ok::<Bytes, Infallible>)))
    })
    .await;
    let large = server.read(Paging::None).await;
    assert_eq!(large, Err(ConnectorError::TooLarge));

    let server = Server::start(|_| {
        let begun = stream::once(async { Ok::<_, Infallible>(Bytes::from("[1,")) });
        document(Body::from_stream(begun.chain(stream::pending())))
    })
    .await;
    let hasty = Limits {
        total: Duration::from_millis(300),
        ..LIMITS
    };
    let source = server.source(Paging::None);
    let slow = lines(&*server.connector(), source, everything(), hasty).await;
    assert_eq!(slow, Err(ConnectorError::TimedOut));
}

#[tokio::test]
async fn rows_and_bytes_are_bounded_across_pages() {
    let server = Server::start(|asked| document(format!("[{}]", asked.before % 10))).await;
    let rows = Limits { rows: 5, ..LIMITS };
    let bytes = Limits {
        bytes: 60,
        ..LIMITS
    };
    for limits in [rows, bytes] {
        let source = server.source(pages());
        let found = lines(&*server.connector(), source, everything(), limits).await;
        assert_eq!(found, Err(ConnectorError::TooLarge));
    }
    // Five rows of 12 bytes each are within; the sixth is not.
    assert_eq!(server.targets().len(), 12);
}

#[tokio::test]
async fn a_private_host_that_is_not_listed_is_not_called() {
    let server = Server::start(|_| document("[]")).await;
    let port = server.address.port();
    let nobody_listed = connector(&[]);
    // By address it is refused at once, by name as soon as it is known where that leads.
    for (base, told_at_once) in [
        (format!("http://127.0.0.1:{port}"), true),
        (format!("https://127.0.0.1:{port}"), true),
        (format!("https://2130706433:{port}"), true),
        (format!("http://localhost:{port}"), true),
        (format!("https://localhost:{port}"), false),
    ] {
        let source = source(&base, Paging::None);
        let refused = Err(ConnectorError::HostNotAllowed);
        if told_at_once {
            assert_eq!(nobody_listed.admits(&source), refused, "{base}");
        } else {
            assert_eq!(nobody_listed.admits(&source), Ok(()), "{base}");
        }
        assert_eq!(nobody_listed.test(&source, LIMITS).await, refused, "{base}");
        let read = lines(&*nobody_listed, source, everything(), LIMITS).await;
        assert_eq!(read, Err(ConnectorError::HostNotAllowed), "{base}");
    }
    assert_eq!(server.targets(), [""; 0]);
    let other_port = connector(&[&format!("127.0.0.1:{}", port ^ 1)]);
    let source = server.source(Paging::None);
    assert_eq!(
        other_port.admits(&source),
        Err(ConnectorError::HostNotAllowed)
    );
    assert_eq!(server.connector().admits(&source), Ok(()));
}

#[tokio::test]
async fn nobody_there_is_told_from_no_such_list() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unused.local_addr().unwrap().to_string();
    drop(unused);
    let source = source(&format!("http://{address}"), Paging::None);
    let connector = connector(&[&address]);
    let unreachable = connector.test(&source, LIMITS).await;
    assert_eq!(unreachable, Err(ConnectorError::Unreachable));
    let read = TableRead {
        table: "other".to_owned(),
        ..everything()
    };
    let unknown = lines(&*connector, source, read, LIMITS).await;
    let table = "other".to_owned();
    assert_eq!(unknown, Err(ConnectorError::NoSuchTable { table }));
}

#[tokio::test]
async fn nothing_of_place_proof_or_answers_is_shown_or_logged() {
    let log = Log::keep(tracing::Level::TRACE);
    let mut shown = String::new();
    for status in [200, 401, 500] {
        let server = Server::start(move |_| {
            let body = r#"["canary-answer", {]"#;
            let status = StatusCode::from_u16(status).unwrap();
            (status, [("retry-after", "0")], body).into_response()
        })
        .await;
        let proofs = [
            RestAuth::Bearer(secret("canary-token")),
            RestAuth::Basic {
                user: secret("canary-user"),
                password: secret("canary-password"),
            },
            RestAuth::Header {
                name: "x-api-key".to_owned(),
                value: secret("canary-value"),
            },
        ];
        for auth in proofs {
            let mut source = server.source(cursor());
            if let Source::Rest { place, auth: sent } = &mut source {
                place.base_url.set_path("/canary-base");
                *sent = auth;
            }
            let connector = server.connector();
            let error = connector.test(&source, LIMITS).await.unwrap_err();
            let more = format!("{error} {error:?} {source:?} {connector:?}");
            shown.push_str(&more);
        }
    }
    let log = log.text();
    assert!(log.contains("rest-generic"), "the calls are logged: {log}");
    for text in [&log, &shown] {
        assert!(!text.contains("canary"), "{text}");
        assert!(!text.contains("Y2FuYXJ5"), "{text}");
    }
}
