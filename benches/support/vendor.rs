//! A vendor that answers from memory: Pluggy's shapes, no limits, no waiting.
//!
//! Every item has the same accounts and every account the same rows, under names of its own. The
//! pages are made once; to answer is to write the account's number into one of them.

use std::{
    borrow::Cow,
    collections::HashMap,
    convert::Infallible,
    fmt::Write as _,
    net::SocketAddr,
    ops::Range,
    sync::{Arc, Mutex, PoisonError},
};

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Bytes, header, service::service_fn};
use hyper_util::rt::TokioIo;
use matcher_discovery::domain::clock::{Clock as _, SystemClock};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};
use url::form_urlencoded;

use super::Failure;

/// As many rows as Pluggy puts on a page.
const PAGE: u32 = 500;
/// The days over which the rows of an account are spread.
const DAYS: i64 = 340;
/// Stands for the account's number in a page that is not filled in yet.
const ACCOUNT: &str = "\u{1}";

/// A running vendor; it ends with this value.
pub(crate) struct Vendor {
    pub(crate) address: SocketAddr,
    world: Arc<World>,
    _serving: JoinSet<()>,
}

/// What a URL asks for.
type Query<'a> = HashMap<Cow<'a, str>, Cow<'a, str>>;

struct World {
    accounts: u32,
    rows: u32,
    /// Each in pieces, between which the account's number belongs.
    pages: Vec<Vec<String>>,
    /// What was taken in after the rest, of one account.
    fresh: Mutex<Option<(String, Range<u32>)>>,
    today: DateTime<Utc>,
}

