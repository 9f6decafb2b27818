//! One client on a kept connection, by FastCGI as a web server or by HTTP as a browser, and what it saw.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use common::fastcgi::{Outbound, Params, RequestEncoder, ResponseDecoder, ResponseEvent, Role, io};
use common::net::{Endpoint, Stream};
use test_support::client::{Client, Response};
use test_support::wait::DEADLINE;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

/// How requests go.
#[derive(Debug, Clone)]
pub(crate) enum Way {
    FastCgi { gateway: Endpoint, script: PathBuf },
    Http(SocketAddr),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) method: &'static str,
    pub(crate) query: String,
}

/// What came of one request.
#[derive(Debug)]
#[expect(dead_code, reason = "shown by a test that fails")]
pub(crate) struct Seen {
    pub(crate) ask: Ask,
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    /// `None` if no head of a response came.
    pub(crate) status: Option<u16>,
    pub(crate) complete: bool,
    pub(crate) retry_after: bool,
    pub(crate) replica: Option<String>,
    pub(crate) error: Option<String>,
}

/// A connection that is kept for as long as it works.
pub(crate) struct Asker {
    way: Way,
    fastcgi: Option<Stream>,
    http: Option<Client>,
}

struct Heard {
    status: u16,
    complete: bool,
    retry_after: bool,
    replica: Option<String>,
}

impl Ask {
    pub(crate) fn get(query: impl Into<String>) -> Self {
        Self { method: "GET", query: query.into() }
    }

    pub(crate) fn post(query: impl Into<String>) -> Self {
        Self { method: "POST", query: query.into() }
    }
}

impl Seen {
    pub(crate) fn is_good(&self) -> bool {
        self.status == Some(200) && self.complete
    }

    /// 503 that says when to come back.
    pub(crate) fn is_told(&self) -> bool {
        self.status == Some(503) && self.complete && self.retry_after
    }
}

impl Asker {
    pub(crate) const fn new(way: Way) -> Self {
        Self { way, fastcgi: None, http: None }
    }

    pub(crate) async fn ask(&mut self, ask: Ask) -> Seen {
        let began = Instant::now();
        let heard = tokio::time::timeout(DEADLINE, async {
            match self.way.clone() {
                Way::FastCgi { gateway, script } => {
                    self.fastcgi(&gateway, &script.to_string_lossy(), &ask).await
                }
                Way::Http(address) => self.http(address, &ask).await,
            }
        });
        let heard = heard.await.context("no answer in time").flatten();
        if !matches!(&heard, Ok(heard) if heard.complete) {
            self.fastcgi = None;
            self.http = None;
        }
        let (heard, error) = match heard {
            Ok(heard) => (Some(heard), None),
            Err(error) => (None, Some(format!("{error:#}"))),
        };
        Seen {
            ask,
            began,
            ended: Instant::now(),
            status: heard.as_ref().map(|heard| heard.status),
            complete: heard.as_ref().is_some_and(|heard| heard.complete),
            retry_after: heard.as_ref().is_some_and(|heard| heard.retry_after),
            replica: heard.and_then(|heard| heard.replica),
            error,
        }
    }

    async fn fastcgi(&mut self, gateway: &Endpoint, script: &str, ask: &Ask) -> anyhow::Result<Heard> {
        let stream = match &mut self.fastcgi {
            Some(stream) => stream,
            none => none.insert(gateway.connect(DEADLINE).await?),
        };
        let mut out = request(script, ask);
        stream.write_all_buf(&mut out).await?;
        let (mut decoder, mut stdout) = (ResponseDecoder::new(1), Vec::new());
        let complete = loop {
            match io::response(stream, &mut decoder).await {
                Ok(Some(ResponseEvent::Stdout(piece))) => stdout.extend_from_slice(&piece),
                Ok(Some(ResponseEvent::Stderr(_) | ResponseEvent::StdoutEnd)) => {}
                Ok(Some(ResponseEvent::End(_))) => break true,
                Ok(Some(other)) => bail!("{other:?}"),
                Ok(None) => break false,
                Err(error) if stdout.is_empty() => return Err(error.into()),
                Err(_) => break false,
            }
        };
        let text = String::from_utf8_lossy(&stdout);
        let (head, _) = text.split_once("\r\n\r\n").context("no head")?;
        let field = |name: &str| {
            let value = |line: &str| Some(line.strip_prefix(name)?.strip_prefix(": ")?.to_owned());
            head.lines().find_map(value)
        };
        Ok(Heard {
            // 200 where there is none (RFC 3875, section 6.3.3).
            status: field("Status").map_or(Ok(200), |status| status[..3].parse())?,
            complete,
            retry_after: field("Retry-After").is_some(),
            replica: field("X-Replica"),
        })
    }

    async fn http(&mut self, address: SocketAddr, ask: &Ask) -> anyhow::Result<Heard> {
        let client = match &mut self.http {
            Some(client) => client,
            none => none.insert(Client::connect(address).await?),
        };
        let body: &[u8] = if ask.method == "POST" { b"a=b" } else { b"" };
        let Response { status, headers, end, .. } =
            client.request(ask.method, &format!("/app.php?{}", ask.query), &[], body).await?;
        let field = |name: &str| headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        if field("connection").is_some_and(|(_, value)| value.eq_ignore_ascii_case("close")) {
            self.http = None;
        }
        Ok(Heard {
            status,
            complete: end == test_support::client::End::Complete,
            retry_after: field("retry-after").is_some(),
            replica: field("x-replica").map(|(_, value)| value.clone()),
        })
    }
}

/// As nginx's fastcgi_params has it, in short.
pub(crate) fn request(script: &str, ask: &Ask) -> Outbound {
    let body: &[u8] = if ask.method == "POST" { b"a=b" } else { b"" };
    let params: Params = [
        ("SCRIPT_FILENAME", script.to_owned()),
        ("SCRIPT_NAME", "/app.php".to_owned()),
        ("REQUEST_URI", format!("/app.php?{}", ask.query)),
        ("QUERY_STRING", ask.query.clone()),
        ("REQUEST_METHOD", ask.method.to_owned()),
        ("CONTENT_TYPE", if body.is_empty() { "" } else { "application/x-www-form-urlencoded" }.to_owned()),
        ("CONTENT_LENGTH", if body.is_empty() { String::new() } else { body.len().to_string() }),
        ("SERVER_PROTOCOL", "HTTP/1.1".to_owned()),
        ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
    ]
    .into_iter()
    .collect();
    let mut out = Outbound::new();
    let encoder = RequestEncoder::new(1);
    encoder.begin(&mut out, Role::Responder, true, &params);
    encoder.stdin(&mut out, Bytes::from_static(body));
    encoder.stdin_end(&mut out);
    out
}
