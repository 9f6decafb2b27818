//! What the cache knows about an application: which cookies make an answer somebody's own.

use http::HeaderMap;
use http::header::COOKIE;

/// A named set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Preset {
    /// HTTP only: cookies are passed on, and `Vary: Cookie` is taken at its word.
    #[default]
    None,
    /// Drupal: session cookies pass, all others are removed.
    Drupal,
    /// WordPress: login, comment and shop cookies pass, all others are removed.
    Wordpress,
}

/// What a preset makes of a request's cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cookies {
    /// None are left, or the preset has no opinion.
    Anonymous,
    /// One of them is a session's.
    Session,
}

/// Cookies of WordPress and its common plugins that change what a visitor sees.
const WORDPRESS: [&str; 8] = [
    "wordpress_logged_in_",
    "wordpress_sec_",
    "wp-postpass_",
    "comment_author_",
    "woocommerce_",
    "wp_woocommerce_session_",
    "edd_",
    "PHPSESSID",
];

impl Preset {
    /// Looks at the cookies of a request that the cache could answer, and removes them when none counts.
    pub fn apply(self, headers: &mut HeaderMap) -> Cookies {
        if self == Self::None || !headers.contains_key(COOKIE) {
            return Cookies::Anonymous;
        }
        let values = headers.get_all(COOKIE);
        if values.iter().flat_map(|value| cookie_names(value.as_bytes())).any(|name| self.is_session(name)) {
            return Cookies::Session;
        }
        headers.remove(COOKIE);
        Cookies::Anonymous
    }

    fn is_session(self, name: &[u8]) -> bool {
        match self {
            Self::None => false,
            Self::Drupal => is_drupal_session(name) || matches!(name, b"NO_CACHE" | b"big_pipe_nojs"),
            Self::Wordpress => WORDPRESS.iter().any(|prefix| name.starts_with(prefix.as_bytes())),
        }
    }
}

/// `SESS` or, over HTTPS, `SSESS`, and 32 hexadecimal digits of the site's hash
/// (Drupal\Core\Session\SessionConfiguration::getName).
fn is_drupal_session(name: &[u8]) -> bool {
    let hash = name.strip_prefix(b"SSESS").or_else(|| name.strip_prefix(b"SESS"));
    hash.is_some_and(|hash| hash.len() >= 32 && hash.iter().all(u8::is_ascii_hexdigit))
}

fn cookie_names(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b';').map(|pair| {
        let end = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        pair[..end].trim_ascii()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn cookies() {
        let session = "SESSd41d8cd98f00b204e9800998ecf8427e=x";
        let cases = [
            (Preset::Drupal, "_ga=1; has_js=1", Cookies::Anonymous, false),
            (Preset::Drupal, session, Cookies::Session, true),
            (Preset::Drupal, "_ga=1;SSESSd41d8cd98f00b204e9800998ecf8427e=x", Cookies::Session, true),
            (Preset::Drupal, "NO_CACHE=1", Cookies::Session, true),
            (
                Preset::Drupal,
                "SESS=short; MYSESSd41d8cd98f00b204e9800998ecf8427e=1",
                Cookies::Anonymous,
                false,
            ),
            (Preset::Wordpress, "wordpress_test_cookie=1; wp-settings-time-1=5", Cookies::Anonymous, false),
            (Preset::Wordpress, "a=1; wordpress_logged_in_abc=x", Cookies::Session, true),
            (Preset::Wordpress, "wp-postpass_1=x", Cookies::Session, true),
            (Preset::None, session, Cookies::Anonymous, true),
        ];
        for (preset, cookie, expected, kept) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(COOKIE, cookie.parse().unwrap());
            assert_eq!(preset.apply(&mut headers), expected, "{preset:?} {cookie}");
            assert_eq!(headers.contains_key(COOKIE), kept, "{preset:?} {cookie}");
        }
    }
}
