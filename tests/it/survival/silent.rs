//! A database that says nothing any more, and does not hang up either.

use std::time::Duration;

use matcher_discovery::storage::{StorageError, Store, within};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::support::{TestApp, process::PATIENCE};

/// Those who answer the server's connections, struck dumb until this is dropped.
struct Dumb(Vec<Pid>);

impl Dumb {
    async fn strike(app: &TestApp) -> Self {
        let answering = "SELECT pid FROM pg_stat_activity
                         WHERE datname = current_database() AND application_name = 'matcher-discovery'";
        let pids = app.column::<i32>(answering).await.into_iter();
        let all: Vec<Pid> = pids.map(Pid::from_raw).collect();
        for one in &all {
            kill(*one, Signal::SIGSTOP).unwrap();
        }
        Self(all)
    }
}

impl Drop for Dumb {
    fn drop(&mut self) {
        for one in &self.0 {
            let _ = kill(*one, Signal::SIGCONT);
        }
    }
}

async fn ask(store: &Store) -> Result<(), StorageError> {
    let mut tx = store.begin_system().await?;
    tx.clock().await?;
    tx.commit().await
}

#[tokio::test]
async fn connections_that_never_answer_are_replaced_by_others() {
    let app = TestApp::start().await;
    let store = app.store();
    // As many as the pool has.
    let (one, other) = tokio::join!(store.begin_system(), store.begin_system());
    drop((one.unwrap(), other.unwrap()));
    let dumb = Dumb::strike(&app).await;
    assert!(dumb.0.len() >= 2);
    let short = Duration::from_millis(300);
    let both = tokio::join!(within(short, ask(&store)), within(short, ask(&store)));
    assert!(both.0.is_err() && both.1.is_err());
    let answered = async { while within(short, ask(&store)).await.is_err() {} };
    tokio::time::timeout(PATIENCE, answered)
        .await
        .expect("the pool gets well");
    drop(dumb);
}
