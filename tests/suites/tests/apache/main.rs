//! web-proxy against Apache itself: the same docroot with its .htaccess, the same PHP-FPM, the same requests.
//!
//! 1. [`tree`]: a docroot with the shape of Drupal's, and one of WordPress', each with its .htaccess.
//! 2. [`httpd`]: Debian's Apache, as Debian and Drupal set it up; web-proxy beside it with the preset alone. PHP-FPM dumps
//!    what a script would have been run with.
//! 3. [`corpus`]: the requests, generated and always the same; [`exchange`] sends each to both.
//! 4. [`compare`]: what the two answers have to agree on.
//! 5. [`differences`]: what they may differ in, each with a reason. What is not listed fails the test, and so does an
//!    entry that explains nothing.
//!
//! `DRUPAL_ROOT=/path` compares on a site's own docroot too. `APACHE_TARGET=/path` sends one request and shows both answers. All that is not explained is written to
//! `.cache/test/apache-unexplained.txt`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod compare;
mod corpus;
mod differences;
mod exchange;
mod httpd;
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use compare::{Differing, Observed, differing};
use corpus::{Request, Shape};
use differences::Known;
use exchange::Peer;
use httpd::Apache;
use suites::service::{Service, cache};
use test_support::php_fpm::PhpFpm;
use tree::Tree;

/// Requests that are under way at a time, at each server.
const AT_ONCE: usize = 8;
/// Fewer would not be what the suite promises.
const AT_LEAST: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_differs_but_what_is_listed() {
    let known = Known::read(&differences::file());
    for shape in [&corpus::DRUPAL, &corpus::WORDPRESS] {
        let tree = Tree::create(shape).unwrap();
        let servers = Servers::start(&tree.docroot(), shape).await;
        if let Ok(target) = std::env::var("APACHE_TARGET") {
            servers.pair.show(&Request::get(target)).await;
            continue;
        }
        let requests = corpus::all(shape);
        assert!(requests.len() >= AT_LEAST, "only {} requests", requests.len());
        servers.compare(shape.name, requests, &known).await;
    }
    if std::env::var_os("APACHE_TARGET").is_some() {
        return;
    }
    for entry in known.entries() {
        println!("note: apache: {:>6} times {}: {}", entry.count(), entry.name, entry.reason());
    }
    let unused: Vec<&str> =
        known.entries().filter(|entry| entry.count() == 0).map(|entry| entry.name.as_str()).collect();
    assert!(unused.is_empty(), "these differences do not exist: {}", unused.join(", "));
}

/// The same, and every file there is, on a site's own docroot. None of its scripts runs: what would have run is
/// dumped instead.
#[tokio::test(flavor = "multi_thread")]
async fn on_a_real_docroot() {
    let Some(docroot) = std::env::var_os("DRUPAL_ROOT").filter(|root| !root.is_empty()).map(PathBuf::from)
    else {
        return println!("note: apache: no real docroot is compared: DRUPAL_ROOT is not set");
    };
    let docroot = if docroot.join("web/index.php").is_file() { docroot.join("web") } else { docroot };
    let shape = &corpus::DRUPAL;
    let servers = Servers::start(&docroot, shape).await;
    let mut requests = corpus::all(shape);
    requests.extend(corpus::files_of(&docroot).unwrap());
    let known = Known::read(&differences::file());
    servers.compare("drupal, DRUPAL_ROOT", requests, &known).await;
}

/// Both servers and the PHP-FPM behind them. Dropped in the order of the fields.
struct Servers {
    application: &'static str,
    pair: Pair,
    apache: Apache,
    _web: Service,
    _fpm: PhpFpm,
}

