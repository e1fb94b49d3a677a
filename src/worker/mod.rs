//! The workers: claim, commit, then work.
//!
//! One loop hands out the pulls and extractions that are due, as many at a time as there are runners. It is woken by
//! what is asked for and, since a call may be missed, looks by itself from time to time.

mod wake;

use std::time::Duration;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::wake::Wake;
use crate::{
    app::{App, PruningPlace},
    shutdown::{Phase, Shutdown},
};

/// How many pulls one process runs at once.
pub const RUNNERS: usize = 8;
/// How many extractions one process runs beside them. They may take long, and nobody should wait for
/// bank data because of one.
pub const EXTRACTORS: usize = 2;
/// How often what nobody asks for is looked after: workers that are gone, and the calendar.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);

/// Works until the process is to end; then lets what runs come to its next page, and hands it back.
pub async fn work(app: App, shutdown: Shutdown, runners: usize) {
    let stopping = shutdown.token();
    let upkeep = keep_up(app.clone(), stopping.clone());
    let dispatch = dispatch(app, shutdown, stopping, runners);
    tokio::join!(upkeep, dispatch);
}

async fn dispatch(app: App, shutdown: Shutdown, stopping: CancellationToken, runners: usize) {
    let mut running = JoinSet::new();
    let mut extracting = JoinSet::new();
    let mut wake = Wake::new(app.clone());
    loop {
        app.note_worker();
        // What is due is taken for as long as there is somebody free.
        while running.len() < runners && shutdown.phase() == Phase::Running {
            match app.claim_pull().await {
                Ok(Some(claimed)) => {
                    let (app, stopping) = (app.clone(), stopping.clone());
                    running.spawn(async move { app.run_pull(claimed, &stopping).await });
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the queue of pulls can't be read");
                    break;
                }
            }
        }
        while extracting.len() < EXTRACTORS && shutdown.phase() == Phase::Running {
            match app.claim_extraction().await {
                Ok(Some(claimed)) => {
                    let (app, stopping) = (app.clone(), stopping.clone());
                    extracting.spawn(async move { app.run_extraction(claimed, &stopping).await });
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "the queue of extractions can't be read");
                    break;
                }
            }
        }
        // Of one that panics the lease runs out, and it is found by that.
        tokio::select! {
            () = stopping.cancelled() => break,
            Some(ended) = running.join_next(), if !running.is_empty() => {
                if let Err(panic) = ended {
                    tracing::error!(error = %panic, "a pull panicked");
                }
            }
            Some(ended) = extracting.join_next(), if !extracting.is_empty() => {
                if let Err(panic) = ended {
                    tracing::error!(error = %panic, "an extraction panicked");
                }
            }
            () = wake.up() => {}
        }
    }
    while running.join_next().await.is_some() {}
    while extracting.join_next().await.is_some() {}
}

async fn keep_up(app: App, stopping: CancellationToken) {
    let mut pruning = PruningPlace::default();
    loop {
        if let Err(error) = app.reclaim_abandoned_pulls().await {
            tracing::warn!(%error, "pulls that lost their worker could not be looked for");
        }
        if let Err(error) = app.reclaim_abandoned_extractions().await {
            tracing::warn!(%error, "extractions that lost their worker could not be looked for");
        }
        if let Err(error) = app.prune_extractions().await {
            tracing::warn!(%error, "old extractions could not be cleared away");
        }
        if let Err(error) = app.ask_for_sweeps().await {
            tracing::warn!(%error, "the calendar could not be looked at");
        }
        if let Err(error) = app.remove_rows_of_deleted().await {
            tracing::warn!(%error, "rows of deleted connections could not be removed");
        }
        match app.prune_deliveries(pruning).await {
            Ok(place) => pruning = place,
            Err(error) => tracing::warn!(%error, "old deliveries could not be cleared away"),
        }
        tokio::select! {
            () = stopping.cancelled() => return,
            () = tokio::time::sleep(UPKEEP_EVERY) => {}
        }
    }
}

/// Runs what is due now, one after the other, and answers how many there were: for tests, where
/// nothing happens by itself.
pub async fn work_off(app: &App) -> Result<usize, crate::app::AppError> {
    let never = CancellationToken::new();
    let mut done = 0;
    while let Some(claimed) = app.claim_pull().await? {
        app.run_pull(claimed, &never).await;
        done += 1;
    }
    while let Some(claimed) = app.claim_extraction().await? {
        app.run_extraction(claimed, &never).await;
        done += 1;
    }
    Ok(done)
}

/// Starts the workers of this process.
pub fn start(app: &App, shutdown: &Shutdown) {
    let work = work(app.clone(), shutdown.clone(), RUNNERS);
    shutdown.spawn("worker", work);
}
