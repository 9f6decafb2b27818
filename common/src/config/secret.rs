use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

/// A value that is not printed: neither by `check` nor in a message or a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What stands in a secret's place.
pub(crate) const HIDDEN: &str = "(not shown)";

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for Secret {
    type Err = Infallible;
    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}
