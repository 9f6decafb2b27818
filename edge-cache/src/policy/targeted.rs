//! `CDN-Cache-Control` and fields like it: directives for caches of one kind (RFC 9213).
//!
//! Such a field is a Dictionary of RFC 9651, not a list in the looser grammar of Cache-Control. One that cannot be
//! parsed, that has a directive of another type than it takes, or that is empty is as if it were not there; otherwise
//! it alone counts, and Cache-Control and Expires are for others.

use http::{HeaderMap, HeaderName};
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use super::cache_control::{CacheControl, Delta};

pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// The directives of a response for a cache that listens to the fields `targets`, the first of them that is valid
/// before the others, and to Cache-Control without any.
pub fn directives(response: &HeaderMap, targets: &[HeaderName]) -> CacheControl {
    targets
        .iter()
        .filter(|target| response.contains_key(*target))
        .find_map(|target| parse(response, target))
        .unwrap_or_else(|| CacheControl::of(response))
}

/// `None` for what is to be ignored.
fn parse(response: &HeaderMap, target: &HeaderName) -> Option<CacheControl> {
    let lines: Vec<&[u8]> = response.get_all(target).iter().map(http::HeaderValue::as_bytes).collect();
    let members: Dictionary = Parser::new(&lines.join(&b","[..])).parse().ok()?;
    if members.is_empty() {
        return None;
    }
    let mut directives = CacheControl { is_targeted: true, ..CacheControl::default() };
    for (name, member) in &members {
        add(&mut directives, name.as_str(), member)?;
    }
    Some(directives)
}

/// `None` when a directive that is known has a value of the wrong type.
fn add(directives: &mut CacheControl, name: &str, member: &ListEntry) -> Option<()> {
    match name {
        "no-store" => directives.no_store = flag(member)?,
        "public" => directives.public = flag(member)?,
        "must-revalidate" => directives.must_revalidate = flag(member)?,
        "proxy-revalidate" => directives.proxy_revalidate = flag(member)?,
        "must-understand" => directives.must_understand = flag(member)?,
        "no-cache" => match fields(member)? {
            Fields::All(whole) => directives.no_cache = whole,
            Fields::Named(names) => directives.withheld_fields.extend(names),
        },
        "private" => match fields(member)? {
            Fields::All(whole) => directives.private = whole,
            Fields::Named(names) => directives.withheld_fields.extend(names),
        },
        "max-age" => directives.max_age = Some(seconds(member)?),
        "s-maxage" => directives.s_maxage = Some(seconds(member)?),
        "stale-while-revalidate" => directives.stale_while_revalidate = Some(seconds(member)?),
        "stale-if-error" => directives.stale_if_error = Some(seconds(member)?),
        // An extension, or what only a request says.
        _ => {}
    }
    Some(())
}

enum Fields {
    All(bool),
    Named(Vec<HeaderName>),
}

/// What a directive without an argument is: true, or false for one that is expressly not meant.
fn flag(member: &ListEntry) -> Option<bool> {
    value(member)?.as_boolean()
}

fn seconds(member: &ListEntry) -> Option<Delta> {
    let number: i64 = value(member)?.as_integer()?.into();
    // Below zero means stale, as in Cache-Control.
    Some(u64::try_from(number).map_or(Delta::Invalid, Delta::of))
}

fn fields(member: &ListEntry) -> Option<Fields> {
    let value = value(member)?;
    if let Some(whole) = value.as_boolean() {
        return Some(Fields::All(whole));
    }
    let names = value.as_string()?.as_str().split(',').map(str::trim).filter(|name| !name.is_empty());
    let names: Vec<HeaderName> = names.filter_map(|name| name.parse().ok()).collect();
    // A list of nothing is about everything, on the safe side.
    Some(if names.is_empty() { Fields::All(true) } else { Fields::Named(names) })
}

/// Parameters are ignored, as section 2.1 wants it.
fn value(member: &ListEntry) -> Option<&BareItem> {
    match member {
        ListEntry::Item(item) => Some(&item.bare_item),
        ListEntry::InnerList(_) => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn of(lines: &[&str]) -> CacheControl {
        let mut headers = HeaderMap::new();
        headers.append("cache-control", "max-age=7".parse().unwrap());
        for line in lines {
            headers.append(CDN_CACHE_CONTROL, line.parse().unwrap());
        }
        directives(&headers, &[CDN_CACHE_CONTROL])
    }

    #[test]
    fn a_valid_field_alone_counts() {
        let targeted = CacheControl { is_targeted: true, ..CacheControl::default() };
        let seconds = |number| Some(Delta::Seconds(number));
        let named = vec![HeaderName::from_static("x-a"), HeaderName::from_static("set-cookie")];
        let cases: [(&[&str], CacheControl); 13] = [
            (&["max-age=60"], CacheControl { max_age: seconds(60), ..targeted.clone() }),
            (&["max-age=60;x=1, foobar"], CacheControl { max_age: seconds(60), ..targeted.clone() }),
            (&["max-age=1", "max-age=2"], CacheControl { max_age: seconds(2), ..targeted.clone() }),
            (&["max-age=99999999999"], CacheControl { max_age: seconds(2_147_483_648), ..targeted.clone() }),
            (&["max-age=-1"], CacheControl { max_age: Some(Delta::Invalid), ..targeted.clone() }),
            (&["no-store"], CacheControl { no_store: true, ..targeted.clone() }),
            (&["no-store=?0"], targeted.clone()),
            (
                &["no-cache, must-revalidate"],
                CacheControl { no_cache: true, must_revalidate: true, ..targeted.clone() },
            ),
            (
                &["private=\"x-a, Set-Cookie\""],
                CacheControl { withheld_fields: named.clone(), ..targeted.clone() },
            ),
            (&["private=\" \""], CacheControl { private: true, ..targeted.clone() }),
            (
                &["stale-while-revalidate=5,stale-if-error=6"],
                CacheControl {
                    stale_while_revalidate: seconds(5),
                    stale_if_error: seconds(6),
                    ..targeted.clone()
                },
            ),
            (&["something"], targeted.clone()),
            (
                &["s-maxage=5", "public"],
                CacheControl { s_maxage: seconds(5), public: true, ..targeted.clone() },
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(of(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn an_invalid_field_is_as_if_it_were_not_there() {
        for lines in [
            &[""][..],
            &["max-age=60, &&&&&"],
            &["max-age=\"60\""],
            &["max-age=1.5"],
            &["max-age"],
            &["max-age=(60)"],
            &["MaX-aGe=60"],
            &["no-store=1"],
            &["no-cache=token"],
            &["max-age=60", "="],
            &["max-age=9999999999999999"],
            &["max-age=60,"],
        ] {
            assert_eq!(of(lines).max_age, Some(Delta::Seconds(7)), "{lines:?}");
        }
    }

    #[test]
    fn the_first_target_that_is_valid() {
        let own = HeaderName::from_static("own-cache-control");
        let mut headers = HeaderMap::new();
        headers.insert(CDN_CACHE_CONTROL, "max-age=2".parse().unwrap());
        headers.insert(&own, "max-age=1".parse().unwrap());
        let targets = [own.clone(), CDN_CACHE_CONTROL];
        assert_eq!(directives(&headers, &targets).max_age, Some(Delta::Seconds(1)));
        headers.insert(&own, "max-age=1, ?".parse().unwrap());
        assert_eq!(directives(&headers, &targets).max_age, Some(Delta::Seconds(2)));
        assert_eq!(directives(&headers, &[]), CacheControl::default());
    }
}
