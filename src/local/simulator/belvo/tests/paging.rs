use std::collections::HashSet;

use super::*;

type Wanted<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

fn list(size: &str) -> String {
    format!("/api/transactions/?link={LINK}{size}")
}

/// Follows `next` from page to page and gives the ids in the order met.
fn follow(bench: &mut Bench, first: String) -> Vec<String> {
    let mut ids = Vec::new();
    let mut next = Some(first);
    while let Some(target) = next {
        let (status, body) = bench.get(&target);
        assert_eq!(status, 200, "{target}");
        let page = body["results"].as_array().unwrap();
        ids.extend(
            page.iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        next = body["next"].as_str().map(|next| {
            next.strip_prefix("http://127.0.0.1:4019")
                .unwrap()
                .to_owned()
        });
    }
    ids
}

#[test]
fn the_pages_together_are_the_list() {
    let mut bench = Bench::new();
    let ids = follow(&mut bench, list("&page_size=40"));
    let whole: Vec<_> = bench
        .rows(LINK, "")
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids, whole);
}

#[test]
fn a_page_names_its_neighbours_on_the_host_that_was_asked() {
    let mut bench = Bench::new();
    let (_, first) = bench.get(&list(""));
    let base = format!("http://127.0.0.1:4019/api/transactions/?link={LINK}");
    assert_eq!(first["count"], 301);
    assert_eq!(first["results"].as_array().unwrap().len(), 100);
    assert_eq!(first["next"], format!("{base}&page=2"));
    assert_eq!(first["previous"], Value::Null);
    let (_, second) = bench.get(&list("&page=2"));
    assert_eq!(second["previous"], base);
    let (_, last) = bench.get(&list("&page=4"));
    assert_eq!(last["next"], Value::Null);
    assert_eq!(last["results"].as_array().unwrap().len(), 1);
}

#[test]
fn a_page_past_the_end_is_not_found_and_an_empty_first_one_is() {
    let mut bench = Bench::new();
    for page in ["5", "0", "-1", "two", "18446744073709551615"] {
        let (status, body) = bench.get(&list(&format!("&page={page}")));
        assert_eq!(
            (status, &fault(&body)["code"]),
            (404, &json!("not_found")),
            "{page}"
        );
    }
    assert_eq!(bench.get(&list("&value_date=1999-01-01")).1["count"], 0);
}

