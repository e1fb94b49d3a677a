//! Webhooks in: two gates that fail closed, then the inbox.
//!
//! Whoever is refused is told nothing but that, and has cost no write.

pub(super) mod bindings;
mod sources;

use std::{sync::Arc, time::Duration};

use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::bindings::{Known, REFRESH_EVERY};
pub use self::sources::{WebhookProof, WebhookSources};
use super::{App, AppError};
use crate::{
    domain::{
        delivery::{DeliveryId, DeliveryOutcome, NewDelivery},
        event::{Hint, VendorEvent},
        ids::{PullId, WebhookTokenId},
        vendor::Vendor,
        webhook_token::WebhookToken,
    },
    storage::{Accepted, NotTaken, StorageError, WebhookBinding, within},
    telemetry,
};

/// How long a vendor is kept waiting for the database in all. Its own patience is not much longer,
/// and it comes again.
const PATIENCE: Duration = Duration::from_secs(2);

/// How metrics call the vendor of a webhook that names none of ours.
const NO_VENDOR: &str = "(none)";

/// A webhook whose token is good. Whether it comes from the vendor is not known yet.
#[derive(Debug)]
pub struct KnownWebhook {
    known: Arc<Known>,
    /// How long the database may still take.
    patience: Duration,
}

impl KnownWebhook {
    /// What logs show in place of the token.
    #[must_use]
    pub fn token_id(&self) -> WebhookTokenId {
        self.known.binding.token
    }
}

impl App {
    /// The first gate: the token has to be alive and bound to a connection of just this vendor. It
    /// stands before the body is read, so strangers can't make us hold what they send.
    pub async fn recognise_webhook(
        &self,
        provider: &str,
        token: &str,
    ) -> Result<KnownWebhook, AppError> {
        let began = Instant::now();
        let vendor: Option<Vendor> = provider.parse().ok();
        let finding = self.find_binding(vendor, token);
        let found = match tokio::time::timeout(PATIENCE, finding).await {
            Ok(found) => found,
            Err(_) => Err(AppError::WebhookNotTaken(Arc::new(NotTaken::TooLate))),
        };
        let found = found.and_then(|found| found.ok_or(AppError::WebhookRefused));
        match found {
            Ok(known) => Ok(KnownWebhook {
                known,
                patience: PATIENCE.saturating_sub(began.elapsed()),
            }),
            Err(error) => Err(counted(vendor, error)),
        }
    }

    async fn find_binding(
        &self,
        vendor: Option<Vendor>,
        token: &str,
    ) -> Result<Option<Arc<Known>>, AppError> {
        // A text that is no token of ours by its form never reaches the database.
        let (Some(vendor), Ok(token)) = (vendor, WebhookToken::parse(token)) else {
            return Ok(None);
        };
        let parts = &self.0.parts;
        let known = self.0.bindings.find(&parts.store, token.hash()).await?;
        Ok(known.filter(|known| {
            let binding = &known.binding;
            let over = binding
                .expires_at
                .is_some_and(|end| end <= parts.clock.now());
            binding.vendor == vendor && !over
        }))
    }

    /// The second gate, and the inbox behind it. When this returns, the webhook and the pull that it
    /// asks for are on disk.
    pub async fn accept_webhook(
        &self,
        webhook: &KnownWebhook,
        proof: &WebhookProof<'_>,
        body: Vec<u8>,
    ) -> Result<(), AppError> {
        let vendor = webhook.known.binding.vendor;
        match self.take_in(webhook, proof, body).await {
            Ok(Accepted { duplicate }) => {
                let outcome = if duplicate { "duplicate" } else { "accepted" };
                telemetry::record_webhook(vendor.as_str(), outcome);
                webhook.known.note_used();
                Ok(())
            }
            Err(error) => Err(counted(Some(vendor), error)),
        }
    }

    async fn take_in(
        &self,
        webhook: &KnownWebhook,
        proof: &WebhookProof<'_>,
        body: Vec<u8>,
    ) -> Result<Accepted, AppError> {
        let binding = &webhook.known.binding;
        if !self
            .0
            .parts
            .webhook_sources
            .vouch(binding.vendor, proof, &body)
        {
            tracing::debug!("the webhook's source was not accepted");
            webhook.known.note_refused();
            return Err(AppError::WebhookRefused);
        }
        let delivery = self.judge(binding, body)?;
        let id = delivery.id;
        let taking = self.0.parts.intake.accept(delivery);
        let taken = tokio::time::timeout(webhook.patience, taking).await;
        let accepted = taken
            .unwrap_or(Err(NotTaken::TooLate))
            .map_err(|error| AppError::WebhookNotTaken(Arc::new(error)))?;
        tracing::debug!(delivery.id = %id, accepted.duplicate, "a webhook was accepted");
        Ok(accepted)
    }

    /// What becomes of the body. Whatever it is, it is kept: a vendor must not send again and again
    /// what will never be of use.
    fn judge(&self, binding: &WebhookBinding, body: Vec<u8>) -> Result<NewDelivery, AppError> {
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
            received_at: parts.clock.now(),
        })
    }

    /// Keeps what is known of the tokens in use up to date until `stop`, and notes that they are
    /// used.
    pub async fn keep_webhook_bindings(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(REFRESH_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.refresh_webhook_bindings().await;
        }
    }

    /// One round of that. Should it fail, webhooks ask for themselves.
    pub async fn refresh_webhook_bindings(&self) {
        let parts = &self.0.parts;
        let _round = self.0.bindings.begin_round().await;
        let refreshed = async {
            let happened = self.0.bindings.refresh(&parts.store).await?;
            let now = parts.clock.now();
            if !happened.used.is_empty() {
                let used = happened.used.iter();
                parts.store.note_webhook_tokens_used(used, now).await?;
            }
            if !happened.refused.is_empty() {
                let refused = happened.refused.iter();
                parts
                    .store
                    .note_webhook_tokens_refused(refused, now)
                    .await?;
            }
            Ok::<_, StorageError>(())
        };
        if let Err(error) = within(PATIENCE, refreshed).await {
            tracing::warn!(
                error = telemetry::with_causes(&error),
                "webhook tokens can't be looked up"
            );
        }
    }
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
