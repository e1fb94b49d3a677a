use std::collections::BTreeMap;

use proptest::prelude::*;
use uuid::Uuid;

use super::{
    hints::{FEW, MANY},
    *,
};
use crate::domain::event::Hint;

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn input(hints: &Hints, cursor: Cursor) -> PlanInput<'_> {
    PlanInput {
        vendor: Vendor::Pluggy,
        connection: ConnectionId(Uuid::nil()),
        demand: Demand::Named,
        asked_at: at("2026-03-01T12:00:00Z"),
        backfill: None,
        hints,
        account: "a",
        cursor,
        named: None,
        now: at("2026-03-01T12:00:00Z"),
    }
}

fn fresh() -> Cursor {
    let at = at("2026-03-01T11:00:00Z");
    Cursor {
        watermark: Some(at),
        window_at: Some(at),
        full_at: Some(at),
        backfill: None,
    }
}

fn hints(events: impl IntoIterator<Item = Hint>) -> Hints {
    let mut hints = Hints::default();
    for event in events {
        hints.merge(event, None);
    }
    hints
}

/// The names that a step reads.
fn names(step: &Step) -> &[String] {
    match step {
        Step::Named { ids, .. } => ids,
        _ => &[],
    }
}

#[test]
fn an_account_that_was_never_read_is_read_whole() {
    let steps = plan(&input(&Hints::default(), Cursor::default()));
    assert_eq!(steps, [Step::Full]);
}

#[test]
fn what_events_name_is_read_by_name_even_if_the_account_was_never_read_to_its_end() {
    let hints = hints([Hint::Deleted {
        account: None,
        ids: vec!["gone".to_owned()],
    }]);
    let steps = plan(&input(&hints, Cursor::default()));
    assert_eq!(names(&steps[0]), ["gone"]);
    assert_eq!(&steps[1..], [Step::Full]);
}

#[test]
fn new_rows_are_read_from_before_the_watermark_or_from_what_was_told() {
    let told = |since: &str| {
        hints([Hint::Created {
            account: Some("a".to_owned()),
            since: Some(at(since)),
        }])
    };
    let later = told("2026-03-01T11:59:00Z");
    assert_eq!(
        plan(&input(&later, fresh())),
        [Step::CreatedSince(at("2026-03-01T10:30:00Z"))]
    );
    let earlier = told("2026-02-20T00:00:00Z");
    assert_eq!(
        plan(&input(&earlier, fresh())),
        [Step::CreatedSince(at("2026-02-20T00:00:00Z"))]
    );
    let elsewhere = hints([Hint::Created {
        account: Some("b".to_owned()),
        since: None,
    }]);
    assert_eq!(plan(&input(&elsewhere, fresh())), []);
}

#[test]
fn named_rows_are_read_by_name_unless_there_are_too_many() {
    let named = |count: usize| {
        hints([Hint::Updated {
            account: None,
            ids: (0..count).map(|id| format!("{id:05}")).collect(),
        }])
    };
    let steps = plan(&input(&named(2), fresh()));
    assert_eq!(steps.len(), 1);
    assert_eq!(names(&steps[0]), ["00000", "00001"]);
    let many = named(MANY + 1);
    assert_eq!(plan(&input(&many, fresh())), [Step::Full]);
    let few = named(FEW + 1);
    let belvo = PlanInput {
        vendor: Vendor::Belvo,
        ..input(&few, fresh())
    };
    assert_eq!(plan(&belvo), [Step::Full]);
    let now = at("2026-03-01T12:00:00Z");
    assert_eq!(few.steps_anywhere(Vendor::Belvo, None, now), []);
    // Belvo finds a few without their account, so no account is asked for them.
    let two = named(2);
    let belvo = PlanInput {
        vendor: Vendor::Belvo,
        ..input(&two, fresh())
    };
    assert_eq!(plan(&belvo), []);
    let steps = two.steps_anywhere(Vendor::Belvo, None, now);
    assert_eq!(steps.len(), 1);
    assert_eq!(names(&steps[0]), ["00000", "00001"]);
    assert_eq!(two.steps_anywhere(Vendor::Pluggy, None, now), []);
}

