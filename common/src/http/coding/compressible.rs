//! What compression makes smaller.

/// Text in its many forms; images, sound, films, archives and web fonts are compressed already.
pub fn is_compressible(content_type: &[u8]) -> bool {
    let end = content_type.iter().position(|byte| *byte == b';').unwrap_or(content_type.len());
    let media = content_type[..end].trim_ascii().to_ascii_lowercase();
    if media.starts_with(b"text/") {
        // Events have to arrive one by one.
        return media != b"text/event-stream";
    }
    COMPRESSIBLE.contains(&&media[..])
        || media.ends_with(b"+xml")
        || media.ends_with(b"+json")
        || media == b"image/vnd.microsoft.icon"
}

/// Beside `text/…`, `…+xml` and `…+json`.
const COMPRESSIBLE: [&[u8]; 16] = [
    b"application/javascript",
    b"application/x-javascript",
    b"application/ecmascript",
    b"application/json",
    b"application/manifest+json",
    b"application/xml",
    b"application/wasm",
    b"application/rtf",
    b"application/vnd.ms-fontobject",
    b"application/x-font-ttf",
    b"application/x-font-opentype",
    b"font/ttf",
    b"font/otf",
    b"font/collection",
    b"image/bmp",
    b"image/x-icon",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let yes = [
            "text/html; charset=utf-8",
            "Text/CSS",
            "text/javascript",
            "application/json",
            "application/ld+json",
            "application/wasm",
            "image/svg+xml",
            "application/rss+xml;x=y",
            "font/ttf",
            "image/vnd.microsoft.icon",
        ];
        for media in yes {
            assert!(is_compressible(media.as_bytes()), "{media}");
        }
        let no =
            ["text/event-stream", "image/png", "font/woff2", "application/zip", "video/mp4", "", "svg+xmlx"];
        for media in no {
            assert!(!is_compressible(media.as_bytes()), "{media}");
        }
    }
}
