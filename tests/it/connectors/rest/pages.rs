//! From page to page, and not astray.

use super::*;

#[tokio::test]
async fn numbered_pages_end_with_one_that_is_empty_or_not_there() {
    for missing in [false, true] {
        let server = Server::start(move |asked| match asked.query("page").unwrap() {
            "1" => document("[1,2]"),
            "2" => document("[3]"),
            _ if missing => StatusCode::NOT_FOUND.into_response(),
            _ => document("[]"),
        })
        .await;
        let found = server.read(pages()).await.unwrap();
        assert_eq!(found, [1, 2, 3].map(|n| format!("{{\"value\":{n}}}")));
        let targets = server.targets();
        assert_eq!(targets[0], "/api/orders?limit=2&page=1");
        assert_eq!(targets[2], "/api/orders?limit=2&page=3");
        // What is not there may be the whole list; the first page tells.
        assert_eq!(targets.len(), if missing { 4 } else { 3 });
    }
}

#[tokio::test]
async fn a_list_that_goes_while_it_is_read_is_not_taken_for_its_end() {
    let server = Server::start(|asked| {
        if asked.before == 0 {
            document("[1]")
        } else {
            StatusCode::NOT_FOUND.into_response()
        }
    })
    .await;
    let gone = ConnectorError::NoSuchTable {
        table: "orders".to_owned(),
    };
    assert_eq!(server.read(pages()).await, Err(gone));
}

#[tokio::test]
async fn a_cursor_is_followed_to_its_end() {
    let server = Server::start(|asked| {
        document(match asked.query("after") {
            None => r#"{"items": [1], "next": "a/b+c"}"#,
            Some("a%2Fb%2Bc") => r#"{"items": [], "next": 2}"#,
            Some(_) => r#"{"items": [3], "next": null}"#,
        })
    })
    .await;
    let Source::Rest { mut place, auth } = server.source(cursor()) else {
        unreachable!()
    };
    place.resources[0].record_path = "/items".to_owned();
    let source = Source::Rest { place, auth };
    let found = lines(&*server.connector(), source, everything(), LIMITS).await;
    assert_eq!(found.unwrap(), ["{\"value\":1}", "{\"value\":3}"]);
    assert_eq!(server.targets().len(), 3);
}

#[tokio::test]
async fn a_list_without_an_end_is_an_error() {
    let server = Server::start(|asked| {
        let next = format!("<?page={}>; rel=next", asked.before % 3);
        ([("link", next)], r#"{"next": "again"}"#).into_response()
    })
    .await;
    for paging in [pages(), cursor(), Paging::Link] {
        let endless = server.read(paging).await;
        assert_eq!(endless, Err(ConnectorError::Malformed));
    }
}

#[tokio::test]
async fn a_link_is_followed_with_the_proof() {
    let server = Server::start(|asked| match asked.query("page") {
        None => {
            let links = "</api/orders>; rel=\"first\", </api/orders?page=2>; rel=\"next\"";
            ([("link", links)], "[1]").into_response()
        }
        Some(_) => document("[2]"),
    })
    .await;
    let Source::Rest { place, .. } = server.source(Paging::Link) else {
        unreachable!()
    };
    let auth = RestAuth::Bearer(secret("token"));
    let source = Source::Rest { place, auth };
    let found = lines(&*server.connector(), source, everything(), LIMITS).await;
    assert_eq!(found.unwrap(), ["{\"value\":1}", "{\"value\":2}"]);
    assert_eq!(server.targets(), ["/api/orders", "/api/orders?page=2"]);
    for asked in server.asked.lock().unwrap().iter() {
        assert_eq!(asked.headers["authorization"], "Bearer token");
    }
}

#[tokio::test]
async fn nothing_leads_to_another_server() {
    let other = Server::start(|_| document("[]")).await;
    let elsewhere = format!("http://{}/", other.address);
    for status in [200, 301, 302, 303, 307, 308] {
        let target = elsewhere.clone();
        let server = Server::start(move |_| {
            let links = [
                ("link", format!("<{target}>; rel=next")),
                ("location", target.clone()),
            ];
            (StatusCode::from_u16(status).unwrap(), links, "[1]").into_response()
        })
        .await;
        let listed = [server.address.to_string(), other.address.to_string()];
        let connector = connector(&[&listed[0], &listed[1]]);
        let source = server.source(Paging::Link);
        let refused = lines(&*connector, source, everything(), LIMITS).await;
        assert_eq!(refused, Err(ConnectorError::Refused), "{status}");
    }
    assert_eq!(other.targets(), [""; 0]);
}
