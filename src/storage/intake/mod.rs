//! The inbox: webhooks come in, and are written down together with the pulls that they ask for.
//!
//! This is a group commit. One task writes whatever waits, as one statement on a connection of its
//! own, and answers those who wait once that is committed. Under load a batch grows and each webhook
//! costs less; a lone one waits for nobody. A second writer, or lingering for more to come, only
//! makes it slower: the commits queue up in the database all the same, and the batches are smaller.
//!
//! Where many wait, those that need nothing but to be written are let in by a shorter statement first, with a
//! commit of its own, and only the others by the whole one.

mod bindings;
mod columns;
mod crowd;
mod statement;

use std::{sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tokio_util::sync::CancellationToken;

pub use self::bindings::{TokenHash, WebhookBinding, WebhookNote};
use self::crowd::ShortWay;
use super::Store;
use crate::{
    domain::{delivery::NewDelivery, random::Random},
    shutdown::Shutdown,
    telemetry,
};

/// The most deliveries of one batch: more than ever wait at once on a machine that keeps up.
const MOST: usize = 256;
/// The most bytes of bodies in one statement, unless a single one is larger: a statement has to be
/// through in a time that a vendor waits.
const MOST_BYTES_AT_ONCE: usize = 4 * 1024 * 1024;
/// The most deliveries that may wait.
const MOST_WAITING: usize = 4096;
/// The most bytes of their bodies, since 4096 of the largest would be all there is of memory.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// How long one statement may take, and how long making a connection.
const PATIENCE: Duration = Duration::from_secs(2);

/// A delivery is on disk, and so is the pull it asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Accepted {
    /// It had come in before; nothing was changed.
    pub duplicate: bool,
}

/// Why a delivery was not written down.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotTaken {
    /// Too much waits already.
    #[error("more webhooks wait to be written than there is room for")]
    Full,
    /// It took too long; whether it was written is not known.
    #[error("the webhook was not written in time")]
    TooLate,
    /// The database does not answer, or can't write.
    #[error("the database can't write the webhook now; the log of the task `intake` says why")]
    Unavailable,
    /// The database refuses just this one.
    #[error("the database refuses this webhook; the log of the task `intake` says why")]
    Refused,
}

/// The way into the inbox. Clones share it.
#[derive(Clone, Debug)]
pub struct Intake {
    queue: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
}

/// A delivery whose sender waits to hear that it is safe.
#[derive(Debug)]
struct Waiting {
    delivery: NewDelivery,
    answer: oneshot::Sender<Result<Accepted, NotTaken>>,
    /// Given back when the delivery is dropped, written or not.
    _room: OwnedSemaphorePermit,
}

impl Intake {
    /// Starts the task that writes. It ends after everything that was let in has its answer.
    #[must_use]
    pub fn start(store: &Store, random: Arc<dyn Random>, shutdown: &Shutdown) -> Self {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let writer = Writer {
            waiting,
            options: statement::connect_options(&store.login),
            random,
            line: None,
            short_way: ShortWay::default(),
        };
        shutdown.spawn("intake", writer.run(shutdown.token()));
        Self {
            queue,
            room: Arc::new(Semaphore::new(MOST_BYTES)),
        }
    }

    /// Waits until the delivery is committed, together with the pull it asks for.
    pub async fn accept(&self, delivery: NewDelivery) -> Result<Accepted, NotTaken> {
        let bytes = u32::try_from(delivery.body.len()).map_err(|_| NotTaken::Full)?;
        let room = Arc::clone(&self.room)
            .try_acquire_many_owned(bytes)
            .map_err(|_| NotTaken::Full)?;
        let (answer, answered) = oneshot::channel();
        self.queue
            .try_send(Waiting {
                delivery,
                answer,
                _room: room,
            })
            .map_err(|error| match error {
                TrySendError::Full(_) => NotTaken::Full,
                TrySendError::Closed(_) => NotTaken::Unavailable,
            })?;
        answered.await.unwrap_or(Err(NotTaken::Unavailable))
    }
}

/// The one who writes.
struct Writer {
    waiting: mpsc::Receiver<Waiting>,
    options: PgConnectOptions,
    random: Arc<dyn Random>,
    /// Made when it is needed; dropped when anything is wrong with it.
    line: Option<Line>,
    short_way: ShortWay,
}

/// A connection, and how good its plan still is.
struct Line {
    connection: PgConnection,
    /// How many deliveries were written over it.
    written: u64,
    /// After how many its plan is made anew.
    replan_at: u64,
}

