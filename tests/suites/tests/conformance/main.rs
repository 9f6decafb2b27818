//! http-cache-tests against edge-cache: every test has to do what `conformance/*.toml` expects of it.
//!
//! The npm package is what ./test installs. `HTTP_CACHE_TESTS=/path/to/cache-tests` runs a checkout of
//! <https://github.com/http-tests/cache-tests> with its npm dependencies instead, whose tests are newer.
//!
//! `CONFORMANCE_ID=freshness-max-age` runs one test and shows its traffic. `WRITE_BEHAVIOUR=1` writes down what is:
//! the answers, the counts, and failures whose reasons are then to be filled in.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod behaviour;
mod edition;
mod expectations;

use std::env;

use edition::{Edition, Kind};
use expectations::Expectations;
use suites::service::{Service, root};

#[tokio::test]
async fn every_test_does_what_is_expected_of_it() {
    let edition = Edition::find();
    let origin = edition.start_origin().await;
    let upstream = format!("http://127.0.0.1:{}", origin.port());
    let config = root().join("tests/suites/conformance/edge-cache.toml").display().to_string();
    let flags = ["--config", &config, "--access-log", "none", "--origin", &upstream];
    let edge = Service::start("edge-cache", &flags).await.unwrap();
    if let Ok(id) = env::var("CONFORMANCE_ID") {
        return edition.show(&edge, &id).await;
    }
    let outcomes = edition.run(&edge.url("")).await;
    let count = |kind| outcomes.count(kind);
    let [required, optimal, check] = [Kind::Required, Kind::Optimal, Kind::Check].map(count);
    // ./test shows notes.
    println!(
        "\nnote: http-cache-tests ({}): required {required}, optimal {optimal}, check {check} yes",
        edition.name()
    );
    let mut expected = Expectations::read(&edition);
    if env::var_os("WRITE_BEHAVIOUR").is_some() {
        expected.set(&outcomes);
        expected.write(&edition);
        expected = Expectations::read(&edition);
        if edition.is_repository() {
            behaviour::write(&outcomes);
        }
    }
    let differences = expected.differences(&outcomes);
    assert!(
        differences.is_empty(),
        "not as {} expects:\n{}",
        edition.expectations().display(),
        differences.join("\n")
    );
    if edition.is_repository() {
        assert_eq!(behaviour::rendered(&outcomes), behaviour::committed(), "run with WRITE_BEHAVIOUR=1");
    }
}

/// The table in docs/ says what the newer edition's expectations say, also where only the other edition can run.
#[test]
fn the_behaviour_table_is_current() {
    let [package, repository] = ["package", "repository"]
        .map(|name| Expectations::read_file(&root().join(format!("tests/suites/conformance/{name}.toml"))));
    assert_eq!(behaviour::answers(&behaviour::committed()), repository.check);
    for (id, reason) in package.failures.iter().chain(&repository.failures) {
        assert!(reason.len() > 20, "the failure of {id} needs a reason");
    }
}
