//! What the target of web-proxy holds to be true of any bytes.

use common::rules::{Source, Subject};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use web_proxy::route::path::UrlPath;
use web_proxy::rules::{MappedTo, Orders, Preset, Rules};

/// Rules, a NUL, and a request as lines: whatever is accepted is printed in one form, and decides and edits without
/// harm, also what the file system gives as names.
pub(crate) fn rules(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (text, request) = text.split_once('\0').unwrap_or((&text, "GET /a/b.php/c?d=e\nCookie: f=g"));
    for preset in [Preset::None, Preset::Drupal, Preset::Wordpress] {
        let source = Source { name: "fuzz", text };
        let Ok(rules) = Rules::of(preset, Some((source, "rule"))) else { continue };
        let printed = rules.render();
        let again = Rules::of(preset, Some((Source { name: "printed", text: printed }, "rule")));
        let again = again.expect("what was printed is rules");
        assert_eq!(again.render(), printed);
        apply(&rules, &again, request);
    }
}

fn apply(rules: &Rules, again: &Rules, request: &str) {
    let mut lines = request.lines();
    let (method, target) = lines.next().and_then(|line| line.split_once(' ')).unwrap_or(("GET", "/"));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let Ok(method) = Method::from_bytes(method.as_bytes()) else { return };
    let Ok(path) = UrlPath::parse(path) else { return };
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(": ")) {
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), HeaderValue::from_bytes(value.as_bytes()))
        {
            headers.append(name, value);
        }
    }
    let subject = Subject {
        method: &method,
        scheme: "https",
        host: "site.example",
        path: path.as_bytes(),
        query,
        headers: &headers,
        client: [192, 0, 2, 1].into(),
    };
    let name = path.as_bytes().rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    for mapped in [MappedTo::Directory, MappedTo::File(name), MappedTo::Nothing(name)] {
        let (mut orders, mut same) = (Orders::default(), Orders::default());
        let decision = rules.apply(&subject, mapped, &mut orders);
        let repeated = again.apply(&subject, mapped, &mut same);
        let named =
            |decision: Option<(&web_proxy::rules::Rule, _)>| decision.map(|(rule, _)| rule.name.to_string());
        assert_eq!(named(decision), named(repeated), "what was printed decides alike");
        assert_eq!(orders.edits().count(), same.edits().count());
        let mut fields = HeaderMap::new();
        orders.edits().for_each(|edits| edits.of_response(&mut fields));
        // Asking twice changes nothing: each rule counts once.
        let edits = orders.edits().count();
        rules.apply(&subject, mapped, &mut orders);
        assert_eq!(orders.edits().count(), edits);
        let _ = (orders.expires(), orders.media_type(), orders.coding(), orders.query(), orders.is_lazy());
    }
}
