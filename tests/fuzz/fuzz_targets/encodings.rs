//! What the Accept-Encoding target holds to be true of any field: no panic, weights in range, and for a field that
//! follows the grammar of RFC 9110, section 12.5.3, the weights that it says.

use common::http::coding::Accepted;
use http::header::{ACCEPT_ENCODING, HeaderMap, HeaderValue};

pub(crate) fn accepted(data: &[u8]) {
    // Several fields are one list.
    let fields = data.split(|byte| *byte == b'\n').filter_map(|field| HeaderValue::from_bytes(field).ok());
    let headers: HeaderMap = fields.map(|field| (ACCEPT_ENCODING, field)).collect();
    let accepted = Accepted::of(&headers);
    let Accepted { identity, gzip, brotli, zstd, deflate } = accepted;
    assert!([identity, gzip, brotli, zstd, deflate].iter().all(|weight| *weight <= 1000), "{accepted:?}");
    assert_eq!(
        accepted.names().count(),
        [gzip, brotli, zstd, deflate].iter().filter(|weight| **weight > 0).count()
    );
    if headers.is_empty() {
        assert_eq!((identity, accepted.names().count()), (1, 0));
        return;
    }
    let Some(listed) = headers.get_all(ACCEPT_ENCODING).iter().map(grammar).collect::<Option<Vec<_>>>()
    else {
        return;
    };
    let listed: Vec<(String, u16)> = listed.into_iter().flatten().collect();
    // Of those that are named twice the last one counts.
    let named =
        |name: &str| listed.iter().rev().find(|(listed, _)| listed == name).map(|(_, weight)| *weight);
    let weight = |name: &str, absent: u16| named(name).or_else(|| named("*")).unwrap_or(absent);
    let last_gzip =
        listed.iter().rev().find(|(name, _)| name == "gzip" || name == "x-gzip").map(|(_, weight)| *weight);
    let expected = Accepted {
        identity: weight("identity", 1),
        gzip: last_gzip.or_else(|| named("*")).unwrap_or(0),
        brotli: weight("br", 0),
        zstd: weight("zstd", 0),
        deflate: weight("deflate", 0),
    };
    assert_eq!(accepted, expected, "{headers:?}");
}

/// The names, in lower case, with their weights in thousandths; `None` for what the grammar does not have.
fn grammar(field: &HeaderValue) -> Option<Vec<(String, u16)>> {
    let text = field.to_str().ok()?;
    let elements = text
        .split(',')
        .map(|element| element.trim_matches([' ', '\t']))
        .filter(|element| !element.is_empty());
    elements
        .map(|element| {
            let (name, weight) = match element.split_once(';') {
                None => (element, 1000),
                Some((name, parameter)) => {
                    let parameter = parameter.trim_start_matches([' ', '\t']).to_ascii_lowercase();
                    (name.trim_end_matches([' ', '\t']), qvalue(parameter.strip_prefix("q=")?)?)
                }
            };
            let is_token =
                name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
            (is_token && !name.is_empty()).then(|| (name.to_ascii_lowercase(), weight))
        })
        .collect()
}

/// `( "0" [ "." 0*3DIGIT ] ) / ( "1" [ "." 0*3("0") ] )`
fn qvalue(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    if decimals.len() > 3 || !decimals.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    match whole {
        "0" => format!("{decimals:0<3}").parse().ok(),
        "1" => decimals.bytes().all(|digit| digit == b'0').then_some(1000),
        _ => None,
    }
}
