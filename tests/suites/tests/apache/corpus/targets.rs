//! Targets: every name at every depth, and what can be done to a path.

use super::Shape;
use super::names::FILES;

/// Every name in every directory, there or not.
pub(super) fn by_name(shape: &Shape) -> Vec<Vec<u8>> {
    let mut targets = Vec::new();
    for directory in shape.directories.iter().chain(shape.missing) {
        for name in FILES {
            targets.push(encoded(directory, name));
        }
        // The same patterns with nothing behind them.
        for name in FILES.iter().filter(|name| name.starts_with("a.")) {
            targets.push(encoded(directory, &name.replacen('a', "missing", 1)));
        }
    }
    targets
}

/// What is put behind a path.
const SUFFIXES: &[&str] = &[
    "",
    "/",
    "//",
    "/.",
    "/./",
    "/..",
    "/../",
    "/...",
    ".",
    "..",
    "%20",
    "%09",
    "%0a",
    "%0d%0a",
    "%00",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    ";",
    ";a=b",
    ";.php",
    "%3b",
    "~",
    ".bak",
    ".php",
    "/x",
    "/x/",
    "/x.php",
    "/x.yml",
    "/.x",
    "/x/y/z",
    "/%2e%2e",
    "/a%2fb",
    "/index.php",
    "/core",
    "?",
    "?a=b",
    "?a=b&c=%20d",
    "?q=node/1",
    "?/../x",
    "?a?b",
    "?%00",
    "/?a=b",
    "#",
    "%23",
    "%",
    "%z",
    "%2",
    "%252e",
    "%c0%af",
    "%c0%ae",
    "%ff",
    "%7e",
    "*",
    "+",
    "&a=b",
    ":80",
    "::$DATA",
    "/x?a=b",
    "%3f",
    "%3Fa=b",
    "/..;/x",
    "/.;/x",
    "//x",
    "/%20",
    "%2e",
    "%2ephp",
    "/.htaccess",
    "/.git/x",
    "/.well-known/x",
];

pub(super) fn by_mutation(shape: &Shape) -> Vec<Vec<u8>> {
    let mut targets = Vec::new();
    for path in shape.paths {
        let mut put = |target: String| targets.push(target.into_bytes());
        for suffix in SUFFIXES {
            put(format!("{path}{suffix}"));
        }
        for prefix in [
            "/", "//", "/./", "/x/..", "/x/../..", "/..", "/%2e", "/%2e%2e", "/core/..", "/.", "/%2f",
            "/core",
        ] {
            put(format!("{prefix}{path}"));
        }
        put(path.replace('/', "//"));
        put(path.replace('/', "/./"));
        put(path.replacen('/', "/%2f", 2));
        put(path.replace('.', "%2e"));
        put(path.replace('.', "%2E"));
        put(path.replace('.', "%252e"));
        put(path.replace('a', "%61"));
        put(path.replace('p', "%70"));
        put(path.replace('p', "%2570"));
        put(path.to_uppercase());
        put(path.replace('/', "\\"));
        put(path.replace("php", "PHP"));
        put(path.replace("php", "pHp"));
        put(path.replace(".php", ".php."));
        put(path.replace(".php", "%00.php"));
        put(path.replace(".php", ".php/"));
        put(path.replace("core", "Core"));
        put(path.replace("core", "c%6fre"));
        put(format!("http://site.example{path}"));
        put(format!("http://other.example:8080{path}?a=b"));
        // Without its slash in front it is no target.
        put(path.trim_start_matches('/').to_owned());
    }
    targets.retain(|target| !target.is_empty());
    targets
}

/// A path below the docroot, with what cannot stand in a target percent-encoded.
pub(super) fn encoded(directory: &str, name: &str) -> Vec<u8> {
    let mut target = String::new();
    for segment in directory.split('/').chain(name.split('/')).filter(|segment| !segment.is_empty()) {
        target.push('/');
        for byte in segment.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@".contains(&byte) {
                target.push(char::from(byte));
            } else {
                target.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    target.into_bytes()
}
