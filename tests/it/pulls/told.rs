//! What pulls are told, by webhooks and by operators.

use chrono::TimeDelta;
use serde_json::json;

use super::{House, last_pull};

#[tokio::test]
async fn only_what_no_webhook_announced_counts_as_missed() {
    let house = House::build().await;
    let missed = async |vendor: &str| {
        let pull = last_pull(&house.client, house.path(vendor)).await;
        assert_eq!(pull["state"], "succeeded", "{pull:#}");
        let missed = pull["progress"]["missedByWebhooks"].as_i64();
        missed.unwrap()
    };
    // Events that name no row are followed by listings, and those find what was announced.
    for (vendor, scenario, event) in [
        ("pluggy", "edit-amount", "transactions/updated"),
        ("pluggy", "delete-row", "transactions/deleted"),
        ("pluggy", "daily-sync", "transactions/created"),
        ("belvo", "daily-refresh", "new_transactions_available"),
        ("belvo", "edit-amount", "transactions_updated"),
        ("belvo", "daily-refresh", "historical_update"),
    ] {
        house.app.clock.advance(TimeDelta::minutes(7));
        house.happens(vendor, scenario, &json!({})).await;
        let reference = house.vendors.connection(vendor, "x")["accountRef"].clone();
        let told = match vendor {
            "pluggy" => json!({"event": event, "eventId": event, "itemId": reference}),
            _ => json!({
                "webhook_type": "TRANSACTIONS", "webhook_code": event, "link_id": reference,
            }),
        };
        house.deliver(vendor, &told).await;
        assert_eq!(house.work().await, 1, "{event}");
        assert_eq!(missed(vendor).await, 0, "{vendor} {event}");
    }
    // What is not told of at all is.
    for (vendor, scenario) in [
        ("pluggy", "daily-sync"),
        ("pluggy", "edit-amount"),
        ("belvo", "daily-refresh"),
    ] {
        house.happens(vendor, scenario, &json!({})).await;
        house.sweep().await;
        assert!(missed(vendor).await > 0, "{vendor} {scenario}");
        house.sweep().await;
        assert_eq!(missed(vendor).await, 0, "{vendor} {scenario}: once");
    }
}
