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

/// Who gives a script's name such an end means its text to be seen (`example.php.txt`, the `page.php.html` of a mirror).
/// Any other is a copy that an editor, a package manager, an archiver or a person has left behind.
const SHOWN: [&[u8]; 19] = [
    b"txt", b"html", b"htm", b"xhtml", b"md", b"css", b"js", b"json", b"xml", b"csv", b"png", b"jpg",
    b"jpeg", b"gif", b"webp", b"avif", b"svg", b"ico", b"pdf",
];

pub(super) fn check(method: &Method, name: &[u8]) -> Result<(), Guard> {
    if is_source(name) {
        return Err(Guard::Source);
    }
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) { Ok(()) } else { Err(Guard::Method) }
}

/// `x.PHP`, `x.phtml`, `x.php5`: PHP-FPM would not run them, and nobody may read them. Nor what is left of a script:
/// `x.php.bak`, `x.php~`, `x.php_old`, `x.php.1`, `x.php.gz`, `x.php.`.
pub(crate) fn is_source(name: &[u8]) -> bool {
    let name = name.to_ascii_lowercase();
    memchr::memchr_iter(b'.', &name).any(|dot| {
        let rest = name.get(dot + 1..).unwrap_or_default();
        let end = rest.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(rest.len());
        let (extension, behind) = rest.split_at(end);
        match extension {
            // An archive, of which there are signatures and checksums.
            b"phar" => behind.is_empty(),
            extension => is_script_type(extension) && !is_shown(behind),
        }
    })
}

fn is_script_type(extension: &[u8]) -> bool {
    let is_version = |version: &[u8]| version.len() <= 1 && version.iter().all(u8::is_ascii_digit);
    matches!(extension, b"phtml" | b"phps" | b"pht") || extension.strip_prefix(b"php").is_some_and(is_version)
}

fn is_shown(behind: &[u8]) -> bool {
    memchr::memrchr(b'.', behind)
        .is_some_and(|dot| SHOWN.contains(&behind.get(dot + 1..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let sources =
            "a.php a.PHP a.Php5 a.phtml a.phar a.phps a.php~ a.php.bak .php a.php.1 a.php_old a.php-dist a.php. a.php.save.2 \
             a.php5.orig .a.php.swp a.php.gz a.php.tar.gz a.php.txt~ a.php::$data a.php;1 a.php.2024-01-01 a.phtml.old \
             a.b.php.rpmsave #a.php#".split(' ').chain(["a.php ", "a.php copy"]);
        for name in sources {
            assert_eq!(check(&Method::GET, name.as_bytes()), Err(Guard::Source), "{name}");
        }
        let others = "php a.html a.php.txt a.phpx a.php_.txt a.bak a php.css a.php.html a.phar.asc a.phpunit.xml graph.png \
                      index.php.en.html .phpcs.xml a.php-1.2.js";
        for name in others.split(' ') {
            assert_eq!(check(&Method::GET, name.as_bytes()), Ok(()), "{name}");
        }
        assert_eq!(check(&Method::POST, b"a.css"), Err(Guard::Method));
    }
}
