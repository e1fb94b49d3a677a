//! Reading what is asked of a REST connection.

use url::Url;

use crate::{
    app::{NewRest, RestChange, RestConnection},
    domain::{
        connection::{ConfigName, Version},
        rest::{
            self, AuthFault, PAGE_SIZES, Paging, Resource, RestAuth, RestPlace, check_resources,
        },
        secret::SecretText,
    },
    http::{
        Api,
        fields::Fields,
        problem::{AUTH_STAYS_BEHIND, Code},
    },
};

/// What the numbers of first pages may be.
const FIRST_PAGES: std::ops::RangeInclusive<i64> = 0..=1_000_000;

pub(super) fn new(api: &Api, fields: &mut Fields) -> Option<NewRest> {
    let config_name = fields.required("configName", ConfigName::parse);
    let base_url = base_url(api, fields);
    let auth = fields.required_object("auth").map(Fields::unquoted);
    let auth = auth.and_then(|inner| read_auth(fields, inner));
    let resources = read_resources(fields);
    Some(NewRest {
        config_name: config_name?,
        place: RestPlace {
            base_url: base_url?,
            resources: resources?,
        },
        auth: auth?,
    })
}

pub(super) fn change(
    api: &Api,
    current: &RestConnection,
    expected: Option<Vec<Version>>,
    fields: &mut Fields,
) -> Option<RestChange> {
    let config_name = fields.required("configName", ConfigName::parse);
    let base_url = base_url(api, fields);
    let keeps_auth = !fields.has("auth");
    let auth = fields.object("auth").map(Fields::unquoted);
    let auth = auth.and_then(|inner| read_auth(fields, inner));
    let resources = read_resources(fields);
    if keeps_auth
        && let Some(base_url) = &base_url
        && base_url.origin() != current.place.base_url.origin()
    {
        fields.fault_of(Code::InvalidRequest, "auth", AUTH_STAYS_BEHIND, None);
    }
    Some(RestChange {
        config_name: config_name?,
        place: RestPlace {
            base_url: base_url?,
            resources: resources?,
        },
        auth,
        expected,
    })
}

fn base_url(api: &Api, fields: &mut Fields) -> Option<Url> {
    let text = fields.required("baseUrl", |text| Ok::<_, AuthFault>(text.to_owned()))?;
    rest::base_url(&text, api.app().rest_private_hosts())
        .map_err(|fault| {
            // Before an `@` may stand a password, behind a `?` or `#` a key.
            let quoted = (!text.contains(['@', '?', '#'])).then(|| text.clone().into());
            fields.fault_of(Code::InvalidRequest, "baseUrl", fault.to_string(), quoted);
        })
        .ok()
}

fn secret(text: &str) -> SecretText {
    SecretText::new(text.to_owned())
}

/// What the member `type` of a proof says.
#[derive(Clone, Copy)]
enum AuthType {
    None,
    Bearer,
    Basic,
    Header,
}

fn auth_type(text: &str) -> Result<AuthType, AuthFault> {
    Ok(match text {
        "none" => AuthType::None,
        "bearer" => AuthType::Bearer,
        "basic" => AuthType::Basic,
        "header" => AuthType::Header,
        _ => return Err(AuthFault::Kind),
    })
}

fn read_auth(fields: &mut Fields, mut inner: Fields) -> Option<RestAuth> {
    let kind = inner.required("type", auth_type);
    let auth = match kind {
        None => {
            // What else there should be depends on it.
            inner.forget_members();
            None
        }
        Some(AuthType::None) => Some(RestAuth::None),
        Some(AuthType::Bearer) => inner.required("token", |text| RestAuth::bearer(secret(text))),
        Some(AuthType::Basic) => {
            let user = inner.required("userName", |text| RestAuth::basic_user(secret(text)));
            let password =
                inner.required("password", |text| RestAuth::basic_password(secret(text)));
            user.zip(password)
                .map(|(user, password)| RestAuth::Basic { user, password })
        }
        Some(AuthType::Header) => {
            let name = inner.required("name", RestAuth::header_name);
            let value = inner.required("value", |text| RestAuth::header_value(secret(text)));
            name.zip(value)
                .map(|(name, value)| RestAuth::Header { name, value })
        }
    };
    fields.close(inner);
    auth
}

fn read_resources(fields: &mut Fields) -> Option<Vec<Resource>> {
    let inner = fields.required_objects("resources")?;
    let read: Vec<Option<Resource>> = inner
        .into_iter()
        .map(|mut one| {
            let resource = read_resource(&mut one);
            fields.close(one);
            resource
        })
        .collect();
    // What holds between resources is told once each of them can be read.
    let resources: Vec<Resource> = read.into_iter().collect::<Option<_>>()?;
    let faults = check_resources(&resources);
    for (at, member, fault) in &faults {
        let place = match at {
            Some(at) => format!("resources[{at}].{member}"),
            None => (*member).to_owned(),
        };
        fields.fault_of(Code::InvalidRequest, &place, fault.to_string(), None);
    }
    faults.is_empty().then_some(resources)
}

fn read_resource(fields: &mut Fields) -> Option<Resource> {
    let name = fields.required("name", rest::resource_name);
    let path = fields.required("path", rest::path);
    let record_path = if fields.has("recordPath") {
        fields.optional("recordPath", rest::record_path)
    } else {
        Some(String::new())
    };
    let paging = read_paging(fields);
    Some(Resource {
        name: name?,
        path: path?,
        record_path: record_path?,
        paging: paging?,
    })
}

/// How the word in `paging` says that a list is read.
#[derive(Clone, Copy)]
enum PagingType {
    None,
    Page,
    Cursor,
    Link,
}

fn paging_type(text: &str) -> Result<PagingType, &'static str> {
    Ok(match text {
        "none" => PagingType::None,
        "page" => PagingType::Page,
        "cursor" => PagingType::Cursor,
        "link" => PagingType::Link,
        _ => return Err("must be none, page, cursor or link"),
    })
}

fn read_paging(fields: &mut Fields) -> Option<Paging> {
    if !fields.has("paging") {
        return Some(Paging::None);
    }
    let Some(kind) = fields.optional("paging", paging_type) else {
        // What else there should be depends on it.
        fields.forget_members();
        return None;
    };
    match kind {
        PagingType::None => Some(Paging::None),
        PagingType::Link => Some(Paging::Link),
        PagingType::Cursor => {
            let parameter = fields.required("cursorParameter", rest::parameter);
            let next_path = fields.required("cursorPath", rest::cursor_path);
            Some(Paging::Cursor {
                parameter: parameter?,
                next_path: next_path?,
            })
        }
        PagingType::Page => {
            let parameter = fields.required("pageParameter", rest::parameter);
            let first = if fields.has("firstPage") {
                fields.optional_integer("firstPage", FIRST_PAGES)
            } else {
                Some(1)
            };
            let size = read_size(fields);
            Some(Paging::Page {
                parameter: parameter?,
                first: first?.try_into().ok()?,
                size: size?,
            })
        }
    }
}

/// How many records to ask for and by which parameter: both or neither.
#[expect(clippy::option_option, reason = "a fault is told from nothing")]
fn read_size(fields: &mut Fields) -> Option<Option<(String, u32)>> {
    if !fields.has("sizeParameter") && !fields.has("pageSize") {
        return Some(None);
    }
    let sizes = i64::from(*PAGE_SIZES.start())..=i64::from(*PAGE_SIZES.end());
    let parameter = fields.required("sizeParameter", rest::parameter);
    let size = fields.required_integer("pageSize", sizes);
    Some(Some((parameter?, size?.try_into().ok()?)))
}
