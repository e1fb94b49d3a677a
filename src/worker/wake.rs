//! What wakes the workers.

use std::time::Duration;

use crate::{
    app::App,
    storage::{PullSignal, within},
};

/// How long nobody looks by himself; a little of it is left to chance, so that processes that were
/// started together do not look together.
const GLANCE: Duration = Duration::from_secs(2);

/// How long it may take to be able to hear.
const LISTENING: Duration = Duration::from_secs(5);

/// Says when it may be worth looking for a pull.
pub(super) struct Wake {
    app: App,
    signal: Option<PullSignal>,
}

impl Wake {
    pub(super) fn new(app: App) -> Self {
        Self { app, signal: None }
    }

    /// Waits until somebody asks for something, or for a while.
    pub(super) async fn up(&mut self) {
        let glance = tokio::time::sleep(GLANCE + self.app.some_of(GLANCE / 2));
        if self.signal.is_none() {
            match within(LISTENING, self.app.listen_for_pulls()).await {
                // Something may have been said before there was anybody to hear it.
                Ok(signal) => {
                    self.signal = Some(signal);
                    return;
                }
                Err(error) => tracing::warn!(%error, "nobody can be heard asking for pulls"),
            }
        }
        let heard = async {
            match &mut self.signal {
                Some(signal) => signal.heard().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = glance => {}
            heard = heard => {
                if let Err(error) = heard {
                    tracing::warn!(%error, "the line on which pulls are asked for broke");
                    self.signal = None;
                }
            }
        }
    }
}