impl Line {
    /// A plan is made for the tables as they are then, and on an empty one every index looks alike.
    /// So it is made anew as what was written grows; seldom enough to cost nothing.
    const FIRST_PLAN_LASTS: u64 = 64;
    const EACH_LASTS: u64 = 4;

    fn new(connection: PgConnection) -> Self {
        Self {
            connection,
            written: 0,
            replan_at: Self::FIRST_PLAN_LASTS,
        }
    }

    async fn note_written(&mut self, count: usize) -> Result<(), sqlx::Error> {
        self.written += count as u64;
        if self.written >= self.replan_at {
            self.replan_at = self.written * Self::EACH_LASTS;
            let forget = sqlx::raw_sql("DISCARD PLANS").execute(&mut self.connection);
            tokio::time::timeout(PATIENCE, forget)
                .await
                .map_err(|_| sqlx::Error::PoolTimedOut)??;
        }
        Ok(())
    }
}

/// Some of a batch.
struct Part {
    rows: Vec<Waiting>,
    /// Somebody held their pull when they were tried before.
    set_aside: bool,
    /// They are to go the long way.
    long_way: bool,
}

impl Part {
    fn new(rows: Vec<Waiting>) -> Self {
        Self {
            rows,
            set_aside: false,
            long_way: false,
        }
    }

    /// As few as can be of those that one statement may carry, the first to be written last in the list.
    fn several(batch: Vec<Waiting>) -> Vec<Self> {
        let mut parts = Vec::new();
        let (mut rows, mut bytes) = (Vec::with_capacity(batch.len()), 0);
        for one in batch {
            let more = one.delivery.body.len();
            if bytes + more > MOST_BYTES_AT_ONCE && !rows.is_empty() {
                parts.push(Self::new(std::mem::take(&mut rows)));
                bytes = 0;
            }
            bytes += more;
            rows.push(one);
        }
        parts.push(Self::new(rows));
        parts.reverse();
        parts
    }

    /// Two that are half as large; of one that can't be parted nothing is left but the answer.
    fn halve_or_refuse(mut self, error: &sqlx::Error) -> Vec<Self> {
        if self.rows.len() < 2 {
            self.refuse(error);
            return Vec::new();
        }
        let rows = self.rows.split_off(self.rows.len() / 2);
        vec![Self { rows, ..self }, self]
    }

    fn refuse(self, error: &sqlx::Error) {
        for one in self.rows {
            tracing::error!(
                %error,
                tenant.id = %one.delivery.tenant,
                connection.id = %one.delivery.connection,
                "the database refuses a webhook"
            );
            let _ = one.answer.send(Err(NotTaken::Refused));
        }
    }
}

impl Writer {
    async fn run(mut self, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(MOST);
        loop {
            tokio::select! {
                biased;
                count = self.waiting.recv_many(&mut batch, MOST) => match count {
                    0 => break,
                    _ => self.write(std::mem::take(&mut batch)).await,
                },
                // Takes no more; what is in already is still written.
                () = stop.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
            }
        }
        if let Some(line) = self.line
            && let Err(error) = line.connection.close().await
        {
            tracing::debug!(%error, "the connection did not close in order");
        }
    }

    /// Writes a batch and answers everybody in it.
    ///
    /// Somebody may hold the pull that some of the batch ask for. Finding that out takes as long as a
    /// lock is waited for, and so does trying those once more, after the others; no more, however many
    /// are held.
    async fn write(&mut self, batch: Vec<Waiting>) {
        telemetry::record_webhook_batch(batch.len());
        let mut parts = Part::several(batch);
        while let Some(mut part) = parts.pop() {
            // Whoever has given up was told that it is not safe, and will send it again.
            part.rows.retain(|one| !one.answer.is_closed());
            if !part.long_way {
                part = self.let_crowd_in(part).await;
            }
            if part.rows.is_empty() {
                continue;
            }
            let connected = self.line.is_some();
            match self.try_write(&part.rows).await {
                Ok(mut fresh) => {
                    let count = part.rows.len();
                    for one in part.rows {
                        let duplicate = !fresh.remove(&one.delivery.id.0);
                        let _ = one.answer.send(Ok(Accepted { duplicate }));
                    }
                    self.note_written(count).await;
                }
                Err(error) if statement::is_for_want_of_a_lock(&error) => {
                    let (held, free) = self.part_by_lock(part).await;
                    if held.rows.is_empty() {
                        // It is another lock, or was given back just now.
                        parts.extend(free.halve_or_refuse(&error));
                    } else if held.set_aside {
                        held.refuse(&error);
                        parts.push(free);
                    } else {
                        let set_aside = true;
                        parts.extend([Part { set_aside, ..held }, free]);
                    }
                }
                // One bad row costs its own answer and nobody else's.
                Err(error) if statement::may_be_of_one_row(&error) => {
                    parts.extend(part.halve_or_refuse(&error));
                }
                // The connection may have died while nothing came in. Writing the same once more is
                // harmless, whatever became of the first attempt.
                Err(_) if connected => {
                    self.line = None;
                    parts.push(part);
                }
                Err(error) => {
                    self.line = None;
                    parts.push(part);
                    let count: usize = parts.iter().map(|part| part.rows.len()).sum();
                    tracing::error!(%error, webhooks = count, "webhooks can't be written down");
                    for one in parts.drain(..).flat_map(|part| part.rows) {
                        let _ = one.answer.send(Err(NotTaken::Unavailable));
                    }
                }
            }
        }
    }

