//! Paths put together from parts that mean something to one rule or another.

/// Always the same sequence, whatever version of whatever library is used (splitmix64).
struct Sequence(u64);

impl Sequence {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn pick(&mut self, from: &[&'static str]) -> &'static str {
        from[self.below(from.len())]
    }

    fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}

const COUNT: usize = 4_000;

const SEGMENTS: &[&str] = &[
    "core",
    "core",
    "modules",
    "system",
    "tests",
    "statistics",
    "includes",
    "sites",
    "sites",
    "default",
    "default",
    "files",
    "files",
    "css",
    "js",
    "styles",
    "large",
    "public",
    "private",
    "php",
    "twig",
    "config_abc",
    "sync",
    "themes",
    "custom",
    "vendor",
    "composer",
    "sub",
    "a.example",
    "bare.example",
    "nested",
    "html",
    "empty",
    "folder.php",
    "folder.yml",
    "libraries",
    "linked-core",
    "node",
    "1",
    "admin",
    "x",
    ".git",
    ".well-known",
    "acme-challenge",
    ".hidden",
    ".x",
    ".",
    "..",
    "...",
    "%2e",
    "%2e%2e",
    "%2e.",
    "",
    ";",
    ";x",
    "..;",
    "~x",
    "outside",
    "contrib",
    "views",
    "with%20space",
    "wp-admin",
    "wp-content",
    "wp-includes",
    "uploads",
    "plugins",
    "%63ore",
    "sit%65s",
];

const NAMES: &[&str] = &[
    "index.php",
    "index.php",
    "update.php",
    "autoload.php",
    "install.php",
    "rebuild.php",
    "authorize.php",
    "a.php",
    "https.php",
    "http.php",
    "statistics.php",
    "evil.php",
    "settings.php",
    "missing.php",
    "wp-login.php",
    "xmlrpc.php",
    "a.yml",
    "missing.yml",
    "a.inc",
    "a.inc~",
    "a.tpl.php",
    "composer.json",
    "a.txt",
    "a.css",
    "a.svg",
    "a.html",
    "robots.txt",
    "favicon.ico",
    "drawing.svgz",
    "css_both.css",
    "css_both.css.gz",
    "css_packed.css",
    "js_both.js",
    "js_both.js.gz",
    "css_missing.css",
    ".htaccess",
    ".env",
    "a.PHP",
    "a.phtml",
    "a.php.bak",
    "a.php%20",
    "a.php.",
    "a.php;x",
    "a.php%00",
    "a.p%68p",
    "index.ph%70",
    "%2ehtaccess",
    "a%2eyml",
    "%23a%23",
    "a.php%2fx",
    "a.php%5cx",
    "",
    "",
    ".",
    "..",
];

const TAILS: &[&str] = &[
    "",
    "",
    "",
    "",
    "",
    "",
    "/",
    "/",
    "//",
    "/.",
    "/..",
    "/x",
    "/x/y",
    "/x.php",
    "/core/x.php",
    "/index.php",
    ".",
    ";a",
    "%20",
    "%2f",
    "?a=b",
    "?a=b",
    "?rewrite=ok",
    "?",
    "/?a",
    "?core",
    "?install.php",
    "?q=%2e%2e/x",
];

pub(super) fn targets() -> Vec<Vec<u8>> {
    let mut sequence = Sequence(20_251_124);
    let mut targets = Vec::with_capacity(COUNT);
    for _ in 0..COUNT {
        let mut target = String::new();
        for _ in 0..sequence.below(5) {
            target.push_str(if sequence.once_in(20) { "//" } else { "/" });
            target.push_str(sequence.pick(SEGMENTS));
        }
        target.push_str(if sequence.once_in(20) { "//" } else { "/" });
        target.push_str(sequence.pick(NAMES));
        target.push_str(sequence.pick(TAILS));
        targets.push(target.into_bytes());
    }
    targets
}