impl Vendor {
    /// Starts one whose items have that many accounts with that many rows each.
    pub(crate) async fn start(accounts: u32, rows: u32) -> Result<Self, Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut world = World {
            accounts,
            rows,
            pages: Vec::new(),
            fresh: Mutex::default(),
            today: SystemClock.now(),
        };
        let pages = rows.div_ceil(PAGE);
        for page in 0..pages {
            let first = page * PAGE;
            let next = (page + 1 < pages).then_some(page + 1);
            let text = world.page(first..(first + PAGE).min(rows), next);
            let pieces = text.split(ACCOUNT).map(str::to_owned).collect();
            world.pages.push(pieces);
        }
        let world = Arc::new(world);
        let mut serving = JoinSet::new();
        let served = Arc::clone(&world);
        serving.spawn(async move { serve(listener, served).await });
        Ok(Self {
            address,
            world,
            _serving: serving,
        })
    }

    /// What a connection names as its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first account of an item, by the name that it has here.
    pub(crate) fn account_of(item: u32) -> String {
        account_name(&account_number(item, 0))
    }

    /// The item of that number.
    pub(crate) fn item(item: u32) -> String {
        format!("00000000-0000-4000-8000-{item:012}")
    }

    /// Lets the first account of an item have that many rows which it did not have before; answers
    /// since when.
    pub(crate) fn bring(&self, item: u32, rows: Range<u32>) -> String {
        let (first, last) = (self.world.rows + rows.start, self.world.rows + rows.end);
        let fresh = Some((account_number(item, 0), first..last));
        *self
            .world
            .fresh
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = fresh;
        let since = SystemClock.now() - TimeDelta::minutes(1);
        since.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

async fn serve(listener: TcpListener, world: Arc<World>) {
    let mut lines = JoinSet::new();
    // A listener that fails leaves the benchmark without answers, and it says so.
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        let world = Arc::clone(&world);
        lines.spawn(async move {
            let answer = service_fn(|request: Request<_>| {
                let answer = world.answer(&request);
                async { Ok::<_, Infallible>(answer) }
            });
            // Whoever hung up is told nothing.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

impl World {
    fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let query = request.uri().query().unwrap_or_default();
        let query: Query<'_> = form_urlencoded::parse(query.as_bytes()).collect();
        let body = match path {
            "/auth" => Some(json!({ "apiKey": "key" }).to_string()),
            "/accounts" => query.get("itemId").and_then(|item| self.accounts(item)),
            "/v2/transactions" => self.transactions(&query),
            _ => path.strip_prefix("/items/").map(|item| {
                let state =
                    json!({ "id": item, "status": "UPDATED", "executionStatus": "SUCCESS" });
                state.to_string()
            }),
        };
        let status = match body {
            Some(_) => StatusCode::OK,
            None => StatusCode::NOT_FOUND,
        };
        let mut answer = Response::new(Full::from(body.unwrap_or_default()));
        *answer.status_mut() = status;
        let json = header::HeaderValue::from_static("application/json");
        answer.headers_mut().insert(header::CONTENT_TYPE, json);
        answer
    }

    fn accounts(&self, item: &str) -> Option<String> {
        let item_number: u32 = item.rsplit_once('-')?.1.parse().ok()?;
        let account = |number| {
            let id = account_name(&account_number(item_number, number));
            json!({
                "id": id, "itemId": item, "type": "BANK", "subtype": "CHECKING_ACCOUNT",
                "name": "Conta", "number": "0001/12345-0", "balance": 1830.02, "currencyCode": "BRL",
            })
        };
        let accounts: Vec<_> = (0..self.accounts).map(account).collect();
        Some(json!({ "results": accounts, "page": 1, "totalPages": 1 }).to_string())
    }

    fn transactions(&self, query: &Query<'_>) -> Option<String> {
        let get = |name: &str| query.get(name).map(AsRef::as_ref);
        let (_, account) = get("accountId")?.rsplit_once('-')?;
        if get("createdAtFrom").is_some() {
            let fresh = self.fresh.lock().unwrap_or_else(PoisonError::into_inner);
            let rows = match &*fresh {
                Some((of, rows)) if of == account => rows.clone(),
                _ => 0..0,
            };
            return Some(self.page(rows, None).replace(ACCOUNT, account));
        }
        let page: usize = get("after").map_or(Ok(0), str::parse).ok()?;
        Some(self.pages.get(page)?.join(account))
    }

    fn page(&self, rows: Range<u32>, next: Option<u32>) -> String {
        let mut page = r#"{"results":["#.to_owned();
        for number in rows.clone() {
            if number > rows.start {
                page.push(',');
            }
            self.row(&mut page, number);
        }
        page.push_str(r#"],"next":"#);
        match next {
            Some(next) => {
                let account = account_name(ACCOUNT);
                // Writing to a string does not fail.
                let _ = write!(page, r#""?accountId={account}&after={next}""#);
            }
            None => page.push_str("null"),
        }
        page.push('}');
        page
    }

    /// One row; of four two are PIX, one is a boleto, one a card's.
    fn row(&self, page: &mut String, number: u32) {
        let kind = number % 4;
        let back = TimeDelta::minutes(
            DAYS * 1440 * i64::from(number) / i64::from(self.rows.max(1)) % (DAYS * 1440),
        );
        let date = (self.today - back).to_rfc3339_opts(SecondsFormat::Millis, true);
        let (reais, centavos) = (number * 37 % 5000, number % 100);
        let (direction, sign) = if kind == 1 {
            ("CREDIT", "")
        } else {
            ("DEBIT", "-")
        };
        let description = match kind {
            0 => "PIX ENVIADO À PADARIA",
            1 => "PIX RECEBIDO LOJA",
            2 => "PAGAMENTO DE BOLETO ENERGIA",
            _ => r#"COMPRA \"LOJA\" 03/10"#,
        };
        let payment = match kind {
            0 | 1 => PIX,
            2 => BOLETO,
            _ => "null",
        };
        let card = if kind == 3 { CARD } else { "null" };
        // Names come in no order, as those of the vendor do.
        let name = number.wrapping_mul(0x9e37_79b1);
        let account = account_name(ACCOUNT);
        // Writing to a string does not fail.
        let _ = write!(
            page,
            r#"{{"id":"{name:08x}-3e4f-4a5b-8c6d-{ACCOUNT}","accountId":"{account}","date":"{date}","description":"{description}","descriptionRaw":"{description} {number:06}","currencyCode":"BRL","amount":{sign}{reais}.{centavos:02},"amountInAccountCurrency":null,"type":"{direction}","status":"POSTED","balance":1830.02,"category":"Food and drinks","categoryId":"11000000","providerCode":"{number:06}","providerId":"TXN-{number:012}","operationType":"PIX","operationTypeAdditionalInfo":null,"order":{kind},"paymentData":{payment},"creditCardMetadata":{card},"merchant":null,"createdAt":"{date}","updatedAt":"{date}"}}"#
        );
    }
}

/// An account's number among all of the vendor's.
fn account_number(item: u32, account: u32) -> String {
    format!("{item:06}{account:06}")
}

/// What the vendor calls the account of that number.
fn account_name(number: &str) -> String {
    format!("0d5a3c1e-7f60-4c5e-9a41-{number}")
}

const PIX: &str = r#"{"payer":{"documentNumber":{"type":"CPF","value":"000.000.000-00"},"name":"Titular","accountNumber":"12345-0","branchNumber":"0001","routingNumber":"001","routingNumberISPB":"00000000"},"receiver":{"documentNumber":{"type":"CNPJ","value":"00.000.000/0001-00"},"name":"Padaria","routingNumberISPB":"00000000"},"reason":null,"referenceNumber":"E0000000020260902031400000000001","receiverReferenceId":null,"paymentMethod":"PIX","boletoMetadata":null}"#;

const BOLETO: &str = r#"{"payer":null,"receiver":{"name":"Energia"},"reason":null,"referenceNumber":null,"paymentMethod":"BOLETO","boletoMetadata":{"digitableLine":"00190000090000000000000000000000000000000000000","barcode":null,"baseAmount":120.5,"interestAmount":null,"penaltyAmount":null,"discountAmount":null}}"#;

const CARD: &str = r#"{"installmentNumber":3,"totalInstallments":10,"totalAmount":1599.9,"purchaseDate":"2026-06-01T00:00:00.000Z","payeeMCC":5732,"cardNumber":"4321","billId":"b1d2c3e4-0000-4000-8000-000000000001","billForecastDate":"2026-09","feeType":null,"feeTypeAdditionalInfo":null,"otherCreditsType":null,"otherCreditsAdditionalInfo":null}"#;
