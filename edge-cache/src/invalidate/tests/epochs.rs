use super::*;
use crate::invalidate::Subject;
use crate::invalidate::expression::Expression;

fn page(tags: &[&str]) -> Arc<Stored> {
    let index = TagIndex::default();
    response("http://a.example/x", &HeaderMap::new(), &[("x-kind", "one")], index.tags(&names(tags)), "")
}

fn ban(text: &str) -> Expression {
    Expression::parse(text).unwrap()
}

#[test]
fn a_fetch_is_current_until_one_of_its_tags_is_invalidated() {
    let epochs = Epochs::default();
    let (page, untagged) = (page(&["a", "b"]), page(&[]));
    let is_current = |began, stored: &Arc<Stored>| epochs.is_current(began, Subject::of(stored));
    epochs.tags(["a"]);
    let began = epochs.begin();
    assert!(is_current(began, &page), "invalidated before it began");
    epochs.tags(["c", ""]);
    assert!(is_current(began, &page) && is_current(began, &untagged), "not its tag");
    epochs.tags(["x", "b"]);
    assert!(!is_current(began, &page));
    assert!(is_current(epochs.begin(), &page));
    let began = epochs.begin();
    epochs.everything();
    assert!(!is_current(began, &untagged));
    assert!(is_current(epochs.begin(), &page));
}

#[test]
fn a_fetch_is_compared_with_the_bans_since() {
    let epochs = Epochs::default();
    let page = page(&["a"]);
    let is_current = |began| epochs.is_current(began, Subject::of(&page));
    epochs.ban(&[], &ban("host == a.example"));
    let began = epochs.begin();
    assert!(is_current(began), "banned before it began");
    epochs.ban(&[], &ban("host == b.example"));
    epochs.ban(&[], &ban("header.x-kind == two"));
    epochs.ban(&names(&["b"]), &ban("host == a.example"));
    assert!(is_current(began), "none of these is for it");
    assert!(!epochs.is_outdated(began, &page.key));
    epochs.ban(&[], &ban("header.x-kind == one"));
    assert!(!is_current(began));
    assert!(!epochs.is_outdated(began, &page.key), "its key alone does not tell");
    let began = epochs.begin();
    epochs.ban(&names(&["a", "c"]), &ban("host == a.example"));
    assert!(!is_current(began));
    let began = epochs.begin();
    epochs.ban(&[], &ban("path == /x"));
    assert!(epochs.is_outdated(began, &page.key) && !is_current(began));
}

/// A site that bans a pattern every second must still be able to cache.
#[test]
fn the_same_ban_again_takes_one_place() {
    let epochs = Epochs::default();
    let page = page(&[]);
    let began = epochs.begin();
    for _ in 0..10_000 {
        epochs.ban(&[], &ban("path == /news/*"));
    }
    assert!(epochs.is_current(began, Subject::of(&page)));
}

#[test]
fn forgetting_bans_is_on_the_safe_side() {
    let epochs = Epochs::default();
    let page = page(&[]);
    let old = epochs.begin();
    epochs.ban(&[], &ban("path == /x"));
    let began = epochs.begin();
    for number in 0..256 {
        epochs.ban(&[], &ban(&format!("path == /other/{number}")));
    }
    assert!(epochs.is_current(began, Subject::of(&page)), "nothing that came after it is forgotten");
    assert!(!epochs.is_current(old, Subject::of(&page)), "what it was banned by is");
    epochs.ban(&[], &ban("path == /one/more"));
    assert!(!epochs.is_current(began, Subject::of(&page)), "something that came after it is forgotten");
}

#[test]
fn forgetting_tags_is_on_the_safe_side() {
    let epochs = Epochs::default();
    let (page, other) = (page(&["0"]), page(&["none"]));
    let began = epochs.begin();
    let half: Vec<String> = (0..32_768).map(|number| number.to_string()).collect();
    epochs.tags(half.iter().map(String::as_str));
    let later = epochs.begin();
    assert!(!epochs.is_current(began, Subject::of(&page)));
    assert!(epochs.is_current(began, Subject::of(&other)));
    for number in 0..32_768 {
        epochs.tags([format!("more:{number}").as_str()]);
    }
    assert!(!epochs.is_current(began, Subject::of(&page)), "remembered in the older half");
    epochs.tags(["one more", "and another"]);
    assert!(!epochs.is_current(began, Subject::of(&page)), "forgotten");
    assert!(epochs.is_current(later, Subject::of(&page)), "only what is older than the half is lost");
}
