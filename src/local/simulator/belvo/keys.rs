//! Who may ask: key pairs, and the Basic header that carries one.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::exchange::Ask;
use super::refusal::Refusal;

pub(super) struct KeyPair {
    pub(super) id: &'static str,
    pub(super) password: &'static str,
    /// Whether the account behind the pair was ever let into this environment.
    pub(super) admitted: bool,
}

/// Without the password.
impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair")
            .field("id", &self.id)
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}

/// Reads the Basic header of `ask` and looks its pair up.
pub(super) fn admit(keys: &[KeyPair], ask: &Ask<'_>) -> Result<(), Refusal> {
    let pair = ask
        .headers
        .iter()
        .find(|(name, _)| name == "authorization")
        .and_then(|(_, value)| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))
        .and_then(|(_, token)| STANDARD.decode(token.trim()).ok())
        .and_then(|bytes| String::from_utf8(bytes).ok());
    match pair.as_deref().and_then(|pair| pair.split_once(':')) {
        Some((id, password)) => admit_pair(keys, id, password),
        None => Err(unknown()),
    }
}

/// Reads the pair from the body, as the one call without a Basic header has it.
pub(super) fn admit_body(keys: &[KeyPair], ask: &Ask<'_>) -> Result<(), Refusal> {
    let body: Value = serde_json::from_slice(ask.body)
        .map_err(|_| Refusal::new(400, "parse_error", "JSON parse error"))?;
    let member = |name| {
        body.get(name)
            .and_then(Value::as_str)
            .ok_or_else(|| Refusal::required(name))
    };
    admit_pair(keys, member("id")?, member("password")?)
}

fn admit_pair(keys: &[KeyPair], id: &str, password: &str) -> Result<(), Refusal> {
    match keys
        .iter()
        .find(|pair| pair.id == id && pair.password == password)
    {
        None => Err(unknown()),
        Some(pair) if !pair.admitted => Err(Refusal::new(
            403,
            "access_to_production_denied",
            "You don't have access to production API.",
        )),
        Some(_) => Ok(()),
    }
}

fn unknown() -> Refusal {
    Refusal::new(401, "authentication_failed", "Invalid Secret Keys")
}
