//! What is never sent as a file, in whatever preset: the source of a script.

use http::Method;

/// Why a file is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Guard {
    #[error("a file cannot be asked this way")]
    Method,
    /// A name that PHP runs somewhere else, or that an editor made of a script's.
    #[error("the source of a script")]
    Source,
}

/// What follows a script's name in copies that editors and people leave behind.
const LEFTOVERS: [&[u8]; 7] = [b"~", b".swo", b".swp", b".bak", b".old", b".orig", b".save"];

pub(super) fn check(method: &Method, name: &[u8]) -> Result<(), Guard> {
    if is_source(name) {
        return Err(Guard::Source);
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) { Ok(()) } else { Err(Guard::Method) }
}

/// `x.PHP`, `x.phtml`, `x.php5`, `x.php.bak`: PHP-FPM would not run them, and nobody may read them.
pub(crate) fn is_source(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    let name = LEFTOVERS.iter().find_map(|end| name.strip_suffix(*end)).unwrap_or(&name);
    let Some(dot) = memchr::memrchr(b'.', name) else { return false };
    match &name[dot + 1..] {
        b"phtml" | b"phar" | b"phps" | b"pht" => true,
        extension => extension
            .strip_prefix(b"php")
            .is_some_and(|version| version.len() <= 1 && version.iter().all(u8::is_ascii_digit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let sources =
            ["a.php", "a.PHP", "a.Php5", "a.phtml", "a.phar", "a.phps", "a.php~", "a.php.bak", ".php"];
        for name in sources {
            assert_eq!(check(&Method::GET, name.as_bytes()), Err(Guard::Source), "{name}");
        }
        for name in ["php", "a.html", "a.php.txt", "a.phpx", "a.php_.txt", "a.bak", "a", "php.css"] {
            assert_eq!(check(&Method::GET, name.as_bytes()), Ok(()), "{name}");
        }
        assert_eq!(check(&Method::POST, b"a.css"), Err(Guard::Method));
    }
}
