//! Any order of fetches, look-ups and invalidations, compared with a model that knows nothing of indices and
//! epochs: after an invalidation nothing that it covers is found, and nothing else is lost.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::fetch::Seat;
use crate::fetch::flights::Lead;
use crate::invalidate::expression::Expression;
use crate::invalidate::{Command, Mode};
use crate::policy::vary::Selector;
use crate::store::Lookup;

const URLS: [&str; 6] = [
    "http://a.example/",
    "http://a.example/1",
    "http://a.example/1?x",
    "http://b.example/1",
    "http://b.example/gone",
    "https://a.example/1",
];
const TAGS: [&str; 4] = ["node:1", "node:10", "list", "caf\u{e9}"];
const BANS: [&str; 6] = [
    "host == a.example",
    "path == /1",
    "url ~ ^/1$",
    "header.x-kind == two && host == b.example",
    "status == 410",
    "tag == node:1 && header.x-kind != one",
];

#[derive(Debug, Clone)]
enum Op {
    Begin(Page),
    /// Which of those that have begun.
    End(prop::sample::Index),
    Abandon(prop::sample::Index),
    Purge(What, bool),
    /// The memory of what is gone is given back.
    GiveBack,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Page {
    url: usize,
    variant: usize,
    /// A bit for each of [`TAGS`].
    tags: usize,
    is_two: bool,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Url(usize),
    Tags(usize),
    TagsAnd(usize, usize),
    Ban(usize),
    Everything,
}

struct Begun {
    page: Page,
    lead: Lead,
    /// Whether something has covered it since.
    outdated: bool,
}

/// URL and variant → the body's number, and whether it is stale.
type Model = BTreeMap<(usize, usize), (Page, usize, bool)>;

impl Page {
    fn url(self) -> &'static str {
        URLS[self.url]
    }

    fn tags(self) -> Vec<Box<str>> {
        (0..TAGS.len()).filter(|tag| self.tags >> tag & 1 == 1).map(|tag| TAGS[tag].into()).collect()
    }

    /// The first two URLs do.
    fn varies(self) -> bool {
        self.url < 2
    }

    fn slot(self) -> (usize, usize) {
        (self.url, if self.varies() { self.variant } else { 0 })
    }

    fn selection(self) -> Selector {
        let vary = if self.varies() { headers(&[("vary", "x-variant")]) } else { HeaderMap::new() };
        Selector::of(&request(self.variant), &vary, |_| false)
    }

    fn stored(self, parts: &Parts, body: usize) -> Arc<Stored> {
        let kind = ("x-kind", if self.is_two { "two" } else { "one" });
        let fields: &[_] = if self.varies() { &[kind, ("vary", "x-variant")] } else { &[kind] };
        let tags = parts.tags.tags(&self.tags());
        response(self.url(), &request(self.variant), fields, tags, &body.to_string())
    }
}

impl What {
    fn scope(self) -> Scope {
        match self {
            Self::Url(url) => Scope::Url(vec![key(URLS[url])]),
            Self::Tags(tags) => Scope::Tags(tag_names(tags)),
            Self::TagsAnd(tags, ban) => {
                Scope::TagsAnd(tag_names(tags), Expression::parse(BANS[ban]).unwrap())
            }
            Self::Ban(ban) => Scope::Matching(Expression::parse(BANS[ban]).unwrap()),
            Self::Everything => Scope::Everything,
        }
    }

    fn covers(self, page: Page) -> bool {
        let has = |tag: usize| page.tags >> tag & 1 == 1;
        let url = page.url();
        let is_banned = |ban: usize| match ban {
            0 => url.contains("a.example"),
            1 => url.contains("/1"),
            2 => url.ends_with("/1"),
            3 => page.is_two && url.contains("b.example"),
            4 => url.contains("gone"),
            _ => has(0) && page.is_two,
        };
        match self {
            Self::Url(url) => url == page.url,
            Self::Tags(tags) => tags & page.tags != 0,
            Self::TagsAnd(tags, ban) => tags & page.tags != 0 && is_banned(ban),
            Self::Ban(ban) => is_banned(ban),
            Self::Everything => true,
        }
    }
}

fn tag_names(tags: usize) -> Vec<Box<str>> {
    Page { url: 0, variant: 0, tags, is_two: false }.tags()
}

