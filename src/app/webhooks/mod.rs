//! Webhooks in: two gates that fail closed, then the inbox.
//!
//! Whoever is refused is told nothing but that, and has cost no write.

pub(super) mod bindings;
mod sources;

use std::{fmt, future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Interval, MissedTickBehavior},
};
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
        ids::WebhookTokenId,
        vendor::Vendor,
        webhook_token::WebhookToken,
    },
    storage::{Accepted, NotTaken, TokenHash, WebhookBinding, within},
    telemetry,
};

/// How long a vendor is kept waiting for the database in all. Its own patience is not much longer,
/// and it comes again. A body that anybody may have sent has to be there within as long.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many bytes are kept in all of bodies whose signature is not judged yet. None of them is kept for longer
/// than [`PATIENCE`], so whoever wants to be in the way of the others has to send half of it each second.
const UNJUDGED_BYTES: usize = 64 * 1024 * 1024;

/// How metrics call the vendor of a webhook that names none of ours.
const NO_VENDOR: &str = "(none)";

/// A webhook that may be good: the rest is for its body to tell.
pub struct IncomingWebhook {
    vendor: Vendor,
    /// What its token is looked up by; nothing if it is none of ours by its form. Such a webhook is refused,
    /// but not before its body was waited for.
    token: Option<TokenHash>,
    gate: Gate,
    /// As much of it as has come.
    body: Vec<u8>,
    /// How long the rest may still keep the vendor waiting.
    patience: Duration,
}

/// What of the source is known already.
enum Gate {
    /// It is the vendor, and this is the token.
    Passed(Arc<Known>),
    /// It is the vendor if this is the signature of the body. Before that is known nothing is asked of the
    /// database, and the token decides of nothing.
    Sealed(Unjudged),
}

/// What has come of a body that anybody may have sent.
struct Unjudged {
    seal: Seal,
    /// Room for as much of it as has come.
    room: Option<OwnedSemaphorePermit>,
    /// When all of it has to be there.
    due: Instant,
}

impl fmt::Debug for IncomingWebhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IncomingWebhook")
            .field("vendor", &self.vendor)
            .field("token", &self.token_id())
            .finish_non_exhaustive()
    }
}

impl IncomingWebhook {
    /// What logs show in place of the token, as soon as it is known.
    #[must_use]
    pub fn token_id(&self) -> Option<WebhookTokenId> {
        match &self.gate {
            Gate::Passed(known) => Some(known.binding.token),
            Gate::Sealed(_) => None,
        }
    }

    /// Whether it is known to come from the vendor, whatever its body is.
    #[must_use]
    pub fn is_vouched(&self) -> bool {
        matches!(self.gate, Gate::Passed(_))
    }

    /// When its body has to be there, as long as anybody may have sent it.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        match &self.gate {
            Gate::Passed(_) => None,
            Gate::Sealed(unjudged) => Some(unjudged.due),
        }
    }
}

impl App {
    /// What can be judged before the body is read, so that it is not read of strangers: the source has to
    /// vouch for the webhook, and then the token has to be alive and bound to a connection of just this
    /// vendor; or there has to be a signature that may vouch.
    pub async fn recognise_webhook(
        &self,
        provider: &str,
        token: &str,
        proof: &WebhookProof<'_>,
    ) -> Result<IncomingWebhook, AppError> {
        let Ok(vendor) = provider.parse::<Vendor>() else {
            return Err(counted(None, AppError::WebhookRefused));
        };
        // A text that is no token of ours by its form never reaches the database.
        let token = WebhookToken::parse(token).ok().map(|token| token.hash());
        let mut patience = PATIENCE;
        let gate = match self.0.parts.webhook_sources.judge(vendor, proof) {
            Standing::Vouched => {
                let finding = self.find_binding(vendor, token, &mut patience);
                Gate::Passed(finding.await?)
            }
            Standing::Signed(seal) => Gate::Sealed(Unjudged {
                seal,
                room: None,
                due: Instant::now() + PATIENCE,
            }),
            Standing::Stranger => return Err(self.refused(vendor, token)),
        };
        Ok(IncomingWebhook {
            vendor,
            token,
            gate,
            body: Vec::new(),
            patience,
        })
    }