impl Servers {
    async fn start(docroot: &Path, shape: &Shape) -> Self {
        let docroot = docroot.canonicalize().unwrap();
        let dump = tree::fixtures().join("dump.php").display().to_string();
        let fpm = PhpFpm::builder().tcp().max_children(2 * AT_ONCE as u32).ini("auto_prepend_file", dump);
        let fpm = fpm.start().await.unwrap();
        let apache = Apache::start(&docroot, &fpm.address()).await.unwrap();
        let docroot = docroot.display().to_string();
        let flags = ["--docroot", &docroot, "--fastcgi", &fpm.address(), "--preset", shape.name];
        let web =
            Service::start("web-proxy", &[&flags[..], &["--access-log", "none"]].concat()).await.unwrap();
        let application = shape.name;
        let pair = Pair { ours: web.address(), theirs: apache.address(), docroot };
        Self { application, pair, apache, _web: web, _fpm: fpm }
    }

    /// Fails with what is not explained.
    async fn compare(&self, what: &str, requests: Vec<Request>, known: &Known) {
        let compared = requests.len();
        let mut unexplained = Vec::new();
        for (request, differing) in self.pair.compare(requests).await {
            let left: Vec<Differing> = differing
                .into_iter()
                .filter(|differing| !known.explains(self.application, &request, differing))
                .collect();
            if !left.is_empty() {
                unexplained.push((request, left));
            }
        }
        // ./test shows notes.
        println!(
            "\nnote: apache: {what}: {compared} requests compared, {} with unexplained differences",
            unexplained.len()
        );
        assert!(unexplained.is_empty(), "{}\n{}", described(&unexplained), self.apache.log());
    }
}

/// The two servers.
#[derive(Debug, Clone)]
struct Pair {
    ours: std::net::SocketAddr,
    theirs: std::net::SocketAddr,
    docroot: String,
}

impl Pair {
    /// Sends all to both; gives what differs, in the order of the requests.
    async fn compare(&self, requests: Vec<Request>) -> Vec<(Request, Vec<Differing>)> {
        let requests = Arc::new(requests);
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..AT_ONCE {
            let (pair, requests) = (self.clone(), Arc::clone(&requests));
            lanes.spawn(async move {
                let (mut ours, mut theirs) = (Peer::new(pair.ours), Peer::new(pair.theirs));
                let mut found = Vec::new();
                for (place, request) in requests.iter().enumerate().skip(lane).step_by(AT_ONCE) {
                    let (our, their) = tokio::join!(ours.ask(request), theirs.ask(request));
                    let [our, their] =
                        [our, their].map(|answer| Observed::of(request, &answer, &pair.docroot));
                    let differing = differing(&our, &their);
                    if !differing.is_empty() {
                        found.push((place, differing));
                    }
                }
                found
            });
        }
        let mut found: Vec<_> = lanes.join_all().await.into_iter().flatten().collect();
        found.sort_by_key(|(place, _)| *place);
        found.into_iter().map(|(place, differing)| (requests[place].clone(), differing)).collect()
    }

    async fn show(&self, request: &Request) {
        for (whose, address) in [("ours", self.ours), ("theirs", self.theirs)] {
            let answer = Peer::new(address).ask(request).await;
            println!("\n{whose}: {request}\n{}", Observed::of(request, &answer, &self.docroot));
            println!("{answer:?}");
        }
    }
}

/// The unexplained by what differs, a few examples of each; all of them in a file.
fn described(unexplained: &[(Request, Vec<Differing>)]) -> String {
    let mut groups: BTreeMap<String, Vec<&Request>> = BTreeMap::new();
    let mut all = String::new();
    for (request, left) in unexplained {
        for differing in left {
            let _ = writeln!(all, "{request}  {differing}");
            // Values of parameters are of the request: the group is all that have that parameter.
            let group = if differing.aspect.starts_with("param ") {
                &differing.aspect
            } else {
                &differing.to_string()
            };
            groups.entry(group.clone()).or_default().push(request);
        }
    }
    let _ = std::fs::create_dir_all(cache().join("test"));
    let _ = std::fs::write(cache().join("test/apache-unexplained.txt"), all);
    let mut text = format!("{} requests with unexplained differences\n", unexplained.len());
    for (group, requests) in groups {
        let _ = writeln!(text, "{:>6} {group}", requests.len());
        for request in requests.iter().take(3) {
            let _ = writeln!(text, "         {request}");
        }
    }
    text
}
