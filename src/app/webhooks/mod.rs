//! Webhooks in: two gates that fail closed, then the inbox.
//!
//! Whoever is refused is told nothing but that, and has cost no write.

pub(super) mod bindings;
mod sources;

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::sources::{WebhookProof, WebhookSources};
use self::{
    bindings::{Known, REFRESH_EVERY},
    sources::{Seal, Standing},
};
use super::{App, AppError};
use crate::{
    domain::{
        delivery::{DeliveryId, DeliveryOutcome, NewDelivery},
        event::{Hint, VendorEvent},
        ids::{PullId, WebhookTokenId},
        vendor::Vendor,
        webhook_token::WebhookToken,
    },
    storage::{Accepted, NotTaken, WebhookBinding, within},
    telemetry,
};

/// How long a vendor is kept waiting for the database in all. Its own patience is not much longer,
/// and it comes again.
const PATIENCE: Duration = Duration::from_secs(2);

/// How metrics call the vendor of a webhook that names none of ours.
const NO_VENDOR: &str = "(none)";

/// A webhook that may be good: the rest is for its body to tell.
#[derive(Debug)]
pub struct IncomingWebhook {
    vendor: Vendor,
    /// Nothing if no token is known that would admit it; it is refused, but not before its body was
    /// waited for.
    known: Option<Arc<Known>>,
    /// What tells whether the body is signed; nothing if the source vouches already.
    seal: Option<Seal>,
    /// As much of it as has come, if a token is known.
    body: Vec<u8>,
    /// How long the database may still take.
    patience: Duration,
}

impl IncomingWebhook {
    /// What logs show in place of the token, if it is known.
    #[must_use]
    pub fn token_id(&self) -> Option<WebhookTokenId> {
        self.known.as_ref().map(|known| known.binding.token)
    }

    /// Whether it comes from the vendor, whatever its body is.
    #[must_use]
    pub fn is_vouched(&self) -> bool {
        self.known.is_some() && self.seal.is_none()
    }

    /// Takes the next part of the body. That takes as long whether a token is known or not, but nothing is
    /// kept for a stranger.
    pub fn add(&mut self, part: &[u8]) {
        if let Some(seal) = &mut self.seal {
            seal.add(part);
        }
        if self.known.is_some() {
            self.body.extend_from_slice(part);
        }
    }
}

impl App {
    /// What can be judged before the body is read, so that strangers can't make us hold what they
    /// send: the source has to vouch for the webhook, or there has to be a signature that may, and the
    /// token has to be alive and bound to a connection of just this vendor.
    pub async fn recognise_webhook(
        &self,
        provider: &str,
        token: &str,
        proof: &WebhookProof<'_>,
    ) -> Result<IncomingWebhook, AppError> {
        let began = Instant::now();
        let vendor: Option<Vendor> = provider.parse().ok();
        let sources = &self.0.parts.webhook_sources;
        let standing = vendor.map(|vendor| (vendor, sources.judge(vendor, proof)));
        let is_vouched = matches!(standing, Some((_, Standing::Vouched)));
        let finding = self.find_binding(vendor, token, is_vouched);
        let found = match tokio::time::timeout(PATIENCE, finding).await {
            Ok(found) => found,
            Err(_) => Err(AppError::WebhookNotTaken(Arc::new(NotTaken::TooLate))),
        };
        let known = found.map_err(|error| counted(vendor, error))?;
        let (vendor, seal) = match standing {
            Some((vendor, Standing::Vouched)) if known.is_some() => (vendor, None),
            Some((vendor, Standing::Signed(seal))) => (vendor, Some(seal)),
            _ => return Err(self.refused(vendor, known.as_ref())),
        };
        Ok(IncomingWebhook {
            vendor,
            known,
            seal,
            body: Vec::new(),
            patience: PATIENCE.saturating_sub(began.elapsed()),
        })
    }

    /// Refuses a webhook after all.
    #[must_use]
    pub fn refuse_webhook(&self, webhook: &IncomingWebhook) -> AppError {
        self.refused(Some(webhook.vendor), webhook.known.as_ref())
    }

    fn refused(&self, vendor: Option<Vendor>, known: Option<&Arc<Known>>) -> AppError {
        if let Some(known) = known {
            tracing::debug!("the webhook's source was not accepted");
            let now = self.0.parts.clock.now();
            self.0.bindings.note_refused(known, now);
        }
        counted(vendor, AppError::WebhookRefused)
    }

    async fn find_binding(
        &self,
        vendor: Option<Vendor>,
        token: &str,
        is_vouched: bool,
    ) -> Result<Option<Arc<Known>>, AppError> {
        // A text that is no token of ours by its form never reaches the database.
        let (Some(vendor), Ok(token)) = (vendor, WebhookToken::parse(token)) else {
            return Ok(None);
        };
        let parts = &self.0.parts;
        let finding = self.0.bindings.find(&parts.store, token.hash(), is_vouched);
        let known = finding.await?;
        Ok(known.filter(|known| {
            let binding = &known.binding;
            let over = binding
                .expires_at
                .is_some_and(|end| end <= parts.clock.now());
            binding.vendor == vendor && !over
        }))
    }