#[test]
fn many_named_rows_are_read_with_everything_once() {
    let mut many = hints([Hint::Updated {
        account: None,
        ids: (0..=MANY).map(|id| id.to_string()).collect(),
    }]);
    many.named_at = Some(at("2026-03-01T11:00:01Z"));
    let told = |cursor| PlanInput {
        asked_at: DateTime::UNIX_EPOCH,
        ..input(&many, cursor)
    };
    assert_eq!(plan(&told(fresh())), [Step::Full]);
    let read = fresh().after(&Step::Full, at("2026-03-01T11:00:01Z"));
    assert_eq!(plan(&told(read)), []);
    // Somebody asked for them again since.
    assert_eq!(plan(&input(&many, read)), [Step::Full]);
    let again = fresh().after(&Step::Full, at("2026-03-01T12:00:00Z"));
    assert_eq!(plan(&input(&many, again)), []);
}

#[test]
fn the_calendar_asks_for_windows_daily_and_for_everything_weekly() {
    let none = Hints::default();
    let day_old = Cursor {
        window_at: Some(at("2026-02-28T12:00:00Z")),
        ..fresh()
    };
    assert_eq!(
        plan(&input(&none, day_old)),
        [Step::Window {
            from: "2026-02-19".parse().unwrap(),
            to: "2026-03-02".parse().unwrap(),
        }]
    );
    let week_old = Cursor {
        full_at: Some(at("2026-02-22T12:00:00Z")),
        ..day_old
    };
    // A webhook does not wait for everything.
    assert_ne!(plan(&input(&none, week_old)), [Step::Full]);
    let looking = PlanInput {
        demand: Demand::Recent,
        asked_at: DateTime::UNIX_EPOCH,
        ..input(&none, week_old)
    };
    assert_eq!(plan(&looking), [Step::Full]);
    assert_eq!(plan(&input(&none, fresh())), []);
}

#[test]
fn an_account_whose_rows_move_each_time_is_read_whole_about_daily_and_not_by_each_pull() {
    let none = Hints::default();
    let began = at("2026-03-01T12:00:00Z");
    let cursor = Cursor::default().after_unsettled(&Step::Full, began);
    let reads_all = |demand, later| {
        let steps = plan(&PlanInput {
            demand,
            asked_at: DateTime::UNIX_EPOCH,
            now: began + later,
            ..input(&none, cursor)
        });
        steps.contains(&Step::Full)
    };
    assert!(!reads_all(Demand::Recent, TimeDelta::hours(1)));
    assert!(!reads_all(Demand::Named, TimeDelta::hours(1)));
    assert!(!reads_all(Demand::Named, TimeDelta::days(2)));
    assert!(reads_all(Demand::Recent, TimeDelta::days(1)));
}

#[test]
fn what_was_asked_for_in_vain_is_read_by_the_daily_look_however_lately_it_was_read_before() {
    let told = hints([Hint::Full]);
    assert!(plan(&input(&told, fresh())).contains(&Step::Full));
    let cursor = fresh().after_unsettled(&Step::Full, at("2026-03-01T12:00:00Z"));
    let none = Hints::default();
    let looking = PlanInput {
        demand: Demand::Recent,
        asked_at: DateTime::UNIX_EPOCH,
        now: at("2026-03-02T12:00:00Z"),
        ..input(&none, cursor)
    };
    assert!(plan(&looking).contains(&Step::Full));
}

#[test]
fn a_recent_past_whose_rows_move_each_time_is_read_twice_a_day_and_not_by_each_pull() {
    let none = Hints::default();
    let began = at("2026-03-01T12:00:00Z");
    let day_old = Cursor {
        window_at: Some(began - TimeDelta::days(1)),
        ..fresh()
    };
    let steps = plan(&input(&none, day_old));
    assert_eq!(steps.len(), 1, "{steps:?}");
    for before in [day_old, fresh()] {
        let cursor = before.after_unsettled(&steps[0], began);
        for (later, expected) in [(9, 0), (12, 1)] {
            let webhook = PlanInput {
                now: began + TimeDelta::hours(later),
                ..input(&none, cursor)
            };
            assert_eq!(plan(&webhook).len(), expected, "{later} hours later");
        }
    }
    // Other days say nothing of these.
    let other = Step::Window {
        from: "2025-06-01".parse().unwrap(),
        to: "2025-06-30".parse().unwrap(),
    };
    assert_eq!(day_old.after_unsettled(&other, began), day_old);
}

