//! The control API: steers the simulator from outside. Everything is JSON; what is wrong with a
//! request is told in `error`, with 400 or 404.

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, Query, State},
    http::{Response, StatusCode},
    response::IntoResponse as _,
    routing::{delete, get, post, put},
};
use chrono::TimeDelta;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Simulator, exchange::Answer, notice::Notice, spoil::whole};
use crate::domain::{clock::Clock as _, vendor::Vendor};

/// What a route comes to.
type Outcome = Result<Value, Refusal>;

#[derive(Debug)]
struct Refusal(StatusCode, String);

impl From<String> for Refusal {
    fn from(wrong: String) -> Self {
        Self(StatusCode::BAD_REQUEST, wrong)
    }
}

fn told(outcome: Outcome) -> Response<Body> {
    match outcome {
        Ok(Value::Null) => StatusCode::NO_CONTENT.into_response(),
        Ok(body) => whole(Answer::json(200, &body)),
        Err(Refusal(status, wrong)) => {
            whole(Answer::json(status.as_u16(), &json!({ "error": wrong })))
        }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    // No body is an object without members.
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| format!("the body is wrong: {error}").into())
}

fn vendor(name: &str) -> Result<Vendor, Refusal> {
    name.parse().map_err(|error| {
        let wrong = format!("there is no vendor {name}: it {error}");
        Refusal(StatusCode::NOT_FOUND, wrong)
    })
}

fn notices(fired: &[Notice]) -> Value {
    let shown = |one: &Notice| json!({ "resource": one.resource, "body": one.body });
    json!({ "notices": fired.iter().map(shown).collect::<Vec<_>>() })
}

/// The routes, for below `/_control`.
pub(super) fn router() -> Router<Simulator> {
    Router::new()
        .route("/state", get(state))
        .route("/calls", get(calls).delete(forget_calls))
        .route("/deliveries", get(deliveries))
        .route("/clock", post(move_clock))
        .route("/faults", post(arm_fault).delete(clear_faults))
        .route("/limits", put(set_limits))
        .route(
            "/subscriptions",
            get(list_subscriptions)
                .post(subscribe)
                .delete(end_subscriptions),
        )
        .route("/subscriptions/{id}", delete(end_subscription))
        .route("/sender", put(set_sender))
        .route("/{vendor}/scenarios/{name}", post(run_scenario))
        .route("/{vendor}/rows", get(rows).post(add_rows))
        .route("/{vendor}/fire", post(fire))
        .fallback(nothing)
        .method_not_allowed_fallback(nothing)
}

async fn nothing() -> Response<Body> {
    let wrong = "there is no such control; CONTRIBUTING.md lists them".to_owned();
    told(Err(Refusal(StatusCode::NOT_FOUND, wrong)))
}

