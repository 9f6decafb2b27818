//! A request as the web server sent it, and what it may not say.

use bytes::Bytes;
use common::fastcgi::Params;
use tokio::sync::mpsc;

use crate::server::Replies;

/// One request on its way through.
#[derive(Debug)]
pub struct Inbound {
    pub params: Params,
    pub body: Body,
    pub replies: Replies,
}

/// The request's body as it comes in; a bounded number of pieces waits here.
#[derive(Debug)]
pub struct Body(pub(crate) mpsc::Receiver<Bytes>);

impl Body {
    /// The next piece; `None` when the body is complete. A body that breaks off does not end: its
    /// request is given up instead.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

/// Parameters that steer PHP and that only we may set. A client's headers cannot be among them, since
/// they arrive as `HTTP_…`; a web server that is led to send one is what this is against.
const RESERVED: [&[u8]; 6] = [
    // php.ini settings for one request: `auto_prepend_file` runs any code.
    b"PHP_VALUE",
    b"PHP_ADMIN_VALUE",
    // Read instead of STDIN.
    b"REQUEST_BODY_FILE",
    b"GALERA_WRITER",
    b"GALERA_READERS",
    b"MEMCACHED_SERVERS",
];

/// Removes what may not come from outside.
pub fn strip_reserved(params: &mut Params) {
    params.retain(|name, _| !RESERVED.contains(&name));
}

/// Names the request in a log line: its method and URI, without the query.
pub fn name(params: &Params) -> String {
    let text = |name: &str| params.get(name).map(|value| String::from_utf8_lossy(value)).unwrap_or_default();
    let uri = text("REQUEST_URI");
    format!("{} {}", text("REQUEST_METHOD"), uri.split('?').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_parameters_go() {
        let mut params: Params = [
            ("SCRIPT_NAME", "/index.php"),
            ("PHP_VALUE", "auto_prepend_file=/tmp/x"),
            ("PHP_ADMIN_VALUE", "x"),
            ("HTTP_PHP_VALUE", "harmless"),
            ("REQUEST_BODY_FILE", "/etc/passwd"),
            ("GALERA_WRITER", "evil:3306"),
            ("GALERA_READERS", "evil:3306"),
            ("MEMCACHED_SERVERS", "evil:11211"),
            ("PHP_VALUE", "again"),
        ]
        .into_iter()
        .collect();
        strip_reserved(&mut params);
        let names: Vec<&[u8]> = params.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, [&b"SCRIPT_NAME"[..], b"HTTP_PHP_VALUE"]);
    }

    #[test]
    fn names_have_no_query() {
        let params: Params =
            [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/a?token=secret")].into_iter().collect();
        assert_eq!(name(&params), "GET /a");
    }
}
