//! The page a person sees when the answer is the service's own.

use bytes::Bytes;
use http::StatusCode;

pub const CONTENT_TYPE: &str = "text/html; charset=utf-8";

/// A small HTML page: the status and one sentence. `detail` must not hold anything that a client sent.
pub fn render(status: StatusCode, detail: &str) -> Bytes {
    let code = status.as_u16();
    let reason = status.canonical_reason().unwrap_or("Error");
    Bytes::from(format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{code} {reason}</title>\
         <style>:root{{color-scheme:light dark}}body{{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:20vh auto;padding:0 1em}}\
         h1{{font-size:1.4em}}</style><h1>{code} {reason}</h1><p>{detail}</p></html>\n"
    ))
}
