//! Rows on their way out: gathered into batches, counted against the limits, handed on one by one.

use std::{
    mem,
    pin::pin,
    task::{Poll, ready},
    time::Duration,
};

use futures_util::{
    future::{BoxFuture, FutureExt as _},
    stream,
};
use tokio::sync::mpsc;

use super::{BATCH_BYTES, Batch, Batches, ConnectorError, Limits};

/// How much one row may be. It is in memory as a whole, in several forms at once.
pub(super) const MAX_ROW_BYTES: usize = 16 * 1024 * 1024;

/// How long a source may keep us waiting for its next word. Whoever reads from it does nothing else
/// meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);

/// What is made ready for the row that goes over the edge of a batch.
const SLACK: usize = 8 * 1024;

/// Waits for the next word of a source, for so long at most.
///
/// While nobody asks for a batch, time goes by and nothing is waited for. That happens no more than
/// once a word, so that half of the patience at least is left for the source.
pub(super) async fn patient<T>(
    patience: Duration,
    word: impl Future<Output = Result<T, ConnectorError>>,
) -> Result<T, ConnectorError> {
    let mut word = pin!(word);
    for _ in 0..2 {
        if let Ok(said) = tokio::time::timeout(patience / 2, &mut word).await {
            return said;
        }
    }
    Err(ConnectorError::TimedOut)
}

/// The batches that `make` writes, until it returns; what it fails with comes last.
///
/// It works only while somebody waits for a batch, at most one batch ahead, in the task of whoever
/// waits; it ends for good when the stream is dropped. It has the time of the limits for all of it.
pub(super) fn batches<F>(limits: Limits, make: F) -> Batches
where
    F: FnOnce(BatchWriter) -> BoxFuture<'static, Result<(), ConnectorError>> + Send + 'static,
{
    let (to, mut from) = mpsc::channel(1);
    let mut maker = Some(
        async move {
            let writer = BatchWriter::new(to, limits);
            tokio::time::timeout(limits.total, make(writer))
                .await
                .unwrap_or(Err(ConnectorError::TimedOut))
        }
        .boxed(),
    );
    let mut failed = None;
    Box::pin(stream::poll_fn(move |context| {
        if let Poll::Ready(Some(batch)) = from.poll_recv(context) {
            return Poll::Ready(Some(Ok(batch)));
        }
        if let Some(making) = &mut maker
            && let Poll::Ready(outcome) = making.poll_unpin(context)
        {
            failed = outcome.err();
            // Its end of the channel goes with it, so that the other end hears of it.
            maker = None;
        }
        let batch = ready!(from.poll_recv(context));
        Poll::Ready(batch.map(Ok).or_else(|| failed.take().map(Err)))
    }))
}

/// Where the lines of an extraction are written.
pub(super) struct BatchWriter {
    to: mpsc::Sender<Batch>,
    batch: Batch,
    rows_left: u64,
    bytes_left: u64,
}

impl BatchWriter {
    fn new(to: mpsc::Sender<Batch>, limits: Limits) -> Self {
        Self {
            to,
            batch: Batch::default(),
            rows_left: limits.rows,
            bytes_left: limits.bytes,
        }
    }

