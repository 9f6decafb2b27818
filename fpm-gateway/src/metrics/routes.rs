//! Where PHP's time goes: by script and first segment of the path.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use common::fastcgi::Params;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

type Seconds = Counter<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    route: String,
    phase: &'static str,
}

/// One route's sums.
#[derive(Debug)]
pub struct Route {
    requests: Counter,
    first_byte: Seconds,
    total: Seconds,
    post_response: Seconds,
}

/// The first routes that were answered without an error, and one for all others.
#[derive(Debug)]
pub struct Routes {
    requests: Family<RouteLabel, Counter>,
    seconds: Family<PhaseLabels, Seconds>,
    known: RwLock<HashMap<String, Arc<Route>>>,
    other: Arc<Route>,
}

/// Visitors choose paths: more than a site has are not remembered.
const MOST: usize = 64;
const LONGEST: usize = 64;

impl Routes {
    pub fn register(registry: &mut Registry) -> Self {
        let (requests, seconds) = (Family::default(), Family::<PhaseLabels, Seconds>::default());
        registry.register("route_requests", "Requests that PHP has answered, by route", requests.clone());
        registry.register(
            "route_seconds",
            "Time of these requests: to the first byte, to the end, and behind the response",
            seconds.clone(),
        );
        let other = Arc::new(Route::new(&requests, &seconds, "other"));
        Self { requests, seconds, known: RwLock::default(), other }
    }

    /// The route of a request; one that is new is remembered if its answer was not an error.
    pub fn of(&self, params: &Params, is_error: bool) -> Arc<Route> {
        let Some(name) = name(params) else { return Arc::clone(&self.other) };
        if let Some(known) = self.known.read().unwrap_or_else(PoisonError::into_inner).get(&name) {
            return Arc::clone(known);
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if is_error || known.len() >= MOST {
            return Arc::clone(&self.other);
        }
        let new = || Arc::new(Route::new(&self.requests, &self.seconds, &name));
        Arc::clone(known.entry(name.clone()).or_insert_with(new))
    }
}

impl Route {
    fn new(
        requests: &Family<RouteLabel, Counter>,
        seconds: &Family<PhaseLabels, Seconds>,
        name: &str,
    ) -> Self {
        let phase = |phase| seconds.get_or_create(&PhaseLabels { route: name.to_owned(), phase }).clone();
        Self {
            requests: requests.get_or_create(&RouteLabel { route: name.to_owned() }).clone(),
            first_byte: phase("first_byte"),
            total: phase("total"),
            post_response: phase("post_response"),
        }
    }

    /// Times from the moment in which there was a worker.
    pub fn answered(&self, first_byte: Duration, total: Duration) {
        self.requests.inc();
        self.first_byte.inc_by(first_byte.as_secs_f64());
        self.total.inc_by(total.as_secs_f64());
    }

    pub fn post_response(&self, time: Duration) {
        self.post_response.inc_by(time.as_secs_f64());
    }
}

/// `/index.php /admin`; `None` for what has no plain name.
fn name(params: &Params) -> Option<String> {
    let text = |name: &str| std::str::from_utf8(params.get(name)?).ok();
    let script = text("SCRIPT_NAME")?;
    let path = text("REQUEST_URI")?.split('?').next().unwrap_or_default();
    // A script that was asked for by its own name is one route, whatever follows it.
    let first = match path.strip_prefix(script) {
        Some(_) => "",
        None => path.trim_start_matches('/').split('/').next().unwrap_or_default(),
    };
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._~-".contains(&b));
    let name = if first.is_empty() { script.to_owned() } else { format!("{script} /{first}") };
    (name.len() <= LONGEST && plain(script) && plain(first)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(script: &str, uri: &str) -> Params {
        [("SCRIPT_NAME", script.to_owned()), ("REQUEST_URI", uri.to_owned())].into_iter().collect()
    }

    #[test]
    fn names() {
        let table = [
            ("/index.php", "/admin/reports?x", Some("/index.php /admin")),
            ("/index.php", "/", Some("/index.php")),
            ("/index.php", "//node/1", Some("/index.php /node")),
            ("/index.php", "/index.php/node/1", Some("/index.php")),
            ("/core/cron.php", "/core/cron.php", Some("/core/cron.php")),
            ("/index.php", "/%61dmin", None),
            ("/index.php", "/a\"b", None),
        ];
        for (script, uri, expected) in table {
            assert_eq!(name(&params(script, uri)).as_deref(), expected, "{uri}");
        }
        assert_eq!(name(&params("/index.php", &format!("/{}", "x".repeat(99)))), None);
        assert_eq!(name(&Params::new()), None);
    }

    #[test]
    fn what_visitors_invent_is_not_remembered() {
        let routes = Routes::register(&mut Registry::default());
        let other = |uri: &str, is_error| {
            Arc::ptr_eq(&routes.of(&params("/index.php", uri), is_error), &routes.other)
        };
        assert!(other("/missing", true));
        assert!(!other("/node", false) && !other("/node", true));
        (0..100).for_each(|n| {
            other(&format!("/p{n}"), false);
        });
        assert_eq!(routes.known.read().map(|known| known.len()).unwrap_or_default(), MOST);
        assert!(other("/late", false) && !other("/node", false));
    }
}
