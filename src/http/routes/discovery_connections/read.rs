//! Reading what is asked of a database connection.

use std::fmt::Display;

use crate::{
    app::{DatabaseChange, NewDatabase, Nullable},
    domain::{
        caller::Caller,
        connection::{ConfigName, TextError, parse_credential_part},
        database::{
            DatabaseLogin, DatabasePlace, DatabaseType, TlsMode, parse_certificates, parse_host,
            parse_name,
        },
        ids::ConnectionId,
        secret::SecretText,
    },
    http::{
        Api,
        fields::Fields,
        problem::{Code, HOST_NOT_ALLOWED, Problem},
    },
};

const PORTS: std::ops::RangeInclusive<i64> = 1..=65_535;

/// Reads an engine that this deployment has a connector for.
fn engine_of(api: &Api) -> impl Fn(&str) -> Result<DatabaseType, String> {
    let registered = api.app().database_types();
    move |text| {
        text.parse()
            .ok()
            .filter(|one| registered.contains(one))
            .ok_or_else(|| {
                let names: Vec<&str> = registered.iter().map(|one| one.as_str()).collect();
                if names.is_empty() {
                    "can't be served: this deployment registers no connector to databases".into()
                } else {
                    format!("must be one of: {}", names.join(", "))
                }
            })
    }
}

fn port(number: i64) -> Option<u16> {
    number.try_into().ok()
}

fn parse_secret(text: &str) -> Result<SecretText, TextError> {
    parse_credential_part(text).map(SecretText::new)
}

fn parse_user(text: &str) -> Result<SecretText, TextError> {
    parse_name(text).map(SecretText::new)
}

/// Reads a text of which the empty one is as good as none: forms send it.
fn or_none<T, E>(
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> impl FnOnce(&str) -> Result<Option<T>, E> {
    |text| {
        if text.is_empty() {
            Ok(None)
        } else {
            parse(text).map(Some)
        }
    }
}

pub(super) fn host_not_allowed(fields: &mut Fields) {
    fields.fault_of(Code::InvalidRequest, "host", HOST_NOT_ALLOWED, None);
}

pub(super) fn new(api: &Api, fields: &mut Fields) -> Option<NewDatabase> {
    let config_name = fields.required("configName", ConfigName::parse);
    let database_type = fields.required("databaseType", engine_of(api));
    let host = fields.required("host", parse_host);
    let port = fields.required_integer("port", PORTS).and_then(port);
    if let (Some(engine), Some(host), Some(port)) = (database_type, &host, port)
        && !api.app().admits_database(engine, host, port)
    {
        host_not_allowed(fields);
    }
    let database = fields.required("databaseName", parse_name);
    let user = fields.required("userName", parse_user);
    let password = fields.optional("password", or_none(parse_secret));
    let schema = fields.optional("schema", or_none(parse_name));
    let tls = fields.optional("tlsMode", str::parse::<TlsMode>);
    let certificates = fields.optional("tlsCertificates", parse_certificates);
    Some(NewDatabase {
        config_name: config_name?,
        place: DatabasePlace {
            database_type: database_type?,
            host: host?,
            port: port?,
            database: database?,
            schema: schema.flatten(),
            tls: tls.unwrap_or_default(),
            certificates,
        },
        login: DatabaseLogin {
            user: user?,
            password: password.flatten(),
        },
    })
}

/// Reads a member that `null` takes away.
fn nullable<T, E: Display>(
    fields: &mut Fields,
    name: &str,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Nullable<T> {
    if fields.takes_null(name) {
        return Nullable::Clear;
    }
    match fields.optional(name, or_none(parse)) {
        Some(Some(value)) => Nullable::Set(value),
        Some(None) => Nullable::Clear,
        None => Nullable::Keep,
    }
}

pub(super) fn change(api: &Api, fields: &mut Fields) -> DatabaseChange {
    DatabaseChange {
        config_name: fields.optional("configName", ConfigName::parse),
        database_type: fields.optional("databaseType", engine_of(api)),
        host: fields.optional("host", parse_host),
        port: fields.optional_integer("port", PORTS).and_then(port),
        database: fields.optional("databaseName", parse_name),
        schema: nullable(fields, "schema", parse_name),
        tls: fields.optional("tlsMode", str::parse::<TlsMode>),
        certificates: nullable(fields, "tlsCertificates", parse_certificates),
        user: fields.optional("userName", parse_user),
        password: nullable(fields, "password", parse_secret),
        expected: None,
    }
}

/// Whether the connection may lead where it would after the change.
pub(super) async fn admits_change(
    api: &Api,
    caller: &Caller,
    id: ConnectionId,
    change: &DatabaseChange,
) -> Result<bool, Problem> {
    let (engine, host, port) = (change.database_type, change.host.as_deref(), change.port);
    if engine.is_none() && host.is_none() && port.is_none() {
        return Ok(true);
    }
    let admits = api
        .app()
        .admits_database_change(caller, id, engine, host, port);
    Ok(admits.await?)
}
