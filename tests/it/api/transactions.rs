//! Accounts and transactions: lists, filters, exports, versions.

mod exports;
mod versions;

use axum::{body::Body, http::Method};
use matcher_discovery::domain::{
    ids::TenantId,
    random::OsRandom,
    transaction::{CardDetails, Counterparty, Direction, References, TransactionStatus},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::transaction_changes::settled;
use crate::{
    rows::{Ledger, account, noon, row, rows},
    support::{Answer, Client, TestApp},
};

pub(crate) const PATH: &str = "/v1/discovery/transactions";

pub(crate) fn of_connection(ledger: &Ledger, what: &str) -> String {
    format!(
        "/v1/discovery/aggregator-connections/{}/{what}",
        ledger.connection
    )
}

fn names(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().unwrap().iter();
    items.map(|one| one["vendorId"].as_str().unwrap()).collect()
}

async fn listed(client: &Client, path: &str) -> Vec<String> {
    let page = client.get(path).await.expect(200);
    names(&page).into_iter().map(ToOwned::to_owned).collect()
}

async fn get_as(client: &Client, path: &str, accept: &str) -> Answer {
    let request = client
        .request(Method::GET, path)
        .header("accept", accept)
        .body(Body::empty());
    client.send(request.unwrap()).await
}

/// Rows of three days, the later the number the later the day.
async fn three_days(ledger: &Ledger) {
    let mut page = rows(&["1", "2", "3"]);
    for (row, day) in page
        .iter_mut()
        .zip(["2026-02-27", "2026-02-28", "2026-03-01"])
    {
        row.civil_date = day.parse().unwrap();
    }
    page[0].status = TransactionStatus::Pending;
    page[1].direction = Direction::Credit;
    page[1].amount = "12.5".parse().unwrap();
    ledger.apply(1, &page).await;
}

#[tokio::test]
async fn a_transaction_is_told_with_what_the_vendor_told_and_nothing_else() {
    let app = TestApp::start().await;
    let ledger = Ledger::open(&app).await;
    let mut full = row("full");
    full.amount_in_account_currency = Some("-62.1".parse().unwrap());
    full.category = Some("Food".to_owned());
    full.payment_method = Some("PIX".to_owned());
    full.counterparty = Some(Counterparty {
        name: Some("Loja".to_owned()),
        document_type: Some("CNPJ".to_owned()),
        masked_document: Some("****0001".to_owned()),
        bank: Some("00000000".to_owned()),
    });
    full.references = References {
        bank_id: Some("b1".to_owned()),
        code: Some("c1".to_owned()),
        payment: Some("E1".to_owned()),
    };
    full.card = Some(CardDetails {
        masked_number: Some("****1234".to_owned()),
        instalment: Some(1),
        instalments: Some(3),
        total_amount: Some("37.50".parse().unwrap()),
        purchase_date: Some("2026-02-28".parse().unwrap()),
        bill_id: Some("bill".to_owned()),
        merchant_category: Some("5411".to_owned()),
    });
    ledger.apply(1, &[row("plain"), full]).await;

    let page = app.client().get(PATH).await.expect(200);
    let items = page["items"].as_array().unwrap();
    let one = |name: &str| items.iter().find(|one| one["vendorId"] == name).unwrap();
    let mut wanted = json!({
        "id": one("plain")["id"],
        "connectionId": ledger.connection,
        "accountId": ledger.account,
        "vendorId": "plain",
        "date": "2026-03-01T12:00:00Z",
        "civilDate": "2026-03-01",
        "description": "Padaria plain",
        "direction": "debit",
        "amount": "-12.50",
        "currency": "BRL",
        "status": "posted",
        "version": 1,
        "firstSeenAt": "2026-03-01T12:01:00Z",
        "updatedAt": "2026-03-01T12:01:00Z",
    });
    assert_eq!(*one("plain"), wanted);
    let more = json!({
        "id": one("full")["id"],
        "vendorId": "full",
        "description": "Padaria full",
        "amountInAccountCurrency": "-62.10",
        "category": "Food",
        "paymentMethod": "PIX",
        "counterparty": {
            "name": "Loja", "documentType": "CNPJ", "maskedDocument": "****0001",
            "bank": "00000000",
        },
        "references": {"bankId": "b1", "code": "c1", "payment": "E1"},
        "card": {
            "maskedNumber": "****1234", "instalment": 1, "instalments": 3,
            "totalAmount": "37.50", "purchaseDate": "2026-02-28", "billId": "bill",
            "merchantCategory": "5411",
        },
    });
    for (member, value) in more.as_object().unwrap() {
        wanted[member] = value.clone();
    }
    assert_eq!(*one("full"), wanted);
    let path = format!("{PATH}/{}", one("full")["id"].as_str().unwrap());
    assert_eq!(app.client().get(&path).await.expect(200), wanted);
}

#[tokio::test]
async fn the_newest_day_comes_first_and_every_filter_narrows() {
    let app = TestApp::start().await;
    let client = app.client();
    let ledger = Ledger::open(&app).await;
    let other = Ledger::open_as(&app, app.tenant, &client, "second").await;
    three_days(&ledger).await;
    other.apply(1, &rows(&["x"])).await;
    ledger.apply(2, &rows(&["gone"])).await;
    ledger.delete(3, &["gone"]).await;

    let own = of_connection(&ledger, "transactions");
    assert_eq!(listed(&client, &own).await, ["3", "2", "1"]);
    let (mine, theirs) = (ledger.account, other.account);
    for (filter, wanted) in [
        ("status=pending", vec!["1"]),
        ("direction=credit", vec!["2"]),
        ("dateFrom=2026-02-28", vec!["3", "2"]),
        ("dateTo=2026-02-28", vec!["2", "1"]),
        ("dateFrom=2026-02-28&dateTo=2026-02-28", vec!["2"]),
        (
            "dateFrom=2026-02-28&direction=debit&status=posted",
            vec!["3"],
        ),
        (&format!("accountId={mine}"), vec!["3", "2", "1"]),
        (&format!("accountId={theirs}"), vec![]),
    ] {
        let path = format!("{own}?{filter}");
        assert_eq!(listed(&client, &path).await, wanted, "{filter}");
    }
    let all = format!("{PATH}?dateTo=2026-02-28");
    assert_eq!(listed(&client, &all).await, ["2", "1"]);
    let account = format!("{PATH}?accountId={theirs}");
    assert_eq!(listed(&client, &account).await, ["x"]);
    let everything = listed(&client, PATH).await;
    assert_eq!(everything.len(), 4, "{everything:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_list_is_told_at_once() {
    let app = TestApp::start().await;
    let client = app.client();
    let ledger = Ledger::open(&app).await;
    for path in [PATH.to_owned(), of_connection(&ledger, "transactions")] {
        client
            .get(&format!(
                "{path}?accountId=a&status=done&direction=up&dateFrom=2026-02-30&dateTo=1.3.2026&x=1"
            ))
            .await
            .expect_faults(
                "MTCH-0001",
                &[
                    "query.accountId",
                    "query.status",
                    "query.direction",
                    "query.dateFrom",
                    "query.dateTo",
                    "query.x",
                ],
            );
        client
            .get(&format!("{path}?dateFrom=2026-03-02&dateTo=2026-03-01"))
            .await
            .expect_faults("MTCH-0001", &["query.dateTo"]);
        for limit in ["0", "201", "x"] {
            client
                .get(&format!("{path}?limit={limit}"))
                .await
                .expect_faults("MTCH-0214", &["query.limit"]);
        }
        // What belongs to pages is not known where everything comes at once.
        for accept in ["text/csv", "application/x-ndjson"] {
            get_as(&client, &format!("{path}?limit=5&cursor=x"), accept)
                .await
                .expect_faults("MTCH-0001", &["query.limit", "query.cursor"]);
            get_as(&client, &format!("{path}?status=done"), accept)
                .await
                .expect_faults("MTCH-0001", &["query.status"]);
        }
    }
}

#[tokio::test]
async fn pages_lead_through_a_list_in_both_directions() {
    let app = TestApp::start().await;
    let client = app.client();
    let ledger = Ledger::open(&app).await;
    // A second account: its rows lie between those of the first one.
    let mut tx = ledger.tx().await;
    let accounts = [account("a"), account("b")];
    let stored = tx
        .upsert_accounts(ledger.connection, &accounts, noon(), &OsRandom)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let second = Ledger {
        store: app.store(),
        account: stored[1].id,
        ..ledger
    };
    for (ledger, parity) in [(&ledger, 0), (&second, 1)] {
        let rows: Vec<_> = (0..23)
            .filter(|number| number % 2 == parity)
            .map(|number| {
                let mut row = row(&format!("{number:02}"));
                // Several on one day.
                row.civil_date = format!("2026-02-{:02}", 1 + number / 3).parse().unwrap();
                row
            })
            .collect();
        ledger.apply(1, &rows).await;
    }
    for path in [PATH.to_owned(), of_connection(&ledger, "transactions")] {
        let whole = client.get(&format!("{path}?limit=200")).await.expect(200);
        assert_eq!(whole["hasMore"], false);
        assert_eq!(whole.get("nextCursor"), None);
        let days: Vec<&str> = whole["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["civilDate"].as_str().unwrap())
            .collect();
        assert!(days.is_sorted_by(|a, b| a >= b), "{days:?}");

        let mut walked: Vec<String> = Vec::new();
        let mut pages = Vec::new();
        let mut next = format!("{path}?limit=5");
        loop {
            let page = client.get(&next).await.expect(200);
            walked.extend(names(&page).into_iter().map(ToOwned::to_owned));
            pages.push(page.clone());
            let Some(cursor) = page["nextCursor"].as_str() else {
                break;
            };
            next = format!("{path}?limit=5&cursor={cursor}");
        }
        assert_eq!(walked, names(&whole));
        assert_eq!(pages.len(), 5);
        let back = pages[2]["prevCursor"].as_str().unwrap();
        let back = client.get(&format!("{path}?limit=5&cursor={back}")).await;
        assert_eq!(back.expect(200)["items"], pages[1]["items"]);

        // A cursor is good for its list with its filters, and for its tenant.
        let cursor = pages[0]["nextCursor"].as_str().unwrap();
        let elsewhere = format!("{path}?cursor={cursor}&status=posted");
        client
            .get(&elsewhere)
            .await
            .expect_faults("MTCH-0214", &["query.cursor"]);
    }
    let cursor = client.get(&format!("{PATH}?limit=5")).await.expect(200);
    let cursor = cursor["nextCursor"].as_str().unwrap().to_owned();
    for path in [
        of_connection(&ledger, "transactions"),
        of_connection(&ledger, "accounts"),
        format!("{PATH}/changes"),
    ] {
        client
            .get(&format!("{path}?cursor={cursor}"))
            .await
            .expect_faults("MTCH-0214", &["query.cursor"]);
    }
    app.other_tenant()
        .get(&format!("{PATH}?cursor={cursor}"))
        .await
        .expect_faults("MTCH-0214", &["query.cursor"]);
}

#[tokio::test]
async fn accounts_are_listed_as_they_were_last_pulled() {
    let app = TestApp::start().await;
    let client = app.client();
    let ledger = Ledger::open(&app).await;
    let path = of_connection(&ledger, "accounts");
    let wanted = json!({
        "id": ledger.account,
        "vendorId": "a",
        "type": "bank",
        "name": "Conta",
        "maskedNumber": "****5678",
        "currency": "BRL",
        "balance": "10.50",
        "updatedAt": "2026-03-01T12:00:00Z",
    });
    let page = client.get(&path).await.expect(200);
    assert_eq!(
        page,
        json!({"items": [wanted], "limit": 20, "hasMore": false})
    );
    let mut tx = ledger.tx().await;
    let more: Vec<_> = (0..4).map(|number| account(&number.to_string())).collect();
    tx.upsert_accounts(ledger.connection, &more, noon(), &OsRandom)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let whole = client.get(&path).await.expect(200);
    let first = client.get(&format!("{path}?limit=3")).await.expect(200);
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = client.get(&format!("{path}?limit=3&cursor={cursor}")).await;
    let second = second.expect(200);
    let both = [names(&first), names(&second)].concat();
    assert_eq!(both, names(&whole));
    let cursor = second["prevCursor"].as_str().unwrap();
    let back = client.get(&format!("{path}?limit=3&cursor={cursor}")).await;
    assert_eq!(back.expect(200)["items"], first["items"]);
    client
        .get(&format!("{path}?limit=0&x=1"))
        .await
        .expect_faults("MTCH-0001", &["query.limit", "query.x"]);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let app = TestApp::start().await;
    let client = app.client();
    let ledger = Ledger::open(&app).await;
    ledger.apply(1, &rows(&["1"])).await;
    let never = Uuid::from_u128(5);
    for path in [
        format!("{PATH}/{never}"),
        format!("{PATH}/{never}/versions"),
        format!("{PATH}/nonsense"),
    ] {
        client.get(&path).await.expect_problem(404, "MTCH-0005");
    }
    let lists = ["accounts", "transactions"].map(|what| of_connection(&ledger, what));
    let connection = of_connection(&ledger, "").trim_end_matches('/').to_owned();
    client.delete(&connection).await.expect(204);
    for path in &lists {
        client.get(path).await.expect_problem(404, "MTCH-0201");
        for accept in ["text/csv", "application/x-ndjson"] {
            get_as(&client, path, accept)
                .await
                .expect_problem(404, "MTCH-0201");
        }
    }
}

#[tokio::test]
async fn another_tenant_sees_none_of_it_in_any_form() {
    let app = TestApp::start().await;
    let mine = Ledger::open(&app).await;
    mine.apply(1, &rows(&["mine"])).await;
    let other = app.other_tenant();
    let tenant = TenantId(Uuid::from_u128(0x2222_2222_2222_2222_2222_2222_2222_2222));
    let theirs = Ledger::open_as(&app, tenant, &other, "main").await;
    theirs.apply(1, &rows(&["theirs"])).await;
    assert_eq!(listed(&other, PATH).await, ["theirs"]);
    let account = format!("{PATH}?accountId={}", mine.account);
    assert_eq!(listed(&other, &account).await, [""; 0]);
    for accept in ["text/csv", "application/x-ndjson"] {
        let text = get_as(&other, PATH, accept).await.body;
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("theirs") && !text.contains("mine"), "{text}");
    }
    settled(&app).await;
    let feed = other.get(&format!("{PATH}/changes")).await.expect(200);
    assert_eq!(feed["items"].as_array().unwrap().len(), 1, "{feed:#}");
    assert_eq!(feed["items"][0]["transaction"]["vendorId"], "theirs");
    let id = app.client().get(PATH).await.expect(200)["items"][0]["id"].clone();
    let path = format!("{PATH}/{}", id.as_str().unwrap());
    app.client().get(&path).await.expect(200);
    other.get(&path).await.expect_problem(404, "MTCH-0005");
    other
        .get(&format!("{path}/versions"))
        .await
        .expect_problem(404, "MTCH-0005");
}