#[test]
fn a_listing_that_was_begun_before_another_one_takes_nothing_back() {
    let earlier = at("2026-03-01T10:00:00Z");
    let (from, to) = recent_past(earlier);
    for step in [
        Step::Full,
        Step::Window { from, to },
        Step::CreatedSince(earlier),
    ] {
        assert_eq!(fresh().after(&step, earlier), fresh(), "{step:?}");
        assert_ne!(Cursor::default().after(&step, earlier), Cursor::default());
    }
}

#[test]
fn what_an_earlier_attempt_has_read_is_not_read_again() {
    let none = Hints::default();
    let everything = PlanInput {
        demand: Demand::Everything,
        ..input(&none, fresh())
    };
    assert!(plan(&everything).contains(&Step::Full));
    let again = PlanInput {
        asked_at: at("2026-03-01T11:00:00Z"),
        ..everything
    };
    assert!(!plan(&again).contains(&Step::Full));
}

#[test]
fn what_an_attempt_that_was_cut_short_has_read_of_new_rows_is_not_read_again() {
    let told = |heard: Heard| {
        let mut told = Hints::default();
        let hint = Hint::Created {
            account: Some("a".to_owned()),
            since: Some(at("2026-02-20T00:00:00Z")),
        };
        told.merge(hint, heard);
        told
    };
    let began = at("2026-03-01T11:59:00Z");
    let (unheard, heard) = (told(None), told(Some(began)));
    for vendor in Vendor::ALL {
        let asked = |hints, cursor| {
            plan(&PlanInput {
                vendor,
                ..input(hints, cursor)
            })
        };
        let mut cursor = fresh();
        for step in asked(&unheard, fresh()) {
            assert!(asked(&heard, cursor).contains(&step), "{vendor} {step:?}");
            cursor = cursor.after(&step, began);
            assert!(!asked(&heard, cursor).contains(&step), "{vendor} {step:?}");
        }
        assert_eq!(asked(&heard, cursor), [], "{vendor}");
        // What is told anew is read anew.
        let mut again = heard.clone();
        let hint = Hint::Created {
            account: None,
            since: None,
        };
        again.merge(hint, None);
        assert!(!asked(&again, cursor).is_empty(), "{vendor}");
    }
}

#[test]
fn only_what_no_event_asked_for_is_unannounced() {
    let window = Step::Window {
        from: "2026-02-19".parse().unwrap(),
        to: "2026-03-02".parse().unwrap(),
    };
    let since = Step::CreatedSince(at("2026-03-01T10:30:00Z"));
    let named = Step::Named {
        ids: vec!["1".to_owned()],
        place: NamedPlace {
            at: at("2026-03-01T12:00:00Z"),
            to: "1".to_owned(),
        },
    };
    let created = |account: Option<&str>| Hint::Created {
        account: account.map(str::to_owned),
        since: None,
    };
    let many = Hint::Updated {
        account: Some("a".to_owned()),
        ids: (0..=FEW).map(|id| id.to_string()).collect(),
    };
    let (pluggy, belvo) = (Vendor::Pluggy, Vendor::Belvo);
    // By each event: what is new, the recent past, everything.
    for (vendor, event, expected) in [
        (pluggy, Hint::Source, [false, false, false]),
        (pluggy, Hint::Window, [false, true, true]),
        (pluggy, Hint::Full, [false, true, true]),
        (pluggy, created(None), [true, false, false]),
        (pluggy, created(Some("a")), [true, false, false]),
        (pluggy, created(Some("b")), [false, false, false]),
        (belvo, created(None), [true, true, true]),
        (pluggy, many.clone(), [false, false, false]),
        (belvo, many, [false, true, true]),
    ] {
        let hints = hints([event.clone()]);
        let announced =
            [&since, &window, &Step::Full].map(|step| hints.announce(vendor, "a", step));
        assert_eq!(announced, expected, "{vendor} {event:?}");
        assert!(hints.announce(vendor, "a", &named));
    }
}

