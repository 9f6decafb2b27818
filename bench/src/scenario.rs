//! What is compared: the scenarios, with who takes part and what each is asked for.

use crate::contestant::Kind;

pub(crate) const CACHES: &[Kind] =
    &[Kind::EdgeCache, Kind::Varnish, Kind::NginxCache, Kind::Haproxy, Kind::TrafficServer, Kind::Floor];
const REAL_CACHES: &[Kind] =
    &[Kind::EdgeCache, Kind::Varnish, Kind::NginxCache, Kind::Haproxy, Kind::TrafficServer];
const WEB: &[Kind] = &[Kind::WebProxy, Kind::NginxWeb, Kind::Apache];

#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What happens, in a sentence for who reads the results.
    pub(crate) what: &'static str,
    /// Who takes part; ours first.
    pub(crate) kinds: &'static [Kind],
    pub(crate) work: Work,
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// wrk asks for one URL.
    Fixed(Fixed),
    /// A page that the client has.
    Conditional,
    /// Many objects, the n-th of them asked for 1/n as often as the first.
    Zipf,
    /// 10,000 connections.
    Connections,
    /// Each URL once.
    Miss,
    /// A thousand clients, one slow URL.
    Coalesced,
    /// Ten times what PHP-FPM can do.
    Overload,
    /// A tag is purged again and again.
    Purge,
    /// One core and two.
    Cores,
}

impl Work {
    /// The figure that decides who is ahead (`report::FIGURES`).
    pub(crate) const fn primary(self) -> &'static str {
        match self {
            Self::Coalesced => "p99_ms",
            Self::Overload => "goodput",
            _ => "cpu_us",
        }
    }
}

/// One URL, asked for over and over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fixed {
    pub(crate) target: &'static str,
    pub(crate) fields: &'static [&'static str],
    pub(crate) connections: u32,
    pub(crate) status: u16,
    pub(crate) expect: Expect,
    pub(crate) php: bool,
}

