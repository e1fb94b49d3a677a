use super::*;

#[test]
fn given_members_replace_the_drawn_ones_as_they_are() {
    let mut bench = Bench::new();
    let before = cents(&bench.accounts(LINK)[0]["balance"]["current"]);
    let rows = json!([
        { "amount": "149.90", "type": "INFLOW", "description": "PIX RECEBIDO PADARIA" },
        { "amount": 10, "type": "OUTFLOW", "status": "PENDING", "value_date": "2026-04-01" },
    ]);
    let notices = bench
        .world
        .add_rows(&json!({ "rows": rows }), bench.now)
        .unwrap();
    assert_eq!(notices[0].body["data"], json!({ "new_transactions": 2 }));
    let found = bench.rows(LINK, "&created_at=2026-04-20");
    let padaria = found
        .iter()
        .find(|row| row["description"] == "PIX RECEBIDO PADARIA");
    assert_eq!(padaria.unwrap()["amount"], "149.90");
    let pending = bench.rows(LINK, "&status=PENDING&value_date=2026-04-01");
    assert_eq!(pending[0]["amount"], 10);
    let after = cents(&bench.accounts(LINK)[0]["balance"]["current"]);
    assert_eq!(after - before, 14_990, "what is pending moves nothing yet");
}

#[test]
fn rows_are_added_to_the_account_that_is_named() {
    let mut bench = Bench::new();
    let card = bench.accounts(LINK)[2]["id"].clone();
    let filter = format!("&account={}", card.as_str().unwrap());
    let before = bench.rows(LINK, &filter).len();
    let params = json!({ "account": card, "count": 50, "days": 5 });
    bench.world.add_rows(&params, bench.now).unwrap();
    assert_eq!(bench.rows(LINK, &filter).len(), before + 50);
}

#[test]
fn a_slip_is_told_and_adds_nothing() {
    let mut bench = Bench::new();
    let taken = bench.rows(LINK, "")[0]["id"].clone();
    for (params, said) in [
        (json!({ "acount": 1 }), "acount"),
        (
            json!({ "account": "00000000-0000-4000-8000-000000000000" }),
            "no such account",
        ),
        (json!({ "account": 1 }), "account is text"),
        (json!({ "count": 1_000_000 }), "count"),
        (json!({ "rows": {} }), "rows is a list"),
        (json!({ "rows": [{}, 1] }), "rows[1]"),
        (json!({ "rows": [{ "id": taken }] }), "there already"),
        (json!({ "rows": [{ "id": "x" }] }), "UUID"),
        (json!({ "rows": [{ "value_date": "today" }] }), "YYYY-MM-DD"),
        (
            json!({ "rows": [{ "created_at": "2026-01-01" }] }),
            "created_at",
        ),
        (json!([]), "object"),
    ] {
        let told = bench.world.add_rows(&params, bench.now).unwrap_err();
        assert!(told.contains(said), "{told}");
    }
    assert_eq!(bench.rows(LINK, "").len(), 301);
}