fn request(variant: usize) -> HeaderMap {
    headers(&[("x-variant", if variant == 0 { "0" } else { "1" })])
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let page = (0..URLS.len(), 0..2_usize, 0..1_usize << TAGS.len(), any::<bool>())
        .prop_map(|(url, variant, tags, is_two)| Page { url, variant, tags, is_two });
    let tags = 1..1_usize << TAGS.len();
    let what = prop_oneof![
        3 => (0..URLS.len()).prop_map(What::Url),
        4 => tags.clone().prop_map(What::Tags),
        1 => (tags, 0..BANS.len()).prop_map(|(tags, ban)| What::TagsAnd(tags, ban)),
        3 => (0..BANS.len()).prop_map(What::Ban),
        1 => Just(What::Everything),
    ];
    let op = prop_oneof![
        8 => page.prop_map(Op::Begin),
        8 => any::<prop::sample::Index>().prop_map(Op::End),
        1 => any::<prop::sample::Index>().prop_map(Op::Abandon),
        4 => (what, any::<bool>()).prop_map(|(what, is_soft)| Op::Purge(what, is_soft)),
        2 => Just(Op::GiveBack),
    ];
    prop::collection::vec(op, 1..120)
}

fn run(ops: &[Op]) -> Result<(), TestCaseError> {
    let parts = Parts::new();
    let mut model = Model::new();
    let mut begun: Vec<Begun> = Vec::new();
    let mut gone: Vec<CacheKey> = Vec::new();
    for (step, op) in ops.iter().enumerate() {
        match op {
            Op::Begin(page) => {
                let selection = page.selection();
                let seat = parts.flights.join(&key(page.url()), selection, &parts.epochs);
                let same = |other: &Begun| other.page.slot() == page.slot() && !other.outdated;
                match seat {
                    Seat::Leader(lead) => begun.push(Begun { page: *page, lead, outdated: false }),
                    Seat::Follower(_) => {
                        // One that only its tags or fields make outdated is not known as such before its head.
                        let same_key = |other: &Begun| other.page.slot() == page.slot();
                        prop_assert!(begun.iter().any(same) || begun.iter().any(same_key));
                    }
                }
            }
            Op::End(index) if !begun.is_empty() => {
                let Begun { page, lead, outdated } = begun.swap_remove(index.index(begun.len()));
                let stored = parts.view().put(&lead, lead.began(), &page.stored(&parts, step), MAX_VARIANTS);
                prop_assert_eq!(stored, !outdated, "a fetch of {:?}", page);
                if stored {
                    model.insert(page.slot(), (page, step, false));
                }
            }
            Op::Abandon(index) if !begun.is_empty() => {
                begun.swap_remove(index.index(begun.len()));
            }
            Op::End(_) | Op::Abandon(_) => {}
            Op::Purge(what, is_soft) => {
                let mode = if *is_soft { Mode::Soft } else { Mode::Hard };
                let taken = parts.view().mark(&Command { scope: what.scope(), mode }, SystemTime::now());
                let mut count = 0;
                for fetch in begun.iter_mut().filter(|fetch| what.covers(fetch.page)) {
                    fetch.outdated = true;
                }
                model.retain(|_, (page, _, is_stale)| {
                    if !what.covers(*page) {
                        return true;
                    }
                    count += usize::from(!(*is_soft && *is_stale));
                    *is_stale = true;
                    *is_soft
                });
                prop_assert_eq!(taken.count, count, "{:?}", what);
                gone.extend(taken.gone);
            }
            Op::GiveBack => gone.drain(..).for_each(|key| parts.store.remove_gone(&key)),
        }
        check(&parts, &model)?;
    }
    Ok(())
}

fn check(parts: &Parts, model: &Model) -> Result<(), TestCaseError> {
    for url in 0..URLS.len() {
        for variant in 0..2 {
            let page = Page { url, variant, tags: 0, is_two: false };
            let found = match parts.store.lookup(&key(page.url()), &request(variant)) {
                Lookup::Found(stored) => {
                    Some((body(&stored) as usize, !stored.freshness().is_fresh(SystemTime::now())))
                }
                _ => None,
            };
            let expected = model.get(&page.slot()).map(|(_, body, is_stale)| (*body, *is_stale));
            prop_assert_eq!(found, expected, "{} variant {}", page.url(), variant);
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn what_is_found_is_what_the_model_has(ops in ops()) {
        run(&ops)?;
    }
}