#[test]
fn a_page_is_a_hundred_or_ten_and_never_more_than_a_thousand() {
    let mut bench = Bench::new();
    bench.play("set", &json!({ "page_size": 10 }));
    let size = |bench: &mut Bench, asked: &str| {
        bench.get(&list(asked)).1["results"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!(size(&mut bench, ""), 10);
    assert_eq!(size(&mut bench, "&page_size=0"), 10);
    assert_eq!(size(&mut bench, "&page_size=37"), 37);
    bench
        .world
        .add_rows(&json!({ "count": 900 }), bench.now)
        .unwrap();
    assert_eq!(size(&mut bench, "&page_size=5000"), 1000);
    bench.play("set", &json!({ "most_per_page": 25 }));
    assert_eq!(size(&mut bench, "&page_size=5000"), 25);
}

#[test]
fn transactions_are_listed_of_a_link_that_is_there() {
    let mut bench = Bench::new();
    let (status, body) = bench.get("/api/transactions/");
    assert_eq!((status, &fault(&body)["code"]), (400, &json!("required")));
    assert_eq!(fault(&body)["field"], "link");
    let (status, body) = bench.get("/api/transactions/?link=17");
    assert_eq!((status, &fault(&body)["code"]), (400, &json!("invalid")));
    let other = "00000000-0000-4000-8000-000000000000";
    assert_eq!(
        bench.get(&format!("/api/transactions/?link={other}")).0,
        404
    );
}

#[test]
fn each_filter_admits_what_it_names() {
    let mut bench = Bench::new();
    let all = bench.rows(LINK, "");
    let accounts: Vec<String> = bench
        .accounts(LINK)
        .iter()
        .map(|account| account["id"].as_str().unwrap().to_owned())
        .collect();
    let day = |row: &Value| row["value_date"].as_str().unwrap().to_owned();
    let known = |row: &Value| row["created_at"].as_str().unwrap()[..10].to_owned();
    let of = |row: &Value, which: &[usize]| {
        let id = row["account"]["id"].as_str().unwrap();
        which.iter().any(|place| accounts[*place] == id)
    };
    let cases: Vec<(String, Wanted<'_>)> = vec![
        (
            format!("account={}", accounts[2]),
            Box::new(|row| of(row, &[2])),
        ),
        (
            format!("account__in={},{}", accounts[0], accounts[1]),
            Box::new(|row| of(row, &[0, 1])),
        ),
        (
            "status=PENDING".to_owned(),
            Box::new(|row| row["status"] == "PENDING"),
        ),
        (
            "type=INFLOW".to_owned(),
            Box::new(|row| row["type"] == "INFLOW"),
        ),
        (
            "value_date=2026-04-20".to_owned(),
            Box::new(|row| day(row) == "2026-04-20"),
        ),
        (
            "value_date__gt=2026-04-10".to_owned(),
            Box::new(|row| *day(row) > *"2026-04-10"),
        ),
        (
            "value_date__gte=2026-04-10".to_owned(),
            Box::new(|row| *day(row) >= *"2026-04-10"),
        ),
        (
            "value_date__lt=2026-04-10".to_owned(),
            Box::new(|row| *day(row) < *"2026-04-10"),
        ),
        (
            "value_date__lte=2026-04-10".to_owned(),
            Box::new(|row| *day(row) <= *"2026-04-10"),
        ),
        (
            "value_date__range=2026-03-01,2026-03-31".to_owned(),
            Box::new(|row| day(row).starts_with("2026-03")),
        ),
        (
            "created_at__gte=2026-04-18".to_owned(),
            Box::new(|row| *known(row) >= *"2026-04-18"),
        ),
        (
            "created_at__lte=2026-04-18".to_owned(),
            Box::new(|row| *known(row) <= *"2026-04-18"),
        ),
        (
            "created_at__range=2026-02-01,2026-02-28".to_owned(),
            Box::new(|row| known(row).starts_with("2026-02")),
        ),
        (
            "collected_at__lte=2026-02-28".to_owned(),
            Box::new(|row| row["collected_at"].as_str().unwrap()[..10] <= *"2026-02-28"),
        ),
    ];
    for (filter, wanted) in cases {
        let expected: Vec<_> = all.iter().filter(|row| wanted(row)).cloned().collect();
        assert!(
            !expected.is_empty() && expected.len() < all.len(),
            "{filter} proves nothing"
        );
        assert_eq!(
            bench.rows(LINK, &format!("&{filter}")),
            expected,
            "{filter}"
        );
    }
}

#[test]
fn only_the_time_of_collection_is_asked_for_by_the_second() {
    let mut bench = Bench::new();
    let instant = "2026-04-20T15:30:00Z";
    bench.play("daily-refresh", &none());
    let newer = bench.rows(LINK, &format!("&collected_at__gte={instant}"));
    let older = bench.rows(LINK, &format!("&collected_at__lt={instant}"));
    assert!(newer.len() >= 7, "{}", newer.len());
    assert_eq!(newer.len() + older.len(), 308);
    let (status, body) = bench.get(&list(&format!("&created_at__gte={instant}")));
    assert_eq!(
        (status, &fault(&body)["field"]),
        (400, &json!("created_at"))
    );
    assert_eq!(bench.get(&list("&value_date__range=2026-01-01")).0, 400);
}

#[test]
fn a_caller_may_ask_for_less_of_each_row() {
    let mut bench = Bench::new();
    let row = bench.rows(LINK, "&fields=id,amount")[0].clone();
    let members: HashSet<_> = row
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    assert_eq!(members, HashSet::from(["id", "amount"]));
    let row = bench.rows(LINK, "&omit=account")[0].clone();
    assert!(row.get("account").is_none() && row.get("amount").is_some());
}

#[test]
fn a_row_that_comes_in_between_two_pages_shows_another_one_twice() {
    let mut bench = Bench::new();
    bench.play("page-drift", &none());
    let ids = follow(&mut bench, list("&page_size=100"));
    let distinct: HashSet<_> = ids.iter().collect();
    assert_eq!((ids.len(), distinct.len()), (302, 301));
    assert_eq!(bench.rows(LINK, "").len(), 302);
}

#[test]
fn a_row_that_goes_between_two_pages_hides_another_one() {
    let mut bench = Bench::new();
    bench.play("page-drift", &json!({ "delete": 1 }));
    let whole = bench.rows(LINK, "");
    let ids = follow(&mut bench, list("&page_size=100"));
    let hidden: Vec<_> = whole
        .iter()
        .filter(|row| !ids.contains(&row["id"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(hidden, [&whole[100]]);
    assert_eq!(bench.rows(LINK, "").len(), 300);
}

#[test]
fn a_drift_is_told_of_by_the_page_it_happened_under() {
    let mut bench = Bench::new();
    bench.play("page-drift", &json!({ "insert": 1, "delete": 1 }));
    let (.., notices) = bench.ask("GET", &list(""), b"");
    assert_eq!(notices, []);
    let (_, body, notices) = bench.ask("GET", &list("&page=2"), b"");
    let told: Vec<_> = notices.iter().map(|notice| what(&notice.body)).collect();
    assert_eq!(
        told,
        [
            "TRANSACTIONS transactions_deleted",
            "TRANSACTIONS new_transactions_available"
        ]
    );
    assert_eq!(body["count"], 301);
    let (.., notices) = bench.ask("GET", &list("&page=2"), b"");
    assert_eq!(notices, []);
}

#[test]
fn a_page_can_lead_to_itself_or_to_another_host_until_told_otherwise() {
    let mut bench = Bench::new();
    bench.play("repeat-page", &none());
    let (_, page) = bench.get(&list("&page=4"));
    assert!(page["next"].as_str().unwrap().ends_with("&page=4"));
    bench.play("repeat-page", &json!({ "on": false }));
    bench.play("foreign-next", &json!({ "host": "elsewhere.example" }));
    let (_, page) = bench.get(&list("&page=2"));
    assert!(
        page["next"]
            .as_str()
            .unwrap()
            .starts_with("http://elsewhere.example/api/")
    );
    assert!(
        page["previous"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:4019/")
    );
    bench.play("foreign-next", &json!({ "on": false }));
    let (_, page) = bench.get(&list("&page=2"));
    assert!(
        page["next"]
            .as_str()
            .unwrap()
            .starts_with("http://127.0.0.1:4019/")
    );
}

#[test]
fn a_fault_can_come_with_a_status_that_denies_it() {
    let mut bench = Bench::new();
    bench.play("error-in-200", &json!({ "times": 2 }));
    for target in [list(""), format!("/api/accounts/?link={LINK}")] {
        let (status, body) = bench.get(&target);
        assert_eq!(
            (status, &fault(&body)["code"]),
            (200, &json!("unexpected_error"))
        );
    }
    assert_eq!(bench.get(&list("")).1["count"], 301);
}