    /// Takes the next part of the body, the same way whatever the token is. Somebody whose signature is not
    /// judged yet has to wait for room, for no longer than the body may take.
    pub async fn add_to_webhook(
        &self,
        webhook: &mut IncomingWebhook,
        part: &[u8],
    ) -> Result<(), AppError> {
        if let Gate::Sealed(unjudged) = &mut webhook.gate {
            let bytes = u32::try_from(part.len()).unwrap_or(u32::MAX);
            let asking = Arc::clone(&self.0.unjudged_webhooks).acquire_many_owned(bytes);
            let given = tokio::time::timeout_at(unjudged.due, asking).await;
            let given = given.map_err(|_| too_late(webhook.vendor))?;
            match (&mut unjudged.room, given) {
                (Some(room), Ok(more)) => room.merge(more),
                // It is never closed.
                (room, given) => *room = given.ok(),
            }
            unjudged.seal.add(part);
        }
        webhook.body.extend_from_slice(part);
        Ok(())
    }

    /// Refuses a webhook after all.
    #[must_use]
    pub fn refuse_webhook(&self, webhook: &IncomingWebhook) -> AppError {
        self.refused(webhook.vendor, webhook.token)
    }

    /// Which token it was is found out later, if any: now it would tell the one kind from the other.
    fn refused(&self, vendor: Vendor, token: Option<TokenHash>) -> AppError {
        if let Some(token) = token {
            let now = self.0.parts.clock.now();
            self.0.bindings.note_refused(vendor, token, now);
        }
        counted(Some(vendor), AppError::WebhookRefused)
    }

    /// What the token of a webhook that comes from the vendor is bound to.
    async fn find_binding(
        &self,
        vendor: Vendor,
        token: Option<TokenHash>,
        patience: &mut Duration,
    ) -> Result<Arc<Known>, AppError> {
        let parts = &self.0.parts;
        let bindings = &self.0.bindings;
        let mut found = token.and_then(|token| bindings.at_hand(&token));
        if let (Some(token), None) = (token, &found) {
            // On the heap: it is large, and nearly no webhook comes here.
            let looking = Box::pin(bindings.look_up(&parts.store, token));
            let looked = in_time(vendor, patience, looking).await?;
            found = looked.map_err(|error| counted(Some(vendor), error))?;
        }
        found
            .filter(|known| known.is_good_for(vendor, parts.clock.now()))
            .ok_or_else(|| counted(Some(vendor), AppError::WebhookRefused))
    }

    /// The signature, where the source does not vouch yet, then the token, and the inbox behind them. When
    /// this returns, the webhook and the pull that it asks for are on disk.
    pub async fn accept_webhook(&self, webhook: &mut IncomingWebhook) -> Result<(), AppError> {
        let vendor = webhook.vendor;
        if let Gate::Sealed(unjudged) = &webhook.gate {
            if !unjudged.seal.holds() {
                return Err(self.refuse_webhook(webhook));
            }
            let finding = self.find_binding(vendor, webhook.token, &mut webhook.patience);
            webhook.gate = Gate::Passed(finding.await?);
        }
        let Gate::Passed(known) = &webhook.gate else {
            return Err(self.refuse_webhook(webhook));
        };
        let now = self.0.parts.clock.now();
        let body = std::mem::take(&mut webhook.body);
        let delivery = self.judge(&known.binding, body, now);
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

/// Room for the bodies that anybody may have sent: a permit for each byte.
pub(super) fn room_for_unjudged() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(UNJUDGED_BYTES))
}

/// Waits no longer than there is patience left, and takes what it took off it.
async fn in_time<T>(
    vendor: Vendor,
    patience: &mut Duration,
    work: impl Future<Output = T>,
) -> Result<T, AppError> {
    let began = Instant::now();
    let done = tokio::time::timeout(*patience, work).await;
    *patience = patience.saturating_sub(began.elapsed());
    done.map_err(|_| too_late(vendor))
}

/// Nobody is kept waiting for longer.
fn too_late(vendor: Vendor) -> AppError {
    let late = AppError::WebhookNotTaken(Arc::new(NotTaken::TooLate));
    counted(Some(vendor), late)
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

impl fmt::LowerHex for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
