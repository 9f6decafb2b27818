//! What this proxy would do: the rules, asked with paths that a directive is about.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use common::rules::{Place, Subject};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};

use crate::config::{Config, FrontController};
use crate::docroot::is_script;
use crate::error::ErrorPages;
use crate::respond::Compress;
use crate::route::path::{encoded, split};
use crate::rules::{Decision, MappedTo, Orders, Rules};
use crate::static_files::{Settings, is_source};

/// What is configured, as far as an .htaccess could say it too.
#[derive(Debug)]
pub struct InForce<'c> {
    rules: &'c Arc<Rules>,
    index: &'c [String],
    front_controller: &'c FrontController,
    files: &'c Settings,
    compress: &'c Compress,
    error_pages: &'c ErrorPages,
    headers: HeaderMap,
}

/// What there is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum There {
    File,
    Nothing,
}

/// What happens to a request.
#[derive(Debug)]
pub(super) struct Fate<'c> {
    orders: Orders<'c>,
    files: &'c Settings,
    decision: Option<(&'c str, &'c Decision)>,
    path: String,
    is_guarded: bool,
}

/// A stranger: a rule that lets somebody in by address is not what an .htaccess says to everybody.
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

impl<'c> InForce<'c> {
    pub fn of(config: &'c Config) -> Self {
        Self {
            rules: &config.rules,
            index: &config.index,
            front_controller: &config.front_controller,
            files: &config.files,
            compress: &config.compress,
            error_pages: &config.error_pages,
            headers: HeaderMap::new(),
        }
    }

    /// Whether what lies compressed with gzip beside a file is sent in its place.
    pub(super) fn sends_gzip(&self) -> bool {
        self.files.sends_gzip()
    }

    /// Whether responses are compressed on their way.
    pub(super) const fn compresses(&self) -> bool {
        !self.compress.codings.is_empty()
    }

    /// Whether the operator has a page of their own for this status.
    pub(super) fn has_page(&self, status: StatusCode) -> bool {
        self.error_pages.of(status).is_some()
    }

    pub(super) const fn index(&self) -> &[String] {
        self.index
    }

    /// `path` is decoded and begins with a slash.
    pub(super) fn fate(&self, path: &str, there: There) -> Fate<'c> {
        let name = path.rsplit('/').next().unwrap_or_default();
        let mapped = match there {
            There::File => MappedTo::File(name.as_bytes()),
            There::Nothing => MappedTo::Nothing(name.as_bytes()),
        };
        self.mapped(path, mapped)
    }

    /// A script with a PATH_INFO behind it.
    pub(super) fn fate_of_script(&self, script: &str, path_info: &str) -> Fate<'c> {
        let name = script.rsplit('/').next().unwrap_or_default();
        self.mapped(&format!("{script}{path_info}"), MappedTo::File(name.as_bytes()))
    }

    fn mapped(&self, path: &str, mapped: MappedTo<'_>) -> Fate<'c> {
        let subject = Subject {
            method: &Method::GET,
            scheme: "http",
            host: "",
            path: path.as_bytes(),
            query: "",
            headers: &self.headers,
            client: STRANGER,
        };
        let mut orders = Orders::default();
        let decision = self.rules.apply(&subject, mapped, &mut orders);
        let is_guarded =
            matches!(mapped, MappedTo::File(name) if !is_script(name_of(name)) && is_source(name));
        Fate {
            decision: decision.map(|(rule, decision)| (&*rule.name, decision)),
            orders,
            files: self.files,
            path: path.to_owned(),
            is_guarded,
        }
    }

    /// The script for what is not there, in `directory`.
    pub(super) fn front_controller(&self, directory: &str) -> Option<String> {
        let fate = self.fate(&format!("{directory}/nothing-there"), There::Nothing);
        if fate.decision.is_some() {
            return None;
        }
        let FrontController(path) = fate.orders.front_controller().unwrap_or(self.front_controller);
        path.as_ref().map(|path| String::from_utf8_lossy(path.as_bytes()).into_owned())
    }
}

fn name_of(name: &[u8]) -> &std::path::Path {
    use std::os::unix::ffi::OsStrExt as _;
    std::path::Path::new(std::ffi::OsStr::from_bytes(name))
}

impl<'c> Fate<'c> {
    /// What denies it, if anything does.
    pub(super) fn denied_by(&self) -> Option<&'c str> {
        match self.decision {
            Some((rule, Decision::Deny(_))) => Some(rule),
            _ if self.is_guarded => Some("sources are never sent"),
            _ => None,
        }
    }

    /// The rule that redirects it, and where to.
    pub(super) fn redirected(&self) -> Option<(&'c str, StatusCode, String)> {
        let Some((rule, Decision::Redirect(status, template))) = self.decision else { return None };
        let (directory, name) = split(self.path.as_bytes());
        let location = template.location(|place, out| match place {
            Place::Path | Place::Target => out.write_str(&encoded(self.path.as_bytes())),
            Place::Directory => out.write_str(&encoded(directory)),
            Place::Name => out.write_str(&encoded(name)),
            Place::Scheme => out.write_str("http"),
            Place::Host => out.write_str("host"),
            Place::Client | Place::Query | Place::QueryPart => Ok(()),
        });
        Some((rule, *status, location))
    }

    pub(super) fn expires(&self) -> Option<Duration> {
        self.orders.expires()
    }

    /// What is put in front of a script's query.
    pub(super) fn query(&self) -> Option<&'c str> {
        self.orders.query()
    }

    /// A file's type, without parameters.
    pub(super) fn media_type(&self) -> String {
        let by_rule = self.orders.media_type().cloned();
        let value = by_rule.unwrap_or_else(|| self.files.kind_of(self.path.as_bytes()).0);
        let text = value.to_str().unwrap_or_default();
        text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    pub(super) fn coding(&self) -> Option<HeaderValue> {
        self.orders.coding().cloned().or_else(|| self.files.kind_of(self.path.as_bytes()).1)
    }

    /// What a field is after the rules have edited it, which the application has sent with `before`.
    pub(super) fn field(&self, name: &HeaderName, before: Option<&HeaderValue>) -> Option<HeaderValue> {
        let mut headers = HeaderMap::new();
        if let Some(before) = before {
            headers.insert(name, before.clone());
        }
        self.orders.edits().for_each(|edits| edits.of_response(&mut headers));
        headers.remove(name)
    }
}