    /// The signature, where the source does not vouch yet, and the inbox behind it. When this returns,
    /// the webhook and the pull that it asks for are on disk.
    pub async fn accept_webhook(&self, webhook: IncomingWebhook) -> Result<(), AppError> {
        let vendor = webhook.vendor;
        let is_good = webhook.seal.is_none_or(Seal::holds);
        let Some(known) = webhook.known.as_ref().filter(|_| is_good) else {
            return Err(self.refused(Some(vendor), webhook.known.as_ref()));
        };
        let now = self.0.parts.clock.now();
        let delivery = self.judge(&known.binding, webhook.body, now);
        let delivery = delivery.map_err(|error| counted(Some(vendor), error))?;
        let outcome = delivery.outcome;
        match self.take_in(delivery, webhook.patience).await {
            Ok(Accepted { duplicate }) => {
                let outcome = match outcome {
                    _ if duplicate => "duplicate",
                    DeliveryOutcome::Queued => "accepted",
                    DeliveryOutcome::Ignored | DeliveryOutcome::Unmatched => outcome.as_str(),
                };
                telemetry::record_webhook(vendor.as_str(), outcome);
                self.0.bindings.note_accepted(known, now);
                Ok(())
            }
            Err(error) => Err(counted(Some(vendor), error)),
        }
    }

    async fn take_in(
        &self,
        delivery: NewDelivery,
        patience: Duration,
    ) -> Result<Accepted, AppError> {
        let id = delivery.id;
        let taking = self.0.parts.intake.accept(delivery);
        let taken = tokio::time::timeout(patience, taking).await;
        let accepted = taken
            .unwrap_or(Err(NotTaken::TooLate))
            .map_err(|error| AppError::WebhookNotTaken(Arc::new(error)))?;
        tracing::debug!(delivery.id = %id, accepted.duplicate, "a webhook was accepted");
        Ok(accepted)
    }

    /// What becomes of the body. Whatever it is, it is kept: a vendor must not send again and again
    /// what will never be of use.
    fn judge(
        &self,
        binding: &WebhookBinding,
        body: Vec<u8>,
        now: DateTime<Utc>,
    ) -> Result<NewDelivery, AppError> {
        let parts = &self.0.parts;
        let event = self
            .aggregator(binding.vendor)?
            .parse_event(&body)
            .unwrap_or_else(|_| unreadable(&body));
        let outcome = if !concerns(binding, &event) {
            DeliveryOutcome::Unmatched
        } else if event.hint == Hint::Nothing {
            DeliveryOutcome::Ignored
        } else {
            DeliveryOutcome::Queued
        };
        Ok(NewDelivery {
            tenant: binding.tenant,
            id: DeliveryId::of(binding.connection, &event.key),
            connection: binding.connection,
            token: binding.token,
            event: event.name,
            event_key: event.key,
            key_expires: event.key_expires,
            body,
            outcome,
            hint: event.hint,
            pull: PullId::new(&*parts.clock, &*parts.random),
            received_at: now,
        })
    }

    /// Keeps what is known of the tokens in use up to date until `stop`, and notes what happened by
    /// them, to the last. Neither waits for the other: a note that takes long must not make what is in
    /// use lapse.
    pub async fn keep_webhook_bindings(self, stop: CancellationToken) {
        let refreshing = async {
            let mut rounds = rounds();
            while stop.run_until_cancelled(rounds.tick()).await.is_some() {
                self.refresh_bindings().await;
            }
        };
        let noting = async {
            let mut rounds = rounds();
            while stop.run_until_cancelled(rounds.tick()).await.is_some() {
                self.note_webhooks().await;
            }
        };
        tokio::join!(refreshing, noting);
        self.note_webhooks().await;
    }

    /// One round of both. Should it fail, webhooks ask for themselves.
    pub async fn refresh_webhook_bindings(&self) {
        tokio::join!(self.refresh_bindings(), self.note_webhooks());
    }

    async fn refresh_bindings(&self) {
        let refreshing = self.0.bindings.refresh(&self.0.parts.store);
        if let Err(error) = within(PATIENCE, refreshing).await {
            tracing::warn!(
                error = telemetry::with_causes(&error),
                "webhook tokens can't be looked up"
            );
        }
    }

    async fn note_webhooks(&self) {
        if let Err(error) = self.0.bindings.write_notes(&self.0.parts.store).await {
            tracing::warn!(
                error = telemetry::with_causes(&error),
                "what happened by webhook tokens can't be noted"
            );
        }
    }
}

fn rounds() -> Interval {
    let mut ticks = tokio::time::interval(REFRESH_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// Counts a webhook that was not accepted.
fn counted(vendor: Option<Vendor>, error: AppError) -> AppError {
    let outcome = match error {
        AppError::WebhookRefused => "refused",
        _ => "unavailable",
    };
    telemetry::record_webhook(vendor.map_or(NO_VENDOR, Vendor::as_str), outcome);
    error
}

/// Something that is no event, told apart by its bytes.
fn unreadable(body: &[u8]) -> VendorEvent {
    VendorEvent {
        key: format!("{:x}", Hex(&Sha256::digest(body))),
        key_expires: true,
        name: "unknown".to_owned(),
        resource: None,
        hint: Hint::Nothing,
    }
}

/// Whether an event speaks of what the connection reads. One that names nothing speaks of whatever
/// its token is bound to.
fn concerns(binding: &WebhookBinding, event: &VendorEvent) -> bool {
    let account = match &event.hint {
        Hint::Created { account, .. }
        | Hint::Updated { account, .. }
        | Hint::Deleted { account, .. } => account.as_deref(),
        Hint::Nothing | Hint::Source | Hint::Window | Hint::Full => None,
    };
    event.resource.as_deref().is_none_or(|resource| {
        is_same(&binding.account_ref, resource)
            // The reference may name one of the item's accounts.
            || account.is_some_and(|account| is_same(&binding.account_ref, account))
    })
}

/// Whether two texts are the same name; a UUID may be written in more ways than one.
fn is_same(ours: &str, theirs: &str) -> bool {
    let uuid = |text| Uuid::try_parse(text).ok();
    ours == theirs || uuid(ours).is_some_and(|ours| Some(ours) == uuid(theirs))
}

/// Bytes that are written as hexadecimal digits.
struct Hex<'a>(&'a [u8]);

impl std::fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
