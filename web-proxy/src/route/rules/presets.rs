//! The tables: what every site needs, and what the stock .htaccess files of known applications say.

use std::time::Duration;

use super::{Action, Found, PatternError, RuleSource, Rules};

/// A named set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Preset {
    /// Files, PHP scripts, and the front controller for everything else.
    #[default]
    None,
    /// Drupal: core's .htaccess.
    Drupal,
    /// WordPress: no PHP among the uploads.
    Wordpress,
}

/// What a preset amounts to.
#[derive(Debug)]
pub struct Profile {
    pub rules: Rules,
    /// How long files may be kept by browsers and caches (mod_expires).
    pub expires: Option<Duration>,
    /// PHP's responses get `X-Content-Type-Options: nosniff` too; files always do.
    pub nosniff_php: bool,
}

const YEAR: Duration = Duration::from_hours(365 * 24);

const RULE: RuleSource =
    RuleSource { name: "", path: &[], unless: &[], file: &[], found: Found::Anything, then: Action::Deny };

/// Version control, editors' and administrators' files.
pub(super) const EVERY_SITE: &[RuleSource] = &[
    // RFC 8615 gives /.well-known/ to everybody.
    RuleSource { name: "dotfile", path: &["/.**"], unless: &["/.well-known/**"], ..RULE },
    RuleSource { name: "dotfile", path: &["/?**/.**"], ..RULE },
];

/// web/.htaccess of Drupal 10 and 11, in its order where the order matters.
pub(super) const DRUPAL: &[RuleSource] = &[
    RuleSource {
        name: "source-file",
        file: &[
            "*.{engine,inc,install,make,module,profile,po,sh,*sql,theme,twig,tpl,tpl.php,xtmpl,yml}{,~,.swo,.swp,.bak,.orig,.save}",
            "{Entries*,Repository,Root,Tag,Template,composer.json,composer.lock,web.config,yarn.lock,package.json}",
            "#*#",
            "*.php{~,.swo,.swp,.bak,.orig,.save}",
        ],
        ..RULE
    },
    // Their own .htaccess files deny everything; a docroot without them is no less private.
    RuleSource {
        name: "private-directory",
        path: &["/vendor/**", "/sites/*/private/**", "/sites/*/files/{php,config_*}/**"],
        ..RULE
    },
    // Nor may what visitors upload run, wherever the exceptions of the rules below would let it
    // (SA-CORE-2006-006: another .htaccess of Drupal's).
    RuleSource {
        name: "php-not-allowed",
        path: &["**/sites/*/{files,private}/**.php", "**/sites/*/{files,private}/**.php/**"],
        found: Found::File,
        ..RULE
    },
    RuleSource {
        name: "moved-to-core",
        path: &["**/install.php", "**/rebuild.php"],
        unless: &["**core**"],
        then: Action::Redirect("{directory}/core/{name}"),
        ..RULE
    },
    RuleSource {
        name: "php-not-allowed",
        path: &["/?**/**.php", "/?**/**.php/**", "/autoload.php", "/autoload.php/**"],
        unless: &[
            "**/core/*.php",
            "**/core/modules/system/tests/{http,https}.php**",
            "**/core/modules/statistics/statistics.php",
        ],
        found: Found::File,
        ..RULE
    },
    // The installer wants to know that clean URLs work.
    RuleSource {
        name: "installer",
        path: &["/core/install.php**"],
        found: Found::File,
        then: Action::Query("rewrite=ok"),
        ..RULE
    },
    // Browsers ask for it unasked: not worth a PHP worker.
    RuleSource {
        name: "no-favicon",
        path: &["/favicon.ico"],
        found: Found::Nothing,
        then: Action::NotFound,
        ..RULE
    },
];

/// WordPress' own .htaccess only makes clean URLs; this is what its hardening guide adds.
pub(super) const WORDPRESS: &[RuleSource] = &[RuleSource {
    name: "php-not-allowed",
    path: &[
        "**/wp-content/{uploads,files,blogs.dir}/**.php",
        "**/wp-content/{uploads,files,blogs.dir}/**.php/**",
    ],
    found: Found::File,
    ..RULE
}];

impl Preset {
    pub fn profile(self) -> Result<Profile, PatternError> {
        let (own, expires, nosniff_php): (&[RuleSource], _, _) = match self {
            Self::None => (&[], None, false),
            Self::Drupal => (DRUPAL, Some(YEAR), true),
            Self::Wordpress => (WORDPRESS, None, false),
        };
        let rules = Rules::compile(EVERY_SITE.iter().chain(own).copied())?;
        Ok(Profile { rules, expires, nosniff_php })
    }
}
