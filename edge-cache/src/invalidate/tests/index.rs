use super::*;
use crate::invalidate::index::SLICE;
use crate::invalidate::{Command, Mode, Scope};

fn page(index: &TagIndex, url: &str, tags: &[&str]) -> Arc<Stored> {
    let stored = response(url, &HeaderMap::new(), &[], index.tags(&names(tags)), "");
    index.add(&stored);
    stored
}

fn carriers(index: &TagIndex, tag: &str) -> Vec<String> {
    let mut found = Vec::new();
    index.visit(tag, |stored| found.push(stored.key.as_str().to_owned()));
    found.sort();
    found
}

#[test]
fn a_tag_is_exact_and_known_while_something_carries_it() {
    let index = TagIndex::default();
    let one = page(&index, "http://a/1", &["node:1", "list"]);
    let ten = page(&index, "http://b/10", &["node:10", "list"]);
    let none = page(&index, "http://a/none", &[]);
    assert_eq!(carriers(&index, "node:1"), ["http://a/1"]);
    assert_eq!(carriers(&index, "list"), ["http://a/1", "http://b/10"], "on every host");
    assert_eq!(carriers(&index, ""), [""; 0], "what has no tag is under none, not under the empty one");
    assert_eq!(index.len(), 3);
    assert!(one.tags.contains("list") && !one.tags.contains("node:10"));
    drop(one);
    assert_eq!(index.len(), 2);
    assert_eq!(carriers(&index, "list"), ["http://b/10"]);
    drop((ten, none));
    assert!(index.is_empty());
}

#[test]
fn a_tag_may_be_taken_again_while_it_is_forgotten() {
    let index = TagIndex::default();
    let waiting = index.tags(&names(&["a"]));
    drop(page(&index, "http://a/1", &["a"]));
    assert_eq!(index.len(), 1, "one is on its way");
    drop(waiting.clone());
    drop(waiting);
    assert!(index.is_empty());
}

#[test]
fn dead_links_are_few() {
    let index = TagIndex::default();
    let mut held = std::collections::VecDeque::new();
    for number in 0..SLICE * 20 {
        held.push_back(page(&index, &format!("http://a/{number}"), &["all", &format!("n:{number}")]));
        if held.len() > 100 {
            held.pop_front();
        }
        assert!(index.links("all") <= held.len() + held.len() / 4 + 2, "{}", index.links("all"));
        assert_eq!(index.len(), held.len() + 1);
    }
}

#[test]
fn long_lists_are_tidied_behind_a_slice_at_a_time() {
    let index = TagIndex::default();
    let mut held: Vec<_> = (0..SLICE * 8).map(|n| page(&index, &format!("http://a/{n}"), &["all"])).collect();
    let mut at = 0;
    held.retain(|_| {
        at += 1;
        at % 3 == 0
    });
    assert_eq!(index.links("all"), SLICE * 8, "not where a page is dropped");
    let work = index.tidy();
    assert_eq!((work.links, work.locked), (SLICE * 8, SLICE));
    assert_eq!(index.links("all"), held.len());
    assert_eq!(carriers(&index, "all").len(), held.len());
    assert_eq!(index.tidy(), crate::invalidate::Work::default(), "nothing is left to do");
}

/// Issue 3, item 9: what a purge looks at is what carries the tag, and no lock is held for long.
#[test]
fn a_purge_costs_what_carries_the_tag() {
    let parts = Parts::new();
    let pages: Vec<_> = (0..20_000)
        .map(|number| {
            let tag = if number % 10 == 0 { "some" } else { "others" };
            let tags = parts.tags.tags(&names(&[tag, "all"]));
            let stored = response(&format!("http://a/{number}"), &HeaderMap::new(), &[], tags, "");
            parts.store.insert(&stored.key, &stored, MAX_VARIANTS);
            parts.tags.add(&stored);
            stored
        })
        .collect();
    let purge = |tags: &[&str]| {
        let command = Command { scope: Scope::Tags(names(tags)), mode: Mode::Hard };
        let taken = parts.view().mark(&command, SystemTime::now());
        (taken.count, taken.work.links, taken.work.locked)
    };
    for number in 0..10_000 {
        assert_eq!(purge(&[&format!("absent:{number}")]), (0, 0, 0));
    }
    assert_eq!(purge(&["some"]), (2_000, 2_000, SLICE));
    assert!(pages.iter().enumerate().all(|(number, page)| page.is_gone() == (number % 10 == 0)));
    assert_eq!(purge(&["some", "all"]), (18_000, 22_000, SLICE), "counted once, however many tags name it");
}

#[test]
fn a_tag_is_weighed_by_what_it_holds() {
    let index = TagIndex::default();
    let long = "x".repeat(1000);
    let first = page(&index, "http://a/1", &[&long]);
    let before = response("http://a/2", &HeaderMap::new(), &[], index.tags(&names(&[&long])), "");
    index.add(&before);
    assert!(first.tags.weight() < 100 && before.tags.weight() < 100, "its text is held once");
    let new = index.tags(&names(&["another"]));
    assert!(new.weight() > 160, "who brings a tag pays for it: {}", new.weight());
}
