//! Whether an answer may be one to what was asked.

use std::sync::atomic::Ordering;

use test_support::client::Response;

use crate::clients::Tally;
use crate::pages::{self, Pages};

/// What was asked for, as far as the answer depends on it.
pub(crate) struct Asked {
    pub(crate) number: usize,
    pub(crate) method: &'static str,
    pub(crate) variant: &'static str,
    pub(crate) range: Option<Range>,
    pub(crate) fields: Vec<(&'static str, String)>,
    /// Nothing older may come, and nothing older but a stale answer.
    pub(crate) hard: u64,
    pub(crate) soft: u64,
}

#[derive(Clone, Copy)]
pub(crate) enum Range {
    From(u64, u64),
    Last(u64),
}

impl Asked {
    /// What is wrong with an answer.
    pub(crate) fn check(&self, pages: &Pages, tally: &Tally, answer: &Response) -> Result<(), String> {
        let number = |name: &str| answer.header(name).and_then(|value| value.parse::<u64>().ok());
        match answer.status {
            200 | 206 => {}
            304 => {
                let etag = answer.header("etag").ok_or("a 304 without ETag")?;
                let version = etag.split('-').nth(1).and_then(|version| version.parse().ok());
                return self.check_version(pages, answer, version.ok_or("a strange ETag")?);
            }
            416 => return self.check_unsatisfiable(answer),
            // The origin's fault: it is said, and nothing of it is a page.
            500 | 502 | 503 | 504 => return Ok(()),
            status => return Err(format!("status {status}")),
        }
        let version = number("x-version").ok_or("no version")?;
        self.check_version(pages, answer, version)?;
        let variant = if pages::varies(self.number) { self.variant } else { "" };
        if answer.header("x-variant-sent") != Some(variant) {
            return Err("another variant".into());
        }
        let seed = pages::seed(&pages::path(self.number), version, variant);
        if answer.header("x-seed") != Some(&format!("{seed:x}")) {
            return Err("another page".into());
        }
        let length = pages::length(self.number, version);
        if number("x-length") != Some(length) {
            return Err("another length".into());
        }
        if self.method == "HEAD" {
            tally.count("head");
            return if answer.body.is_empty() { Ok(()) } else { Err("a HEAD with a body".into()) };
        }
        let body = match answer.header("content-encoding") {
            Some("gzip") => {
                tally.count("gzip");
                pages::gunzip(&answer.body)
            }
            None => answer.body.clone(),
            Some(other) => return Err(format!("coding {other}")),
        };
        let (start, expected) = match answer.header("content-range") {
            Some(range) if answer.status == 206 => self.check_range(range, length)?,
            None if answer.status == 200 => (0, length),
            _ => return Err("Content-Range and status disagree".into()),
        };
        if !answer.is_complete() {
            tally.count("truncated");
        } else if body.len() as u64 != expected {
            return Err(format!("{} bytes of {expected}", body.len()));
        }
        if body != pages::bytes(seed, start, (body.len() as u64).min(expected)) {
            return Err("wrong bytes".into());
        }
        Ok(())
    }

    fn check_version(&self, pages: &Pages, answer: &Response, version: u64) -> Result<(), String> {
        let newest = pages.page(self.number).version.load(Ordering::SeqCst);
        let is_stale = answer.header("x-cache") == Some("STALE");
        if version > newest {
            return Err(format!("version {version} is not published: {newest} is"));
        }
        if version < self.hard {
            return Err(format!("version {version} after a purge of {}", self.hard));
        }
        if version < self.soft && !is_stale {
            return Err(format!("version {version} after a soft purge of {}, and it is not said", self.soft));
        }
        Ok(())
    }

    /// The range of a 206: the one asked for, as far as the page reaches.
    fn check_range(&self, answered: &str, length: u64) -> Result<(u64, u64), String> {
        let (first, last) = match self.range {
            Some(Range::From(first, last)) => (first, last.min(length.saturating_sub(1))),
            Some(Range::Last(count)) => (length.saturating_sub(count), length.saturating_sub(1)),
            None => return Err("a 206 that nobody asked for".into()),
        };
        if answered != format!("bytes {first}-{last}/{length}")
            && answered != format!("bytes {first}-{last}/*")
        {
            return Err(format!("{answered} for {first}-{last} of {length}"));
        }
        Ok((first, last + 1 - first))
    }

    fn check_unsatisfiable(&self, answer: &Response) -> Result<(), String> {
        let length: u64 = answer
            .header("content-range")
            .and_then(|range| range.strip_prefix("bytes */")?.parse().ok())
            .ok_or("a 416 without a length")?;
        // The longest that any version is.
        if length > pages::length(self.number, 18) {
            return Err(format!("a length of {length}"));
        }
        match self.range {
            Some(Range::From(first, _)) if first >= length => Ok(()),
            Some(Range::Last(_)) if length == 0 => Ok(()),
            _ => Err(format!("a range of a page of {length} bytes refused")),
        }
    }
}