/// The body that everybody has to answer with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expect {
    /// What the origin answers for this size.
    Canned(usize),
    /// A file of the document root.
    File(&'static str),
    Text(&'static str),
    /// 1,600 lines of 64 bytes.
    Lines,
    Nothing,
}

const fn hit(target: &'static str, size: usize, connections: u32) -> Work {
    Work::Fixed(Fixed {
        target,
        fields: &[],
        connections,
        status: 200,
        expect: Expect::Canned(size),
        php: false,
    })
}

const fn file(target: &'static str, name: &'static str, connections: u32) -> Work {
    Work::Fixed(Fixed {
        target,
        fields: &[],
        connections,
        status: 200,
        expect: Expect::File(name),
        php: false,
    })
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "hit-1k",
        title: "Cached hit, 1 KiB",
        what: "64 kept connections ask for one cached page of 1 KiB.",
        kinds: CACHES,
        work: hit("/b/1024/page", 1024, 64),
    },
    Scenario {
        name: "hit-16k",
        title: "Cached hit, 16 KiB",
        what: "64 kept connections ask for one cached page of 16 KiB.",
        kinds: CACHES,
        work: hit("/b/16384/page", 16_384, 64),
    },
    Scenario {
        name: "hit-256k",
        title: "Cached hit, 256 KiB",
        what: "16 kept connections ask for one cached picture of 256 KiB.",
        kinds: CACHES,
        work: hit("/b/262144/page", 262_144, 16),
    },
    Scenario {
        name: "hit-304",
        title: "Conditional hit",
        what: "64 kept connections ask for a cached page that they have: If-None-Match, answered 304.",
        kinds: CACHES,
        work: Work::Conditional,
    },
    Scenario {
        name: "hit-million",
        title: "Hits among a million objects",
        what: "1,000 objects and 1,000,000 of 300 bytes, the n-th asked for 1/n as often as the first (Zipf).",
        kinds: REAL_CACHES,
        work: Work::Zipf,
    },
    Scenario {
        name: "hit-10k-connections",
        title: "Hits with 10,000 connections",
        what: "10,000 connections are kept after one request each; 64 others ask for a cached page of 1 KiB.",
        kinds: CACHES,
        work: Work::Connections,
    },
    Scenario {
        name: "miss",
        title: "Miss",
        what: "64 kept connections ask for a page of 1 KiB each time under another URL; the origin is fast.",
        kinds: REAL_CACHES,
        work: Work::Miss,
    },
    Scenario {
        name: "coalesced",
        title: "Coalesced miss",
        what: "1,000 clients ask at once for a page that the origin takes a second for.",
        kinds: REAL_CACHES,
        work: Work::Coalesced,
    },
    Scenario {
        name: "purge-tag",
        title: "Purging a tag during hits",
        what: "64 kept connections ask for 1,000 pages of 1 KiB with ten tags; a tag is purged every 100 ms.",
        kinds: &[Kind::EdgeCache, Kind::Varnish],
        work: Work::Purge,
    },
    Scenario {
        name: "cores",
        title: "One core and two",
        what: "hit-1k with a server on one core and on two.",
        kinds: &[Kind::EdgeCache, Kind::NginxCache],
        work: Work::Cores,
    },
    Scenario {
        name: "static-1k",
        title: "Static file, 1 KiB",
        what: "64 kept connections ask for one file of 1 KiB; Apache and web-proxy with Drupal's rules.",
        kinds: WEB,
        work: file("/sites/default/files/1k.webp", "sites/default/files/1k.webp", 64),
    },
    Scenario {
        name: "static-64k",
        title: "Static file, 64 KiB",
        what: "32 kept connections ask for one file of 64 KiB.",
        kinds: WEB,
        work: file("/sites/default/files/64k.webp", "sites/default/files/64k.webp", 32),
    },
    Scenario {
        name: "static-10m",
        title: "Static file, 10 MiB",
        what: "4 kept connections ask for one file of 10 MiB.",
        kinds: WEB,
        work: file("/sites/default/files/10m.webp", "sites/default/files/10m.webp", 4),
    },
    Scenario {
        name: "static-304",
        title: "Static file, conditional",
        what: "64 kept connections ask for a file that they have: If-Modified-Since, answered 304.",
        kinds: WEB,
        work: Work::Fixed(Fixed {
            target: "/sites/default/files/1k.webp",
            // What `content::docroot` gives every file.
            fields: &["If-Modified-Since: Thu, 01 Jan 2026 00:00:00 GMT"],
            connections: 64,
            status: 304,
            expect: Expect::Nothing,
            php: false,
        }),
    },
    Scenario {
        name: "static-gzip",
        title: "Static file, precompressed",
        what: "64 kept connections that accept gzip ask for a style sheet with its .gz beside it.",
        kinds: WEB,
        work: Work::Fixed(Fixed {
            target: "/sites/default/files/css/css_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG.css",
            fields: &["Accept-Encoding: gzip"],
            connections: 64,
            status: 200,
            expect: Expect::File(
                "sites/default/files/css/css_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG.css.gz",
            ),
            php: false,
        }),
    },
    Scenario {
        name: "php-trivial",
        title: "PHP, trivial page",
        what: "32 kept connections ask for a page that PHP makes of nothing; web-proxy goes through fpm-gateway.",
        kinds: WEB,
        work: Work::Fixed(Fixed {
            target: "/trivial",
            fields: &[],
            connections: 32,
            status: 200,
            expect: Expect::Text("<!doctype html><title>Trivial</title><p>Hello.\n"),
            php: true,
        }),
    },
    Scenario {
        name: "php-100k",
        title: "PHP, 100 KiB page",
        what: "32 kept connections ask for a page of 100 KiB that PHP makes.",
        kinds: WEB,
        work: Work::Fixed(Fixed {
            target: "/large",
            fields: &[],
            connections: 32,
            status: 200,
            expect: Expect::Lines,
            php: true,
        }),
    },
    Scenario {
        name: "overload",
        title: "Overload",
        what: "2,000 visitors a second ask for a page of which PHP-FPM can make 200: each on a connection of its own, patient for 10 s.",
        kinds: WEB,
        work: Work::Overload,
    },
];
