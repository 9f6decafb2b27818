//! One question to one replica, through a real worker, with the `fastcgi-client` crate.

use std::io;

use common::net::Endpoint;
use fastcgi_client::{Client, ClientError, Params, Request};

use crate::backend::ConnectError;
use crate::config::Probe;

/// What came of a question.
#[derive(Debug)]
pub enum Answer {
    /// A worker answered. Any answer will do: "pong", or 404 where the pool has no ping.path.
    Served,
    /// It said that it has too much to do.
    Overloaded,
    Unreachable(io::Error),
    /// A Unix socket whose backlog is full, or we lack what a connection takes.
    NotAsked(ConnectError),
    /// Connected, and no answer within the time-out.
    Silent,
    /// Connected, and an answer that is none.
    Broken(String),
}

/// Asks for the ping page, which does not run a script.
pub async fn ask(endpoint: &Endpoint, probe: &Probe) -> Answer {
    let stream = match endpoint.connect(probe.timeout).await.map_err(ConnectError::from) {
        Ok(stream) => stream,
        Err(ConnectError::Unreachable(error)) => return Answer::Unreachable(error),
        Err(error) => return Answer::NotAsked(error),
    };
    // PHP-FPM compares SCRIPT_NAME with its ping.path before it looks for the script. Without a ping.path
    // it finds no such file; the name ends in .php since others give a line in its log.
    let script = format!("{}.php", probe.path);
    let params = Params::default()
        .request_method("GET")
        .script_name(probe.path.as_str())
        .script_filename(script)
        .request_uri(probe.path.as_str())
        .query_string("")
        .server_protocol("HTTP/1.1")
        .custom("HTTP_USER_AGENT", "fpm-gateway");
    let request = Request::new_tokio(params, tokio::io::empty());
    match tokio::time::timeout(probe.timeout, Client::new_tokio(stream).execute_once(request)).await {
        Ok(Ok(_)) => Answer::Served,
        Ok(Err(ClientError::EndRequestOverloaded { .. } | ClientError::EndRequestCantMpxConn { .. })) => {
            Answer::Overloaded
        }
        Ok(Err(error)) => Answer::Broken(error.to_string()),
        Err(_) => Answer::Silent,
    }
}
