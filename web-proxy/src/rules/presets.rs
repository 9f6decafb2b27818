//! What is known of applications, written as rules.

use common::rules::Source;

/// A named list of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Preset {
    /// Files, PHP scripts, and the front controller for everything else; no dotfiles.
    #[default]
    None,
    /// Drupal: core's .htaccess.
    Drupal,
    /// WordPress: no PHP among the uploads.
    Wordpress,
}

impl Preset {
    pub const fn source(self) -> Source<'static> {
        match self {
            Self::None => Source { name: "preset none", text: include_str!("presets/every-site.toml") },
            Self::Drupal => Source {
                name: "preset drupal",
                text: concat!(include_str!("presets/every-site.toml"), include_str!("presets/drupal.toml")),
            },
            Self::Wordpress => Source {
                name: "preset wordpress",
                text: concat!(
                    include_str!("presets/every-site.toml"),
                    include_str!("presets/wordpress.toml")
                ),
            },
        }
    }
}
