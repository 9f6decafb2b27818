//! Media types by the end of a name.

use http::HeaderValue;

pub(super) struct Kind {
    pub(super) media_type: HeaderValue,
    pub(super) coding: Option<HeaderValue>,
}

/// Types that the table of `mime_guess` lacks, or has in an older form.
const OURS: [(&[u8], &str); 5] = [
    (b"js", "text/javascript; charset=utf-8"),
    (b"mjs", "text/javascript; charset=utf-8"),
    (b"webmanifest", "application/manifest+json"),
    (b"svg", "image/svg+xml"),
    (b"map", "application/json"),
];

pub(super) fn of(path: &[u8]) -> Kind {
    let extension = extension(path).to_ascii_lowercase();
    if extension == b"svgz" {
        // An SVG that is compressed on the disk (Drupal's .htaccess: AddEncoding gzip svgz).
        return Kind {
            media_type: HeaderValue::from_static("image/svg+xml"),
            coding: Some(HeaderValue::from_static("gzip")),
        };
    }
    let known = OURS.iter().find(|(known, _)| *known == extension).map(|(_, media_type)| *media_type);
    let media_type = match known {
        Some(known) => HeaderValue::from_static(known),
        None => guessed(&String::from_utf8_lossy(&extension)),
    };
    Kind { media_type, coding: None }
}

fn guessed(extension: &str) -> HeaderValue {
    match mime_guess::from_ext(extension).first_raw() {
        // Sites are written in UTF-8; without it browsers guess by the reader's region.
        Some(text) if text.starts_with("text/") => {
            HeaderValue::from_str(&format!("{text}; charset=utf-8")).unwrap_or(OCTETS)
        }
        Some(media_type) => HeaderValue::from_static(media_type),
        None => OCTETS,
    }
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

fn extension(path: &[u8]) -> &[u8] {
    let name = memchr::memrchr(b'/', path).map_or(path, |slash| &path[slash + 1..]);
    match memchr::memrchr(b'.', name) {
        // `.profile` is a name, not an extension.
        Some(dot) if dot > 0 => &name[dot + 1..],
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let cases = [
            ("/a.html", "text/html; charset=utf-8"),
            ("/a.CSS", "text/css; charset=utf-8"),
            ("/a.b.js", "text/javascript; charset=utf-8"),
            ("/a.mjs", "text/javascript; charset=utf-8"),
            ("/a.json", "application/json"),
            ("/a.svg", "image/svg+xml"),
            ("/a.svgz", "image/svg+xml"),
            ("/a.webp", "image/webp"),
            ("/a.avif", "image/avif"),
            ("/a.woff2", "font/woff2"),
            ("/a.jpg", "image/jpeg"),
            ("/a.pdf", "application/pdf"),
            ("/a.mp4", "video/mp4"),
            ("/a.wasm", "application/wasm"),
            ("/a.webmanifest", "application/manifest+json"),
            ("/a.xml", "text/xml; charset=utf-8"),
            ("/robots.txt", "text/plain; charset=utf-8"),
            ("/a.b/README", "application/octet-stream"),
            ("/.profile", "application/octet-stream"),
            ("/a.\u{fffd}", "application/octet-stream"),
        ];
        for (path, expected) in cases {
            assert_eq!(of(path.as_bytes()).media_type, expected, "{path}");
        }
        assert!(of(b"/a.svgz").coding.is_some());
    }
}