#[test]
fn days_that_were_asked_for_are_read_once() {
    let none = Hints::default();
    let days = |from: &str, to: &str| (from.parse().unwrap(), to.parse().unwrap());
    let (from, to) = days("2025-06-01", "2025-06-30");
    let step = Step::Window { from, to };
    let asked = |cursor| PlanInput {
        backfill: Some((from, to)),
        ..input(&none, cursor)
    };
    assert_eq!(plan(&asked(fresh())), std::slice::from_ref(&step));
    let before = fresh().after(&step, at("2026-03-01T11:59:59Z"));
    assert_eq!(plan(&asked(before)), std::slice::from_ref(&step));
    let read = fresh().after(&step, at("2026-03-01T12:00:00Z"));
    assert_eq!(plan(&asked(read)), []);
    assert_eq!(
        read.window_at,
        fresh().window_at,
        "those are not recent days"
    );
    let other = PlanInput {
        backfill: Some(days("2025-06-01", "2025-07-01")),
        ..input(&none, read)
    };
    assert_eq!(plan(&other).len(), 1);
}

#[test]
fn what_the_calendar_asks_for_is_done_once_it_was_read() {
    let none = Hints::default();
    let old = Cursor {
        watermark: Some(at("2026-02-01T12:00:00Z")),
        ..Cursor::default()
    };
    let looking = |cursor| PlanInput {
        demand: Demand::Recent,
        ..input(&none, cursor)
    };
    for full_at in [None, Some(at("2026-02-28T12:00:00Z"))] {
        let mut cursor = Cursor { full_at, ..old };
        let steps = plan(&looking(cursor));
        assert_eq!(steps.len(), 2, "{steps:?}");
        for step in &steps {
            cursor = cursor.after(step, at("2026-03-01T12:00:00Z"));
        }
        assert_eq!(plan(&looking(cursor)), []);
    }
}

#[test]
fn a_long_listing_is_known_by_its_text() {
    let window = Step::Window {
        from: "2026-02-19".parse().unwrap(),
        to: "2026-03-02".parse().unwrap(),
    };
    for step in [window, Step::Full] {
        let text = step.lasting().unwrap();
        assert_eq!(Step::of_lasting(&text), Some(step));
    }
    for text in ["", "Full", "2026-02-19", "2026-02-19 x"] {
        assert_eq!(Step::of_lasting(text), None, "{text:?}");
    }
}

#[test]
fn attempts_are_spread_over_some_hours_and_never_closer_than_the_last() {
    let mut total = TimeDelta::zero();
    for attempt in 1..MAX_ATTEMPTS {
        assert!(backoff(attempt, 0) < backoff(attempt, 999));
        assert!(backoff(attempt, 999) <= backoff(attempt + 1, 999));
        total += backoff(attempt, 500);
    }
    assert!(
        total > TimeDelta::hours(1) && total < TimeDelta::hours(6),
        "{total}"
    );
}

fn any_hint() -> impl Strategy<Value = Hint> {
    let account = prop_oneof![
        Just(None),
        Just(Some("a".to_owned())),
        Just(Some("b".to_owned()))
    ];
    let ids = proptest::collection::vec("[a-f]{1,2}", 1..5);
    prop_oneof![
        Just(Hint::Nothing),
        Just(Hint::Source),
        Just(Hint::Window),
        Just(Hint::Full),
        (account.clone(), proptest::option::of(0_i64..100_000)).prop_map(|(account, ago)| {
            Hint::Created {
                account,
                since: ago.map(|ago| at("2026-03-01T12:00:00Z") - TimeDelta::seconds(ago)),
            }
        }),
        (account.clone(), ids.clone()).prop_map(|(account, ids)| Hint::Updated { account, ids }),
        (account, ids).prop_map(|(account, ids)| Hint::Deleted { account, ids }),
    ]
}

