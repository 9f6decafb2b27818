//! `Accept-Language` (RFC 9110, section 12.5.4): which of its forms mean the same, and which language is wanted most.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

/// A weight, in thousandths.
type Weight = u16;

const FULL: Weight = 1000;

/// The request's ranges in one form: lower case, without weights of 1, the greatest weight first and those of the
/// same weight in alphabetical order, which has no meaning. `None` for what is not such a list: it is compared as it
/// stands.
pub fn canonical(request: &HeaderMap) -> Option<Vec<u8>> {
    let mut ranges = ranges(request)?;
    ranges.sort_unstable_by(|(a, heavy), (b, light)| light.cmp(heavy).then_with(|| a.cmp(b)));
    let mut text = Vec::new();
    for (range, weight) in ranges {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend_from_slice(&range);
        if weight != FULL {
            text.extend_from_slice(format!(";{weight}").as_bytes());
        }
    }
    Some(text)
}

/// Whether `language`, a response's Content-Language, is what the request wants before all others: then whoever
/// chooses by weights chooses this response.
pub fn is_first_choice(request: &HeaderMap, language: &[u8]) -> bool {
    let Some(ranges) = ranges(request) else { return false };
    let Some(most) = ranges.iter().map(|(_, weight)| *weight).max().filter(|most| *most > 0) else {
        return false;
    };
    let mut wanted = ranges.iter().filter(|(_, weight)| *weight == most);
    match (wanted.next(), wanted.next()) {
        // A list of languages is never equal to one range.
        (Some((range, _)), None) => range.eq_ignore_ascii_case(language.trim_ascii()),
        _ => false,
    }
}

fn ranges(request: &HeaderMap) -> Option<Vec<(Vec<u8>, Weight)>> {
    let lines = request.get_all(ACCEPT_LANGUAGE).iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    elements.filter(|element| !element.is_empty()).map(range).collect()
}

/// `de-AT;q=0.8`
fn range(element: &[u8]) -> Option<(Vec<u8>, Weight)> {
    let mut parts = element.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let range = parts.next()?.to_ascii_lowercase();
    if range.is_empty() || !range.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-*".contains(byte)) {
        return None;
    }
    let weight = match parts.next() {
        None => FULL,
        Some(parameter) => weight(parameter)?,
    };
    parts.next().is_none().then_some((range, weight))
}

/// `q=0.8`: at most three digits, and none above 1 (section 12.4.2).
fn weight(parameter: &[u8]) -> Option<Weight> {
    let [b'q' | b'Q', b'=', value @ ..] = parameter else { return None };
    let (whole, rest) = value.split_first()?;
    let digits = match rest {
        [] => rest,
        [b'.', digits @ ..] if digits.len() <= 3 => digits,
        _ => return None,
    };
    let thousandths = digits.iter().chain(b"000").take(3).try_fold(0, |sum: Weight, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + Weight::from(digit - b'0'))
    })?;
    match whole {
        b'0' => Some(thousandths),
        b'1' if thousandths == 0 => Some(FULL),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn request(lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACCEPT_LANGUAGE, line.parse().unwrap());
        }
        headers
    }

    #[test]
    fn the_same_in_one_form() {
        let cases: [(&[&str], Option<&str>); 10] = [
            (&["en, de"], Some("de,en")),
            (&["dE ,eN"], Some("de,en")),
            (&["de;q=1.0", "en ; q=1"], Some("de,en")),
            (&["en;q=0.8, de-AT, de;q=0.9"], Some("de-at,de;900,en;800")),
            (&["en;q=0.80,de-at,de;Q=0.900"], Some("de-at,de;900,en;800")),
            (&["*;q=0"], Some("*;0")),
            (&[""], Some("")),
            (&["en;q=2"], None),
            (&["en;q=0.8;x"], None),
            (&["en us"], None),
        ];
        for (lines, expected) in cases {
            let text = canonical(&request(lines));
            assert_eq!(text.as_deref(), expected.map(str::as_bytes), "{lines:?}");
        }
    }

    #[test]
    fn first_choices() {
        let cases = [
            ("de", "de", true),
            ("fr;q=0.5, DE;q=1.0", "de", true),
            ("en, de", "de", false),
            ("de-AT, de;q=0.9", "de", false),
            ("de", "de, en", false),
            ("de;q=0", "de", false),
            ("*", "de", false),
            ("nonsense;", "nonsense", false),
            ("", "", false),
        ];
        for (accept, language, expected) in cases {
            assert_eq!(
                is_first_choice(&request(&[accept]), language.as_bytes()),
                expected,
                "{accept} {language}"
            );
        }
    }
}
