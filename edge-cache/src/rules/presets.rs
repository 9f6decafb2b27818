//! What is known of applications, written as rules.

use common::rules::Source;

/// A named list of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Preset {
    /// HTTP only: cookies are passed on, and `Vary: Cookie` is taken at its word.
    #[default]
    None,
    /// Drupal: sessions and administration pass; other cookies and tracking parameters are removed.
    Drupal,
    /// WordPress: logins, comments and shops pass; other cookies and tracking parameters are removed.
    Wordpress,
}

impl Preset {
    pub const fn source(self) -> Option<Source<'static>> {
        match self {
            Self::None => None,
            Self::Drupal => Some(Source { name: "preset drupal", text: include_str!("presets/drupal.toml") }),
            Self::Wordpress => {
                Some(Source { name: "preset wordpress", text: include_str!("presets/wordpress.toml") })
            }
        }
    }
}
