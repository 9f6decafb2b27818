//! What a person reads first.

use std::fmt;

use common::config::ByteSize;
use common::listener::Bound;

use crate::config::Config;

/// The facts of a run, taken before its configuration is used up.
#[derive(Debug)]
pub struct Banner {
    application: String,
    preset: String,
    docroot: String,
    php: String,
    memory: ByteSize,
}

impl Banner {
    pub fn of(config: &Config) -> Self {
        let user = if config.account.is_root() { ", as root" } else { "" };
        Self {
            application: config.site.application.to_string(),
            preset: config.preset.clone(),
            docroot: config.site.docroot.display().to_string(),
            php: format!("{} ({}, {} workers{user})", config.php.version, config.php.name(), config.workers),
            memory: config.memory(),
        }
    }

    pub fn with<'a>(
        &'a self,
        site: &'a [Bound],
        tls: &'a [Bound],
        admin: &'a Bound,
    ) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            let Self { application, preset, docroot, php, memory } = self;
            writeln!(f, "Enjambre serves {application} (preset {preset}); Ctrl-C ends it")?;
            for bound in site {
                writeln!(f, "  site     {}", url("http", bound))?;
            }
            for bound in tls {
                writeln!(f, "  site     {}", url("https", bound))?;
            }
            writeln!(f, "  admin    {}", url("http", admin))?;
            writeln!(f, "  docroot  {docroot}")?;
            writeln!(f, "  PHP      {php}")?;
            writeln!(f, "  memory   {memory} for cached answers")
        })
    }
}

/// An address as a browser takes it: one that means every interface is reached as localhost.
fn url(scheme: &str, bound: &Bound) -> String {
    match bound {
        Bound::Tcp(address) if address.ip().is_unspecified() => {
            format!("{scheme}://localhost:{}/", address.port())
        }
        Bound::Tcp(address) => format!("{scheme}://{address}/"),
        Bound::Unix(path) => format!("unix:{}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let cases = [("127.0.0.1:80", "http://127.0.0.1:80/"), ("[::]:8080", "http://localhost:8080/")];
        for (address, expected) in cases {
            let shown = address.parse().map(Bound::Tcp).map(|bound| url("http", &bound));
            assert_eq!(shown, Ok(expected.to_owned()));
        }
    }
}
