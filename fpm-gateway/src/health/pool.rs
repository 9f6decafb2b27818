//! What a pool's status page says of its size.

use common::net::Endpoint;
use fastcgi_client::{Client, Params, Request};
use serde::Deserialize;

use crate::config::Probe;

/// The parts of the status page (`pm.status_path`, as JSON) that matter here.
#[derive(Debug, Deserialize)]
struct Pool {
    #[serde(rename = "process manager")]
    manager: String,
    #[serde(rename = "total processes")]
    processes: u32,
}

/// The pool's `pm.max_children`, where its status page is at `path` and says so: with `pm = static` as many processes run
/// as may. Of other process managers the page does not tell.
pub(super) async fn workers(endpoint: &Endpoint, probe: &Probe, path: &str) -> Option<u32> {
    let stream = endpoint.connect(probe.timeout).await.ok()?;
    let params = Params::default()
        .request_method("GET")
        .script_name(path)
        .script_filename(path)
        .request_uri(format!("{path}?json"))
        .query_string("json")
        .server_protocol("HTTP/1.1");
    let request = Request::new_tokio(params, tokio::io::empty());
    let asked = Client::new_tokio(stream).execute_once(request);
    let response = tokio::time::timeout(probe.timeout, asked).await.ok()?.ok()?;
    of_page(&response.stdout?)
}

fn of_page(page: &[u8]) -> Option<u32> {
    let end = page.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let pool: Pool = serde_json::from_slice(page.get(end + 4..)?).ok()?;
    (pool.manager == "static" && pool.processes > 0).then_some(pool.processes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages() {
        let page = |body: &str| of_page(format!("Content-Type: application/json\r\n\r\n{body}").as_bytes());
        let table = [
            (r#"{"pool":"www","process manager":"static","total processes":8,"idle processes":7}"#, Some(8)),
            (r#"{"pool":"www","process manager":"dynamic","total processes":8}"#, None),
            (r#"{"process manager":"static","total processes":0}"#, None),
            ("<p>", None),
            ("", None),
        ];
        for (body, expected) in table {
            assert_eq!(page(body), expected, "{body}");
        }
        assert_eq!(of_page(b"Status: 404"), None);
    }
}
