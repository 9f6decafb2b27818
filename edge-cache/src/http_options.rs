//! How the cache shows itself in HTTP: which directives are meant for it, and what it says of its work.

use clap::Args;
use http::HeaderName;
use sfv::Token;

#[derive(Debug, Clone, Args)]
pub struct HttpOptions {
    /// Response fields whose directives are for this cache, in order (RFC 9213); the first that is valid replaces
    /// Cache-Control and Expires here.
    #[arg(long, value_name = "NAME", default_value = "CDN-Cache-Control", value_delimiter = ',', value_parser = target)]
    pub targets: Vec<HeaderName>,
    /// The cache's name in Cache-Status.
    #[arg(long, value_name = "NAME", default_value = "edge-cache", value_parser = token)]
    pub cache_status_name: Token,
    /// Say in Cache-Status under which key a response was looked up.
    #[arg(long)]
    pub cache_status_key: bool,
}

fn target(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| "expected the name of a response field, such as CDN-Cache-Control".into())
}

fn token(text: &str) -> Result<Token, String> {
    Token::try_from(text.to_owned()).map_err(|_| {
        "expected a token: a letter or * first, then letters, digits and any of !#$%&'*+-.^_`|~:/".into()
    })
}
