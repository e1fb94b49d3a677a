//! `token`: a token for an operator.

use std::{process::ExitCode, time::Duration};

use clap::Args;

use super::{Failure, configure, say};
use crate::{
    config::{Profile, Source, variables},
    domain::{caller::Scope, clock::SystemClock, ids::TenantId},
    http::auth::mint::{Grant, mint},
};

#[derive(Args, Debug)]
pub(super) struct TokenArgs {
    /// The tenant that the token speaks for
    #[arg(long, value_name = "UUID")]
    tenant: TenantId,
    /// What the token allows
    #[arg(
        long,
        value_name = "SCOPES",
        default_value = "discovery:read discovery:write",
        value_parser = scopes
    )]
    scope: String,
    /// How long the token is good for
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = humantime::parse_duration)]
    ttl: Duration,
}

/// A token with a right that nobody knows would be refused only when it is used.
fn scopes(text: &str) -> Result<String, String> {
    let known = [Scope::Read, Scope::Write].map(Scope::as_str);
    let mut words = text.split_whitespace().peekable();
    if words.peek().is_none() || !words.all(|word| known.contains(&word)) {
        return Err(format!("is not made of: {}", known.join(", ")));
    }
    Ok(text.to_owned())
}

pub(super) fn run(args: &TokenArgs, source: &Source) -> Result<ExitCode, Failure> {
    let config = configure(source, Profile::Tool(&[variables::JWT_HMAC_SECRET]))?;
    let secret = config
        .auth
        .hmac_secret
        .ok_or("a token is signed with DISCOVERY_JWT_HMAC_SECRET, which is not set")?;
    say(&mint(
        secret.expose().as_bytes(),
        &Grant {
            tenant: args.tenant,
            scopes: &args.scope,
            ttl: args.ttl,
            issuer: config.auth.issuer.as_deref(),
            audience: config.auth.audience.as_deref(),
        },
        &SystemClock,
    ))?;
    Ok(ExitCode::SUCCESS)
}
