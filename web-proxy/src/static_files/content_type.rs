//! Media types by the end of a name.

use std::str::FromStr;

use http::HeaderValue;

use super::Coding;

/// What is known of a file's content.
#[derive(Debug, Clone)]
pub(super) struct Kind {
    pub(super) media_type: HeaderValue,
    /// The file's own.
    pub(super) coding: Option<HeaderValue>,
}

/// The operator's types; they come before the known ones.
#[derive(Debug, Clone, Default)]
pub struct Types(pub Vec<OwnType>);

/// `EXTENSION=TYPE`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnType {
    extension: String,
    media_type: HeaderValue,
}

/// Types that the table of `mime_guess` lacks, or has otherwise than Debian's /etc/mime.types. XML says its
/// charset itself, and a parameter of the type would overrule it (RFC 7303, section 3).
const OURS: [(&str, &str); 25] = [
    ("js", "text/javascript; charset=utf-8"),
    ("mjs", "text/javascript; charset=utf-8"),
    ("cjs", "text/javascript; charset=utf-8"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("topojson", "application/json"),
    ("webmanifest", "application/manifest+json"),
    ("svg", "image/svg+xml"),
    ("avif", "image/avif"),
    ("webp", "image/webp"),
    ("jxl", "image/jxl"),
    ("ico", "image/vnd.microsoft.icon"),
    ("cur", "image/vnd.microsoft.icon"),
    ("woff", "font/woff"),
    ("woff2", "font/woff2"),
    ("otf", "font/otf"),
    ("xml", "application/xml"),
    ("xsl", "application/xslt+xml"),
    ("xslt", "application/xslt+xml"),
    ("dtd", "application/xml-dtd"),
    ("m4a", "audio/mp4"),
    ("m4v", "video/mp4"),
    ("m3u8", "application/vnd.apple.mpegurl"),
    ("ts", "video/mp2t"),
    ("vcf", "text/vcard; charset=utf-8"),
];

impl Types {
    pub(super) fn of(&self, path: &[u8]) -> Kind {
        let extension = extension(path).to_ascii_lowercase();
        let own = self.0.iter().find(|own| own.extension.as_bytes() == extension);
        // An SVG that is compressed on the disk (Drupal's .htaccess: AddEncoding gzip svgz).
        let (extension, coding) = match &extension[..] {
            b"svgz" => (&b"svg"[..], Some(Coding::Gzip.field())),
            other => (other, None),
        };
        let media_type = own.map(|own| own.media_type.clone());
        Kind { media_type: media_type.unwrap_or_else(|| known(extension)), coding }
    }
}

fn known(extension: &[u8]) -> HeaderValue {
    let Ok(extension) = std::str::from_utf8(extension) else { return OCTETS };
    if let Some((_, ours)) = OURS.iter().find(|(ours, _)| *ours == extension) {
        return HeaderValue::from_static(ours);
    }
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

impl FromStr for OwnType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("expected EXTENSION=TYPE such as glb=model/gltf-binary, found {text:?}");
        let (extension, media_type) = text.split_once('=').ok_or_else(wrong)?;
        let extension = extension.trim().trim_start_matches('.').to_ascii_lowercase();
        let media_type = media_type.trim();
        let essence = media_type.split(';').next().unwrap_or_default().trim_end();
        let is_token = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&byte))
        };
        let sound = essence.split_once('/').is_some_and(|(kind, rest)| is_token(kind) && is_token(rest));
        let named = !extension.is_empty() && !extension.contains(['.', '/']);
        let media_type =
            HeaderValue::from_str(media_type).ok().filter(|_| sound && named).ok_or_else(wrong)?;
        Ok(Self { extension, media_type })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn types() {
        let cases = [
            ("/a.html", "text/html; charset=utf-8"),
            ("/a.CSS", "text/css; charset=utf-8"),
            ("/a.b.js", "text/javascript; charset=utf-8"),
            ("/a.mjs", "text/javascript; charset=utf-8"),
            ("/a.json", "application/json"),
            ("/a.js.map", "application/json"),
            ("/a.svg", "image/svg+xml"),
            ("/a.svgz", "image/svg+xml"),
            ("/a.webp", "image/webp"),
            ("/a.avif", "image/avif"),
            ("/a.jxl", "image/jxl"),
            ("/a.apng", "image/apng"),
            ("/favicon.ico", "image/vnd.microsoft.icon"),
            ("/a.woff", "font/woff"),
            ("/a.woff2", "font/woff2"),
            ("/a.ttf", "font/ttf"),
            ("/a.otf", "font/otf"),
            ("/a.jpg", "image/jpeg"),
            ("/a.pdf", "application/pdf"),
            ("/a.mp4", "video/mp4"),
            ("/a.m4v", "video/mp4"),
            ("/a.m4a", "audio/mp4"),
            ("/a.mp3", "audio/mpeg"),
            ("/a.ogg", "audio/ogg"),
            ("/a.webm", "video/webm"),
            ("/a.vtt", "text/vtt; charset=utf-8"),
            ("/a.m3u8", "application/vnd.apple.mpegurl"),
            ("/a.ts", "video/mp2t"),
            ("/a.wasm", "application/wasm"),
            ("/a.webmanifest", "application/manifest+json"),
            ("/a.xml", "application/xml"),
            ("/a.xsl", "application/xslt+xml"),
            ("/a.rss", "application/rss+xml"),
            ("/a.atom", "application/atom+xml"),
            ("/a.xhtml", "application/xhtml+xml"),
            ("/a.csv", "text/csv; charset=utf-8"),
            ("/a.md", "text/markdown; charset=utf-8"),
            ("/a.ics", "text/calendar; charset=utf-8"),
            ("/a.zip", "application/zip"),
            ("/a.gz", "application/gzip"),
            ("/a.css.gz", "application/gzip"),
            ("/robots.txt", "text/plain; charset=utf-8"),
            ("/a.b/README", "application/octet-stream"),
            ("/.profile", "application/octet-stream"),
            ("/a.\u{fffd}", "application/octet-stream"),
        ];
        let types = Types::default();
        for (path, expected) in cases {
            let Kind { media_type, coding } = types.of(path.as_bytes());
            assert_eq!(media_type, expected, "{path}");
            assert_eq!(coding.is_some(), path == "/a.svgz", "{path}");
        }
    }

    #[test]
    fn the_operator_s_own() {
        let own = ["glb=model/gltf-binary", ".TXT = text/plain; charset=iso-8859-1"];
        let own = own.iter().map(|text| text.parse().unwrap()).collect();
        let types = Types(own);
        assert_eq!(types.of(b"/a.GLB").media_type, "model/gltf-binary");
        assert_eq!(types.of(b"/a.txt").media_type, "text/plain; charset=iso-8859-1");
        assert_eq!(types.of(b"/a.css").media_type, "text/css; charset=utf-8");
        for wrong in ["glb", "=a/b", "glb=", "glb=model", "a/b=c/d", "a.b=c/d", "glb=a/b;\u{7}", "x=a b/c"] {
            let error = wrong.parse::<OwnType>().unwrap_err();
            assert!(error.contains("expected EXTENSION=TYPE"), "{wrong}: {error}");
        }
    }
}