/// What has to be read at least for `hint` alone is read by `steps` too.
fn covers(steps: &[Step], hint: &Hint) -> bool {
    if steps.contains(&Step::Full) {
        return true;
    }
    let mine = |account: &Option<String>| account.as_deref().is_none_or(|one| one == "a");
    let window = steps.iter().any(|step| matches!(step, Step::Window { .. }));
    match hint {
        Hint::Nothing | Hint::Source => true,
        Hint::Window => window,
        Hint::Full => false,
        Hint::Created { account, since } => {
            let from = since.unwrap_or(at("2026-03-01T11:00:00Z"));
            !mine(account)
                || steps
                    .iter()
                    .any(|step| matches!(step, Step::CreatedSince(since) if *since <= from))
        }
        Hint::Updated { account, ids } | Hint::Deleted { account, ids } => {
            !mine(account)
                || ids
                    .iter()
                    .all(|id| steps.iter().any(|step| names(step).contains(id)))
        }
    }
}

proptest! {
    #[test]
    fn a_plan_covers_every_event_whatever_came_with_it(
        events in proptest::collection::vec(any_hint(), 0..8),
    ) {
        let merged = hints(events.clone());
        let steps = plan(&input(&merged, fresh()));
        for event in &events {
            prop_assert!(covers(&steps, event), "{event:?} is not covered by {steps:?}");
        }
    }

    #[test]
    fn the_order_of_events_does_not_matter(
        events in proptest::collection::vec(any_hint(), 0..8),
    ) {
        let reversed: Vec<Hint> = events.iter().rev().cloned().collect();
        prop_assert_eq!(hints(events), hints(reversed));
    }

    /// An attempt after the other is cut short, and more is told between them.
    #[test]
    fn attempts_that_are_cut_short_read_all_there_is_to_read_and_no_name_twice(
        attempts in proptest::collection::vec(
            (proptest::collection::vec(many_names(), 0..3), 0_usize..4), 1..8),
        belvo in any::<bool>(),
    ) {
        let vendor = if belvo { Vendor::Belvo } else { Vendor::Pluggy };
        let mut told: Vec<(Hint, Heard)> = Vec::new();
        let (mut cursor, mut place) = (fresh(), None);
        let mut unread: BTreeMap<String, usize> = BTreeMap::new();
        let mut named_at = None;
        let last = attempts.len() - 1;
        for (number, (news, steps_read)) in attempts.into_iter().enumerate() {
            let now = at("2026-03-01T12:00:00Z") + TimeDelta::minutes(i64::try_from(number).unwrap());
            for hint in news {
                if let Hint::Updated { ids, .. } = &hint {
                    named_at = Some(now);
                    unread.extend(ids.iter().map(|id| (id.clone(), 0)));
                }
                told.push((hint, None));
            }
            let mut merged = Hints::default();
            for (hint, heard) in &told {
                merged.merge(hint.clone(), *heard);
            }
            merged.named_at = named_at;
            let steps = plan(&PlanInput { vendor, named: place.as_ref(), now, ..input(&merged, cursor) });
            let cut = if number == last { steps.len() } else { steps_read.min(steps.len()) };
            for step in &steps[..cut] {
                cursor = cursor.after(step, now);
                if let Step::Named { ids, place: to } = step {
                    prop_assert!(place.as_ref() < Some(to));
                    place = Some(to.clone());
                    for id in ids {
                        *unread.entry(id.clone()).or_default() += 1;
                    }
                }
            }
            for (_, heard) in &mut told {
                heard.get_or_insert(now);
            }
        }
        // Too many at once are read with everything.
        if cursor.full_at == fresh().full_at {
            prop_assert!(unread.values().all(|times| *times == 1), "{unread:?}");
        }
        let mut merged = Hints::default();
        for (hint, heard) in told {
            merged.merge(hint, heard);
        }
        merged.named_at = named_at;
        let left = plan(&PlanInput { vendor, named: place.as_ref(), ..input(&merged, cursor) });
        prop_assert_eq!(left, []);
    }
}

fn many_names() -> impl Strategy<Value = Hint> {
    let ids = proptest::collection::btree_set("[a-f]{3}", 1..8);
    let created = proptest::option::of(0_i64..100_000).prop_map(|ago| Hint::Created {
        account: Some("a".to_owned()),
        since: ago.map(|ago| at("2026-03-01T12:00:00Z") - TimeDelta::seconds(ago)),
    });
    let updated = ids.prop_map(|ids| Hint::Updated {
        account: Some("a".to_owned()),
        ids: ids.into_iter().collect(),
    });
    prop_oneof![1 => created, 3 => updated]
}
