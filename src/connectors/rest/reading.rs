//! A list, read page by page and handed on batch by batch. One page is held at a time.

use futures_util::{
    StreamExt as _, TryStreamExt as _,
    stream::{once, try_unfold},
};

use super::{
    RestGeneric,
    asking::Asker,
    named,
    paging::{Seen, Walk},
    records::{Records, Wanted},
};
use crate::{
    connectors::{BATCH_BYTES, Batch, Batches, ConnectorError, Limits, Source},
    domain::{rest::Resource, table::TableRead},
    net::HeaderMap,
};

/// The rows of a resource.
pub(super) fn batches(
    connector: RestGeneric,
    source: Source,
    read: TableRead,
    limits: Limits,
) -> Batches {
    once(async move { Reading::open(&connector, &source, read, limits) })
        .map_ok(|reading| try_unfold(reading, Reading::batch))
        .try_flatten()
        .boxed()
}

#[derive(Debug)]
struct Reading {
    asker: Asker,
    walk: Walk,
    resource: Resource,
    wanted: Wanted,
    limits: Limits,
    /// What was handed on so far.
    rows: u64,
    bytes: u64,
    page: Option<Page>,
}

#[derive(Debug)]
struct Page {
    records: Records,
    headers: HeaderMap,
    seen: u64,
}

impl Reading {
    fn open(
        connector: &RestGeneric,
        source: &Source,
        read: TableRead,
        limits: Limits,
    ) -> Result<Self, ConnectorError> {
        let (place, auth) = connector.parts(source)?;
        let resource = place
            .resources
            .iter()
            .find(|resource| resource.name == read.table)
            .ok_or_else(|| ConnectorError::NoSuchTable {
                table: read.table.clone(),
            })?;
        Ok(Self {
            asker: connector.asker(auth, limits),
            walk: Walk::of(place, resource)?,
            resource: resource.clone(),
            wanted: Wanted::of(read),
            limits,
            rows: 0,
            bytes: 0,
            page: None,
        })
    }

    /// Fills a batch, from as many pages as it takes.
    async fn batch(mut self) -> Result<Option<(Batch, Self)>, ConnectorError> {
        let mut batch = Batch::default();
        loop {
            if self.fill(&mut batch)? || !self.turn().await? {
                break;
            }
        }
        self.rows += batch.rows;
        self.bytes += batch.lines.len() as u64;
        Ok((batch.rows > 0).then_some((batch, self)))
    }

    /// Takes the records of the page; tells whether the batch is full.
    fn fill(&mut self, batch: &mut Batch) -> Result<bool, ConnectorError> {
        let Some(page) = &mut self.page else {
            return Ok(false);
        };
        while let Some(record) = page.records.next()? {
            page.seen += 1;
            if !self.wanted.write(record, &mut batch.lines)? {
                continue;
            }
            batch.rows += 1;
            let bytes = batch.lines.len() as u64;
            if self.rows + batch.rows > self.limits.rows || self.bytes + bytes > self.limits.bytes {
                return Err(ConnectorError::TooLarge);
            }
            if batch.lines.len() >= BATCH_BYTES {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Gets the next page, if there is one.
    async fn turn(&mut self) -> Result<bool, ConnectorError> {
        if let Some(page) = self.page.take() {
            self.walk.advance(Seen {
                document: page.records.document(),
                headers: &page.headers,
                records: page.seen,
            })?;
        }
        let Some(url) = self.walk.next() else {
            return Ok(false);
        };
        match self.asker.ask(url).await {
            Ok(answer) => {
                self.page = Some(Page {
                    records: Records::of(answer.document, &self.resource.record_path)?,
                    headers: answer.headers,
                    seen: 0,
                });
                Ok(true)
            }
            Err(ConnectorError::NoSuchPlace) if self.walk.may_have_ended() => {
                // One page past the end, or a list that is gone? The first page knows.
                let first = self.asker.ask(&self.walk.first()).await;
                first.map_err(|error| named(error, &self.resource))?;
                self.walk.end();
                Ok(false)
            }
            Err(error) => Err(named(error, &self.resource)),
        }
    }
}