    /// Writes those of a crowd that need nothing but to be written, and answers them; the others are left for the
    /// long way. Should this fail, all of them are, and learn there what is the matter.
    async fn let_crowd_in(&mut self, part: Part) -> Part {
        let part = Part {
            long_way: true,
            ..part
        };
        let count = part.rows.len();
        let deliveries = || part.rows.iter().map(|one| &one.delivery);
        let takers = deliveries().filter(|one| crowd::may_take(one)).count();
        let Some(line) = &mut self.line else {
            return part;
        };
        if !self.short_way.admits(takers, count) {
            return part;
        }
        let writing = crowd::write(&mut line.connection, deliveries());
        let let_in = tokio::time::timeout(PATIENCE, writing).await;
        let mut let_in = match let_in.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(let_in) => let_in,
            Err(error) => {
                tracing::warn!(%error, webhooks = count, "a crowd of webhooks was not let in");
                if error.as_database_error().is_none() {
                    self.line = None;
                }
                statement::Fresh::new()
            }
        };
        self.short_way.note(let_in.len(), count);
        let is_in =
            |one: &Waiting| crowd::may_take(&one.delivery) && let_in.remove(&one.delivery.id.0);
        let (inside, rows): (Vec<_>, _) = part.rows.into_iter().partition(is_in);
        let written = inside.len();
        for one in inside {
            let _ = one.answer.send(Ok(Accepted { duplicate: false }));
        }
        if written > 0 {
            self.note_written(written).await;
        }
        let mut left = Part { rows, ..part };
        left.rows.retain(|one| !one.answer.is_closed());
        left
    }

    async fn note_written(&mut self, count: usize) {
        if let Some(line) = &mut self.line
            && line.note_written(count).await.is_err()
        {
            self.line = None;
        }
    }

    /// Parts those whose pull somebody holds from the others.
    async fn part_by_lock(&mut self, part: Part) -> (Part, Part) {
        let held = match &mut self.line {
            Some(line) => {
                let deliveries = part.rows.iter().map(|one| &one.delivery);
                let asking = statement::held(&mut line.connection, deliveries);
                tokio::time::timeout(PATIENCE, asking).await.ok()
            }
            None => None,
        };
        let Some(Ok(held)) = held else {
            self.line = None;
            return (Part::new(Vec::new()), part);
        };
        let (set_aside, long_way) = (part.set_aside, part.long_way);
        let (held, free) = part.rows.into_iter().partition(|one| {
            let delivery = &one.delivery;
            held.contains(&(delivery.tenant.0, delivery.connection.0))
        });
        let of = |rows| Part {
            rows,
            set_aside,
            long_way,
        };
        (of(held), of(free))
    }

    /// Writes deliveries in one transaction; answers which of them were new.
    async fn try_write(&mut self, batch: &[Waiting]) -> Result<statement::Fresh, sqlx::Error> {
        let line = if let Some(line) = &mut self.line {
            line
        } else {
            let connecting = PgConnection::connect_with(&self.options);
            let connected = tokio::time::timeout(PATIENCE, connecting).await;
            let connection = connected.map_err(|_| sqlx::Error::PoolTimedOut)??;
            self.line.insert(Line::new(connection))
        };
        let deliveries = batch.iter().map(|one| &one.delivery);
        let writing = statement::write(&mut line.connection, deliveries, &*self.random);
        if let Ok(written) = tokio::time::timeout(PATIENCE, writing).await {
            written
        } else {
            // What is on its way on this connection is no answer to the next question.
            self.line = None;
            Err(sqlx::Error::PoolTimedOut)
        }
    }
}