/// Everything there is, in short.
async fn state(State(Simulator(parts)): State<Simulator>) -> Response<Body> {
    let simulator = Simulator(parts);
    let parts = &simulator.0;
    told(Ok(json!({
        "clock": {
            "now": parts.clock.now(), "offsetSeconds": parts.clock.offset().num_seconds(),
        },
        "pluggy": simulator.state(Vendor::Pluggy),
        "belvo": simulator.state(Vendor::Belvo),
        "faults": parts.faults.state(),
        "limits": parts.limits.state(),
        "sender": parts.sender.mode(),
    })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallsQuery {
    after: Option<u64>,
}

async fn calls(
    State(Simulator(parts)): State<Simulator>,
    query: Result<Query<CallsQuery>, axum::extract::rejection::QueryRejection>,
) -> Response<Body> {
    told(match query {
        Ok(Query(query)) => Ok(json!({ "calls": parts.calls.list(query.after) })),
        Err(wrong) => Err(wrong.body_text().into()),
    })
}

async fn forget_calls(State(Simulator(parts)): State<Simulator>) -> Response<Body> {
    parts.calls.clear();
    told(Ok(Value::Null))
}

async fn deliveries(State(Simulator(parts)): State<Simulator>) -> Response<Body> {
    told(Ok(json!({ "deliveries": parts.sender.deliveries() })))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

async fn move_clock(State(Simulator(parts)): State<Simulator>, body: Bytes) -> Response<Body> {
    told(read(&body).and_then(|Advance { advance_seconds }| {
        let by = TimeDelta::seconds(advance_seconds.into());
        let now = parts.clock.advance(by);
        let now = now.ok_or_else(|| "the calendar ends before that".to_owned())?;
        parts.sender.wake();
        Ok(json!({ "now": now }))
    }))
}

async fn arm_fault(State(Simulator(parts)): State<Simulator>, body: Bytes) -> Response<Body> {
    told(read(&body).and_then(|rule| {
        parts.faults.arm(rule)?;
        Ok(parts.faults.state())
    }))
}

async fn clear_faults(State(Simulator(parts)): State<Simulator>) -> Response<Body> {
    parts.faults.clear();
    told(Ok(Value::Null))
}

async fn set_limits(State(Simulator(parts)): State<Simulator>, body: Bytes) -> Response<Body> {
    told(read(&body).and_then(|limits| {
        parts.limits.change(&limits)?;
        Ok(parts.limits.state())
    }))
}

async fn list_subscriptions(State(Simulator(parts)): State<Simulator>) -> Response<Body> {
    told(Ok(json!({ "subscriptions": parts.sender.subscriptions() })))
}

async fn subscribe(State(Simulator(parts)): State<Simulator>, body: Bytes) -> Response<Body> {
    told(read(&body).and_then(|one| Ok(json!({ "id": parts.sender.subscribe(one)? }))))
}

async fn end_subscriptions(State(Simulator(parts)): State<Simulator>) -> Response<Body> {
    parts.sender.unsubscribe(None);
    told(Ok(Value::Null))
}

async fn end_subscription(
    State(Simulator(parts)): State<Simulator>,
    Path(id): Path<String>,
) -> Response<Body> {
    let known = id
        .parse()
        .is_ok_and(|id| parts.sender.unsubscribe(Some(id)));
    told(if known {
        Ok(Value::Null)
    } else {
        let wrong = format!("there is no subscription {id}");
        Err(Refusal(StatusCode::NOT_FOUND, wrong))
    })
}

async fn set_sender(State(Simulator(parts)): State<Simulator>, body: Bytes) -> Response<Body> {
    told(read(&body).and_then(|mode| {
        parts.sender.set_mode(mode, parts.clock.now())?;
        Ok(parts.sender.mode())
    }))
}

async fn run_scenario(
    State(simulator): State<Simulator>,
    Path((name, scenario)): Path<(String, String)>,
    body: Bytes,
) -> Response<Body> {
    told(vendor(&name).and_then(|vendor| {
        let fired = simulator.scenario(vendor, &scenario, &read(&body)?)?;
        Ok(notices(&fired))
    }))
}

async fn rows(State(simulator): State<Simulator>, Path(name): Path<String>) -> Response<Body> {
    told(vendor(&name).map(|vendor| json!({ "rows": simulator.rows(vendor) })))
}

async fn add_rows(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response<Body> {
    told(vendor(&name).and_then(|vendor| {
        let fired = simulator.add_rows(vendor, &read(&body)?)?;
        Ok(notices(&fired))
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fire {
    /// The item or link that it claims to be about.
    #[serde(default)]
    resource: String,
    body: Value,
}

async fn fire(
    State(simulator): State<Simulator>,
    Path(name): Path<String>,
    body: Bytes,
) -> Response<Body> {
    told(vendor(&name).and_then(|vendor| {
        let Fire { resource, body } = read(&body)?;
        let fired = [Notice { resource, body }];
        simulator.tell(vendor, &fired);
        Ok(notices(&fired))
    }))
}
