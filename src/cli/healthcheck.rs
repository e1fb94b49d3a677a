//! `healthcheck`: asks the local server whether it is ready.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    process::ExitCode,
    time::Duration,
};

use url::Url;

use super::{Failure, configure, say};
use crate::{
    config::{Profile, Source},
    domain::host_rule::{HostOrNet, HostRule},
    net::{Call, Client, NetConfig, Request},
};

pub(super) async fn run(source: &Source) -> Result<ExitCode, Failure> {
    let config = configure(source, Profile::Tool(&[]))?;
    let mut address = config.http.listen;
    // One can listen on every address, but one asks at a particular one.
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    let client = Client::new(NetConfig {
        connect_timeout: Duration::from_secs(2),
        total_timeout: Duration::from_secs(4),
        body_cap: 64 * 1024,
        exemptions: vec![HostOrNet::Host(HostRule::from(address))],
        proxy: None,
    })?;
    let url = Url::parse(&format!("http://{address}/ready"))?;
    let call = Call {
        peer: "local",
        name: "ready",
    };
    let answer = client.send(Request::get(call, url)).await?;
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    say(&body)?;
    Ok(if answer.status.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
