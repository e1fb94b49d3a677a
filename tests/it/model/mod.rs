//! Whatever happens in whatever order, what we have becomes what the vendors have.
//!
//! A course of edits, webhooks, pulls and mishaps is drawn at random and played against both
//! simulated vendors. A small reference, read from what the vendors hold rather than through our
//! clients, tells after each turn of the workers what may be in the tables, and in the end what has
//! to be. `PROPTEST_CASES` says how many courses are tried.

mod check;
mod faults;
mod feed;
mod replays;
mod step;
mod truth;
mod vendors;
mod world;

use proptest::{
    prelude::*,
    test_runner::{Config, FileFailurePersistence},
};

use self::{step::Step, world::World};

/// Plays a course to its end, in a runtime of its own.
fn play(course: &[Step]) {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let mut world = World::begin().await;
            for step in course {
                world.take(step).await;
            }
            world.end().await;
        });
}

proptest! {
    #![proptest_config(Config {
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/it/model/regressions.txt",
        ))),
        max_shrink_iters: 300,
        ..Config::with_cases(cases())
    })]

    #[test]
    fn whatever_happens_the_rows_and_the_feed_end_as_the_vendors_are(course in step::course()) {
        play(&course);
    }
}

/// How many courses are tried unless somebody wants more.
fn cases() -> u32 {
    match Config::default().cases {
        // Nobody said anything.
        256 => 16,
        wanted => wanted,
    }
}
