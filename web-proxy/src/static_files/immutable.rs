//! Names that change with the content: `css_` and 43 characters of Drupal's, `app.3f2a91bc.js` of bundlers. What
//! such a name holds never changes, so that a browser need not ask again even when its reader reloads the page
//! (RFC 8246).
//!
//! Only what bundlers make is looked at: pictures and documents are named by people, cameras and databases. A
//! hash that is not recognised costs a conditional request; something else that is taken for one would never
//! be seen anew. So dates, versions, words, numbers and UUIDs must not pass.

/// Whether the name holds a hash of the content.
pub(super) fn is_hashed(name: &[u8]) -> bool {
    let Some(stem) = stem(name) else { return false };
    if let Some(hash) = stem.strip_prefix(b"css_").or_else(|| stem.strip_prefix(b"js_")) {
        return is_drupal(hash);
    }
    if stem.windows(UUID.len()).any(is_uuid) {
        return false;
    }
    let mut words = stem.split(|byte| matches!(byte, b'.' | b'-' | b'_'));
    // What comes first names the thing, unless it is long enough to be nothing but a hash.
    let first = words.next().is_some_and(|word| word.len() >= 16 && is_hash(word));
    first || words.any(is_hash)
}

/// The name without the extension of a script, a style sheet, a font or a module, and what may stand behind it.
fn stem(name: &[u8]) -> Option<&[u8]> {
    let strip = |name, endings: &[&[u8]]| endings.iter().find_map(|end| <[u8]>::strip_suffix(name, *end));
    let name = strip(name, &[b".gz", b".br", b".zst"]).unwrap_or(name);
    let name = strip(name, &[b".map"]).unwrap_or(name);
    strip(name, &[b".js", b".mjs", b".css", b".wasm", b".woff2", b".woff", b".ttf", b".otf", b".eot"])
}

/// SHA-256 in base64url.
fn is_drupal(hash: &[u8]) -> bool {
    hash.len() == 43 && hash.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn is_hash(word: &[u8]) -> bool {
    is_hexadecimal(word) || is_base62(word)
}

/// Eight digits or more, in one case, that change between figures and letters at least twice: `20240131` is a
/// date, `decade12` a word with a number, `1dec2024` a date again.
fn is_hexadecimal(word: &[u8]) -> bool {
    let has = |in_class: fn(&u8) -> bool| word.iter().any(in_class);
    word.len() >= 8
        && word.iter().all(u8::is_ascii_hexdigit)
        && !(has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase))
        && changes(word) >= 2
        && !(changes(word) == 2 && names_a_month(word))
}

/// Sixteen characters or more of figures, small and capital letters, in no order that a word would have.
fn is_base62(word: &[u8]) -> bool {
    let has = |in_class: fn(&u8) -> bool| word.iter().any(in_class);
    word.len() >= 16
        && word.iter().all(u8::is_ascii_alphanumeric)
        && has(u8::is_ascii_digit)
        && has(u8::is_ascii_lowercase)
        && has(u8::is_ascii_uppercase)
        && changes(word) * 4 >= word.len()
}

/// How often figures and letters, and small letters and capital ones, follow each other.
fn changes(word: &[u8]) -> usize {
    let is_change = |pair: &[u8; 2]| {
        pair[0].is_ascii_digit() != pair[1].is_ascii_digit()
            || pair[0].is_ascii_lowercase() && pair[1].is_ascii_uppercase()
    };
    word.array_windows().filter(|pair| is_change(pair)).count()
}

/// The two months that are written with hexadecimal digits.
fn names_a_month(word: &[u8]) -> bool {
    word.windows(3).any(|part| part.eq_ignore_ascii_case(b"feb") || part.eq_ignore_ascii_case(b"dec"))
}

/// The shape of a UUID: `x` is a hexadecimal digit.
const UUID: &[u8; 36] = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

fn is_uuid(part: &[u8]) -> bool {
    part.iter()
        .zip(UUID)
        .all(|(byte, shape)| if *shape == b'-' { byte == shape } else { byte.is_ascii_hexdigit() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes() {
        let names = [
            "css_Kx3vZ0pQm1T-8yR_2aWnLfD6sJhUeXcB4gIoVtNqPkM.css",
            "js_BKcMdIbOMdbTdLn9dkUq3KCJfIKKo2SvKoQ1AnB8D-g.js",
            "js_BKcMdIbOMdbTdLn9dkUq3KCJfIKKo2SvKoQ1AnB8D-g.js.gz",
            "app.3f2a91bc.js",
            "app-3f2a91bc.css",
            "main.3f2a91bc.chunk.js",
            "123.3f2a91bc44d0e5f60718.js",
            "vendor_3F2A91BC.mjs",
            "3f2a91bc44d0e5f60718.wasm",
            "app.3f2a91bc.js.map",
            "inter-latin.9e107d9d372bb6826bd81d3542a419d6.woff2",
            "index.Zk3Qx9bT7LmR2wVa.js",
        ];
        for name in names {
            assert!(is_hashed(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn what_looks_like_a_hash_and_is_none() {
        let names = [
            "app.js",
            "style.css",
            "jquery-3.7.1.min.js",
            "jquery.20240131.js",
            "report-2024-01-31.css",
            "build-202401311230.js",
            "20240131123045.js",
            "notes.31dec2024.js",
            "notes.1dec2024.js",
            "notes-2024feb1.js",
            "app.deadbeef.js",
            "app.facade12.js",
            "app-decade2024.css",
            "bootstrap.bundle.min.js",
            "the.effaced.accede.css",
            "swatch.ff00aa.css",
            "v10.11.12.js",
            "component-library-navigation-menu-2.js",
            "MyComponentVersion2Final.js",
            "x.ThirdPartyIntegration2024.js",
            "x.InternationalizationHelpers.js",
            // A name of its own, of which nobody knows what it stands for.
            "3f2a91bc.js",
            "3f2a91bc",
            ".3f2a91bc",
            "entity-550e8400-e29b-41d4-a716-446655440000.js",
            // Made by people, cameras and databases.
            "photo.3f2a91bc.jpg",
            "avatar-9e107d9d372bb6826bd81d3542a419d6.png",
            "report.3f2a91bc.pdf",
            "index.3f2a91bc.html",
            "data.3f2a91bc.json",
            // Drupal's are 43 characters long.
            "css_short.css",
            "css_Kx3vZ0pQm1T-8yR_2aWnLfD6sJhUeXcB4gIoVtNqPk.css",
            "js_BKcMdIbOMdbTdLn9dkUq3KCJfIKKo2SvKoQ1AnB8D+g.js",
            "css_3f2a91bc.css",
            "",
        ];
        for name in names {
            assert!(!is_hashed(name.as_bytes()), "{name}");
        }
    }
}
