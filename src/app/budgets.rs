//! Keeping the vendors' rate limits, together with every other process behind the same address.

use std::{collections::BTreeMap, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use tokio::time::Instant;

use crate::{
    domain::vendor::Vendor,
    storage::{Pace, Store},
    vendors::budget::{Bucket, Budget, BudgetError, Share},
};

/// How long the limiter may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// How many requests each vendor allows in its window, in each of its buckets.
pub type RateLimits = BTreeMap<Vendor, u32>;

/// The budget that is kept in the database.
#[derive(Debug)]
pub struct SharedBudget {
    store: Store,
    egress_group: String,
    limits: RateLimits,
}

impl SharedBudget {
    /// The budget of the processes in `egress_group`.
    #[must_use]
    pub fn new(store: Store, egress_group: String, limits: RateLimits) -> Self {
        Self {
            store,
            egress_group,
            limits,
        }
    }

    async fn take_or_wait(
        &self,
        bucket: Bucket,
        share: Share,
        patience: Duration,
    ) -> Result<(), BudgetError> {
        let limit = self
            .limits
            .get(&bucket.vendor())
            .copied()
            .ok_or(BudgetError::Unavailable)?;
        let mut pace = pace(limit, bucket.window());
        if share == Share::Half {
            pace.burst = (pace.burst / 2).max(1);
        }
        let deadline = Instant::now() + patience;
        loop {
            let taking = self
                .store
                .take_budget(&self.egress_group, bucket.as_str(), pace);
            // A limiter that takes longer than the call itself may take is none.
            let Ok(answer) = tokio::time::timeout(ANSWER, taking).await else {
                tracing::warn!(bucket = bucket.as_str(), "the rate limiter does not answer");
                return Err(BudgetError::Unavailable);
            };
            let wait = match answer {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(wait)) => wait,
                Err(error) => {
                    tracing::warn!(error = %error, bucket = bucket.as_str(), "the rate limiter can't be asked");
                    return Err(BudgetError::Unavailable);
                }
            };
            if Instant::now() + wait > deadline {
                return Err(BudgetError::Spent(wait));
            }
            tokio::time::sleep(wait).await;
        }
    }
}

impl Budget for SharedBudget {
    fn take(
        &self,
        bucket: Bucket,
        share: Share,
        patience: Duration,
    ) -> BoxFuture<'_, Result<(), BudgetError>> {
        self.take_or_wait(bucket, share, patience).boxed()
    }
}

/// The pace that keeps a limit in every window, wherever the vendor lets it begin.
///
/// Within a window, at most the burst and what the steady rate adds can be granted, so the two share
/// the limit. A tenth is left for calls that bunch up on their way.
fn pace(limit: u32, window: Duration) -> Pace {
    let usable = (limit - limit / 10).max(2);
    let burst = (usable / 4).max(1);
    Pace {
        interval: window / (usable - burst),
        full_burst: burst,
        burst,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn burst_and_steady_rate_together_keep_the_limit_in_any_window() {
        for limit in [10, 11, 80, 360, 1_000_000] {
            let window = Duration::from_secs(30);
            let pace = pace(limit, window);
            let steady = window.as_nanos() / pace.interval.as_nanos();
            let granted = u128::from(pace.burst) + steady;
            assert!(granted <= u128::from(limit), "{limit}: {granted}");
            assert!(granted >= u128::from(limit) * 8 / 10, "{limit}: {granted}");
        }
    }
}