    /// Takes one line, its line feed included. What `write` leaves behind when it fails is never seen.
    pub(super) async fn line(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), ConnectorError>,
    ) -> Result<(), ConnectorError> {
        if self.batch.lines.capacity() == 0 {
            self.batch.lines.reserve(BATCH_BYTES + SLACK);
        }
        let before = self.batch.lines.len();
        write(&mut self.batch.lines)?;
        let added = self.batch.lines.len() - before;
        if added > MAX_ROW_BYTES {
            return Err(ConnectorError::TooLarge);
        }
        let left = |left: u64, taken| left.checked_sub(taken).ok_or(ConnectorError::TooLarge);
        self.rows_left = left(self.rows_left, 1)?;
        self.bytes_left = left(self.bytes_left, added as u64)?;
        self.batch.rows += 1;
        if self.batch.lines.len() >= BATCH_BYTES {
            self.hand_on().await?;
        }
        Ok(())
    }

    /// Hands on what is left.
    pub(super) async fn finish(mut self) -> Result<(), ConnectorError> {
        if self.batch.rows > 0 {
            self.hand_on().await?;
        }
        Ok(())
    }

    async fn hand_on(&mut self) -> Result<(), ConnectorError> {
        let batch = mem::take(&mut self.batch);
        // Whoever waits for batches also drives this, so there is nobody left to hear of it.
        self.to
            .send(batch)
            .await
            .map_err(|_| ConnectorError::Refused)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use futures_util::StreamExt as _;

    use super::*;

    const LIMITS: Limits = Limits {
        connect: Duration::from_secs(5),
        total: Duration::from_secs(5),
        rows: 10,
        bytes: 10 * BATCH_BYTES as u64,
    };

    async fn write(writer: &mut BatchWriter, line: &[u8]) -> Result<(), ConnectorError> {
        writer
            .line(|out| {
                out.extend_from_slice(line);
                Ok(())
            })
            .await
    }

    fn repeated(limits: Limits, rows: u32, size: usize) -> Batches {
        batches(limits, move |mut writer| {
            Box::pin(async move {
                for _ in 0..rows {
                    write(&mut writer, &vec![b'x'; size]).await?;
                }
                writer.finish().await
            })
        })
    }

    async fn outcome(mut all: Batches) -> (u64, usize, Option<ConnectorError>) {
        let (mut rows, mut bytes) = (0, 0);
        while let Some(batch) = all.next().await {
            match batch {
                Ok(batch) => {
                    rows += batch.rows;
                    bytes += batch.lines.len();
                }
                Err(error) => {
                    assert!(all.next().await.is_none(), "an error ends it");
                    return (rows, bytes, Some(error));
                }
            }
        }
        (rows, bytes, None)
    }

    #[tokio::test]
    async fn small_lines_share_a_batch_and_large_ones_have_their_own() {
        let mut small = repeated(LIMITS, 10, 5);
        let only = small.next().await.unwrap().unwrap();
        assert_eq!((only.rows, only.lines.len()), (10, 50));
        assert!(small.next().await.is_none());
        let large: Vec<_> = repeated(LIMITS, 3, BATCH_BYTES).collect().await;
        assert_eq!(large.len(), 3);
        assert_eq!(outcome(repeated(LIMITS, 0, 5)).await, (0, 0, None));
    }

    #[tokio::test]
    async fn the_row_and_the_byte_beyond_the_limit_end_it() {
        assert_eq!(outcome(repeated(LIMITS, 10, 1)).await, (10, 10, None));
        let (.., error) = outcome(repeated(LIMITS, 11, 1)).await;
        assert_eq!(error, Some(ConnectorError::TooLarge));
        let tight = Limits {
            bytes: 20,
            ..LIMITS
        };
        assert_eq!(outcome(repeated(tight, 4, 5)).await, (4, 20, None));
        let (.., error) = outcome(repeated(tight, 3, 7)).await;
        assert_eq!(error, Some(ConnectorError::TooLarge));
    }

    #[tokio::test]
    async fn a_row_has_a_limit_of_its_own() {
        let roomy = Limits {
            bytes: u64::MAX,
            ..LIMITS
        };
        let (rows, _, error) = outcome(repeated(roomy, 1, MAX_ROW_BYTES)).await;
        assert_eq!((rows, error), (1, None));
        let (rows, _, error) = outcome(repeated(roomy, 1, MAX_ROW_BYTES + 1)).await;
        assert_eq!((rows, error), (0, Some(ConnectorError::TooLarge)));
    }

    #[tokio::test]
    async fn a_source_that_falls_silent_is_given_up_and_one_that_was_not_listened_to_is_not() {
        let silence = std::future::pending::<Result<(), _>>();
        let given_up = patient(Duration::from_millis(2), silence).await;
        assert_eq!(given_up, Err(ConnectorError::TimedOut));
        // It says its word when it is listened to for the second time.
        let mut heard = false;
        let slow = std::future::poll_fn(move |_| {
            if mem::replace(&mut heard, true) {
                Poll::Ready(Ok("word"))
            } else {
                Poll::Pending
            }
        });
        assert_eq!(patient(Duration::from_millis(2), slow).await, Ok("word"));
    }

    #[tokio::test]
    async fn whoever_makes_them_is_at_most_one_batch_ahead_and_ends_with_the_stream() {
        let written = Arc::new(AtomicU32::new(0));
        let counter = Arc::clone(&written);
        let mut endless = batches(
            Limits {
                rows: u64::MAX,
                bytes: u64::MAX,
                ..LIMITS
            },
            move |mut writer| {
                Box::pin(async move {
                    loop {
                        counter.fetch_add(1, Ordering::Relaxed);
                        write(&mut writer, &vec![b'x'; BATCH_BYTES]).await?;
                    }
                })
            },
        );
        assert_eq!(written.load(Ordering::Relaxed), 0, "nobody asked yet");
        for _ in 0..4 {
            endless.next().await.unwrap().unwrap();
        }
        assert!(written.load(Ordering::Relaxed) <= 6);
        drop(endless);
        assert_eq!(Arc::strong_count(&written), 1, "the maker is gone");
    }

    #[tokio::test]
    async fn it_ends_when_its_time_is_over() {
        let hasty = Limits {
            total: Duration::from_millis(1),
            ..LIMITS
        };
        let silent = batches(hasty, |writer| {
            Box::pin(async move {
                let _kept = writer;
                std::future::pending().await
            })
        });
        let (.., error) = outcome(silent).await;
        assert_eq!(error, Some(ConnectorError::TimedOut));
    }
}
