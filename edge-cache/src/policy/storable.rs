//! Whether a response may be stored by a shared cache (RFC 9111, section 3), and why not.

use http::header::{AUTHORIZATION, ETAG, EXPIRES, HeaderMap, LAST_MODIFIED, SET_COOKIE};
use http::{HeaderName, Method, StatusCode};

use super::cache_control::CacheControl;
use super::freshness::{Freshness, is_heuristically_cacheable};
use super::vary;

/// Why a response is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotStored {
    /// Only GET is stored.
    Method,
    /// 1xx, 206, 304, or unknown under `must-understand`.
    Status,
    /// `no-store` in the response.
    NoStore,
    /// `no-store` in the request.
    RequestNoStore,
    Private,
    /// `Surrogate-Control: no-store`, as of Drupal's BigPipe.
    SurrogateNoStore,
    /// The request was authorized and the response does not say that it may be shared.
    Authorization,
    /// Set-Cookie is somebody's: shared by nobody here.
    SetCookie,
    /// `Vary: *`
    VaryStar,
    /// Neither fresh for any time nor with a validator: it could never be used.
    Useless,
    /// It came in a coding that its client does not accept, and may not be changed.
    Coding,
    /// The URL has as many variants as it may.
    VariantBudget,
    /// Longer than what one object may take.
    TooLarge,
    /// Longer than what is fetched whole where only a range was asked for.
    RangeLimit,
    /// Too many bytes of other responses are on their way into the cache.
    Budget,
    /// The target was invalidated while the response was under way.
    Invalidated,
    /// The body ended early.
    Truncated,
}

impl NotStored {
    /// For `Cache-Status`' `detail`, metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Method => "method",
            Self::Status => "status",
            Self::NoStore => "no-store",
            Self::RequestNoStore => "request-no-store",
            Self::Private => "private",
            Self::SurrogateNoStore => "surrogate-no-store",
            Self::Authorization => "authorization",
            Self::SetCookie => "set-cookie",
            Self::VaryStar => "vary-star",
            Self::Useless => "no-freshness",
            Self::Coding => "coding",
            Self::VariantBudget => "variant-budget",
            Self::TooLarge => "too-large",
            Self::RangeLimit => "range-fetch-limit",
            Self::Budget => "fill-budget",
            Self::Invalidated => "invalidated",
            Self::Truncated => "truncated",
        }
    }
}

const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// `request` is the head that selected the response; `freshness` that of the response.
pub fn storable(
    method: &Method,
    request: &HeaderMap,
    status: StatusCode,
    response: &HeaderMap,
    directives: &CacheControl,
    freshness: &Freshness,
) -> Result<(), NotStored> {
    if method != Method::GET {
        return Err(NotStored::Method);
    }
    let understood = !matches!(status.as_u16(), 100..=199 | 206 | 304);
    if !understood || directives.must_understand && !is_understood(status) {
        return Err(NotStored::Status);
    }
    // "must-understand" with an understood status overrides "no-store" (section 5.2.2.3).
    if directives.no_store && !directives.must_understand {
        return Err(NotStored::NoStore);
    }
    if CacheControl::of(request).no_store {
        return Err(NotStored::RequestNoStore);
    }
    if directives.private {
        return Err(NotStored::Private);
    }
    if says_no_store(response) {
        return Err(NotStored::SurrogateNoStore);
    }
    // Section 3.5.
    let shared = directives.public || directives.s_maxage.is_some() || directives.must_revalidate;
    if request.contains_key(AUTHORIZATION) && !shared {
        return Err(NotStored::Authorization);
    }
    if response.contains_key(SET_COOKIE) && !directives.withheld_fields.contains(&SET_COOKIE) {
        return Err(NotStored::SetCookie);
    }
    if vary::is_star(response) {
        return Err(NotStored::VaryStar);
    }
    let explicit = directives.public
        || directives.max_age.is_some()
        || directives.s_maxage.is_some()
        || !directives.is_targeted && response.contains_key(EXPIRES);
    if !explicit && !is_heuristically_cacheable(status) {
        return Err(NotStored::Useless);
    }
    let usable = response.contains_key(ETAG)
        || response.contains_key(LAST_MODIFIED)
        || freshness.lifetime > freshness.initial_age;
    if usable { Ok(()) } else { Err(NotStored::Useless) }
}

/// The final statuses of RFC 9110; what else there is has rules that are not known here.
fn is_understood(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=205 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505)
}

fn says_no_store(response: &HeaderMap) -> bool {
    response.get_all(SURROGATE_CONTROL).iter().any(|value| {
        value
            .as_bytes()
            .split(|byte| *byte == b',')
            .any(|word| word.trim_ascii().eq_ignore_ascii_case(b"no-store"))
    })
}
