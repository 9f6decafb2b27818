//! Sends a request to one of the servers, over a connection that is kept for as long as the server keeps it.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use test_support::client::{Client, Response};

use crate::corpus::Request;

/// The host that all requests ask for unless they say another.
pub(crate) const HOST: &str = "site.example";
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    client: Option<Client>,
}

impl Peer {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self { address, client: None }
    }

    /// The answer, or why there is none.
    pub(crate) async fn ask(&mut self, request: &Request) -> anyhow::Result<Response> {
        let (etag, modified) = if request.is_conditional() {
            let before = Request { fields: accepting(request), ..Request::get(request.target.clone()) };
            let before = self.once(&before, "", "").await?;
            let value = |name| before.header(name).unwrap_or_default().to_owned();
            (value("etag"), value("last-modified"))
        } else {
            Default::default()
        };
        self.once(request, &etag, &modified).await
    }

    async fn once(&mut self, request: &Request, etag: &str, modified: &str) -> anyhow::Result<Response> {
        let message = message(request, etag, modified);
        let kept = self.client.is_some();
        match self.exchange(request.method, &message).await {
            // The server may have ended a connection just when we wanted to go on with it.
            Err(_) if kept => self.exchange(request.method, &message).await,
            answered => answered,
        }
    }

    async fn exchange(&mut self, method: &str, message: &[u8]) -> anyhow::Result<Response> {
        let mut client = match self.client.take() {
            Some(client) => client,
            None => Client::connect(self.address).await?,
        };
        let exchange = async {
            client.send(message).await?;
            client.response(method).await
        };
        let response = tokio::time::timeout(PATIENCE, exchange).await.context("no answer in time")??;
        let closes = response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closes && response.is_complete() && response.version == "HTTP/1.1" {
            self.client = Some(client);
        }
        Ok(response)
    }
}

fn message(request: &Request, etag: &str, modified: &str) -> Vec<u8> {
    let mut message = [request.method.as_bytes(), b" ", &request.target, b" HTTP/1.1\r\n"].concat();
    let mut put = |name: &str, value: &str| {
        message.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    };
    if request.value("Host").is_none() {
        put("Host", HOST);
    }
    for (name, value) in &request.fields {
        put(name, &value.replace("{etag}", etag).replace("{modified}", modified));
    }
    if !request.body.is_empty() {
        put("Content-Length", &request.body.len().to_string());
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(request.body);
    message
}

/// The validators are those of the form that the client accepts.
fn accepting(request: &Request) -> Vec<(&'static str, String)> {
    request.fields.iter().filter(|(name, _)| *name == "Accept-Encoding").cloned().collect()
}
