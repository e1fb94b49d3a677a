//! The workers: claim, commit, then work.
//!
//! One loop hands out the pulls and extractions that are due, as many at a time as there are runners. It is woken by
//! what is asked for and, since a call may be missed, looks by itself from time to time.

mod wake;

use std::time::Duration;

use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use self::wake::Wake;
use crate::{
    app::{App, PruningPlace},
    shutdown::{Phase, Shutdown},
    storage::{Served, within},
};

/// How many pulls one process runs at once.
pub const RUNNERS: usize = 8;
/// How many extractions one process runs beside them. They may take long, and nobody should wait for
/// bank data because of one.
pub const EXTRACTORS: usize = 2;
/// How often what nobody asks for is looked after: workers that are gone, and the calendar.
const UPKEEP_EVERY: Duration = Duration::from_secs(10);

/// How often old pulls are cleared away: a handful of each connection come to their time in a day.
const PRUNE_PULLS_EVERY: Duration = Duration::from_mins(10);
/// How long a claim may take: longer than the database lets a statement take, and not so long that a
/// database that is gone without a word holds up the workers.
const CLAIM: Duration = Duration::from_secs(20);
/// How long one thing that is looked after may take.
const ROUND: Duration = Duration::from_mins(2);

/// Works until it is announced that the process is to end; then lets what runs come to its next page, and
/// hands it back, whatever else the process has to finish.
pub async fn work(app: App, shutdown: Shutdown, runners: usize) {
    let stopping = shutdown.announced();
    let upkeep = stopping.run_until_cancelled(keep_up(app.clone()));
    let dispatch = dispatch(app, shutdown, stopping.clone(), runners);
    tokio::join!(upkeep, dispatch);
}

/// Who is served while so many of the runners are at work. The last quarter of them is kept for tenants
/// that have nothing running: else one tenant's pulls, if they take long, hold up everybody who comes
/// after they were begun.
fn served(at_work: usize, runners: usize) -> Served {
    if at_work < runners - runners / 4 {
        Served::Anybody
    } else {
        Served::WhoeverHasNothingRunning
    }
}

async fn dispatch(app: App, shutdown: Shutdown, stopping: CancellationToken, runners: usize) {
    let mut running = JoinSet::new();
    let mut extracting = JoinSet::new();
    let mut wake = Wake::new(app.clone());
    loop {
        app.note_worker();
        // What is due is taken for as long as there is somebody free.
        while running.len() < runners && shutdown.phase() == Phase::Running {
            let claim = app.claim_pull_of(served(running.len(), runners));
            match within(CLAIM, claim).await {
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
            match within(CLAIM, app.claim_extraction()).await {
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

/// Looks after it again and again; all of it can be left off anywhere, and is gone on with by whoever
/// comes next.
async fn keep_up(app: App) {
    let mut pruning = PruningPlace::default();
    let mut prune_pulls_at = Instant::now();
    loop {
        if let Err(error) = within(ROUND, app.reclaim_abandoned_pulls()).await {
            tracing::warn!(%error, "pulls that lost their worker could not be looked for");
        }
        if let Err(error) = within(ROUND, app.reclaim_abandoned_extractions()).await {
            tracing::warn!(%error, "extractions that lost their worker could not be looked for");
        }
        if let Err(error) = within(ROUND, app.prune_extractions()).await {
            tracing::warn!(%error, "old extractions could not be cleared away");
        }
        if let Err(error) = within(ROUND, app.ask_for_sweeps()).await {
            tracing::warn!(%error, "the calendar could not be looked at");
        }
        if let Err(error) = within(ROUND, app.measure_queue()).await {
            tracing::warn!(%error, "the queue of pulls could not be measured");
        }
        if prune_pulls_at <= Instant::now() {
            prune_pulls_at = Instant::now() + PRUNE_PULLS_EVERY;
            if let Err(error) = within(ROUND, app.prune_pulls()).await {
                tracing::warn!(%error, "old pulls could not be cleared away");
            }
        }
        if let Err(error) = within(ROUND, app.remove_rows_of_deleted()).await {
            tracing::warn!(%error, "rows of deleted connections could not be removed");
        }
        match within(ROUND, app.prune_deliveries(pruning)).await {
            Ok(place) => pruning = place,
            Err(error) => tracing::warn!(%error, "old deliveries could not be cleared away"),
        }
        tokio::time::sleep(UPKEEP_EVERY).await;
    }
}

/// Runs what is due now, one after the other, and answers how many there were: for tests, where
/// nothing happens by itself.
pub async fn work_off(app: &App) -> Result<usize, crate::app::AppError> {
    let never = CancellationToken::new();
    let mut done = 0;
    while let Some(claimed) = app.claim_pull().await? {
        Box::pin(app.run_pull(claimed, &never)).await;
        done += 1;
    }
    while let Some(claimed) = app.claim_extraction().await? {
        Box::pin(app.run_extraction(claimed, &never)).await;
        done += 1;
    }
    Ok(done)
}

/// Starts the workers of this process.
pub fn start(app: &App, shutdown: &Shutdown) {
    let work = work(app.clone(), shutdown.clone(), RUNNERS);
    shutdown.spawn("worker", work);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_quarter_of_the_runners_is_kept_for_whoever_has_nothing_running() {
        for (at_work, runners, anybody) in [
            (0, 8, true),
            (5, 8, true),
            (6, 8, false),
            (7, 8, false),
            (0, 1, true),
            (2, 3, true),
        ] {
            let expected = if anybody {
                Served::Anybody
            } else {
                Served::WhoeverHasNothingRunning
            };
            assert_eq!(served(at_work, runners), expected, "{at_work} of {runners}");
        }
    }
}
