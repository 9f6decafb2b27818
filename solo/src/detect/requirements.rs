//! What an application needs of PHP, and whether a PHP has it: pure.

use crate::php::Installation;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requirements {
    /// The least version.
    pub php: Option<String>,
    /// Extensions, as Composer names them without their `ext-`.
    pub extensions: Vec<String>,
    /// At least one of these, if there are any: drivers of databases.
    pub any_of: Vec<String>,
    /// The least `memory_limit`, in PHP's notation.
    pub memory: Option<String>,
}

/// The first thing that is missing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Missing {
    #[error("needs PHP {needed} or newer, and {program} is {found}")]
    Version { needed: String, found: String, program: String },
    #[error("needs the PHP extension{} {}, which {program} does not have; on Debian: apt-get install {}", plural(.names), .names.join(", "), packages(.names, .version))]
    Extensions { names: Vec<String>, program: String, version: String },
    #[error("needs one of the PHP extensions {}, and {program} has none; on Debian: apt-get install {}", .names.join(", "), packages(&.names[..1], .version))]
    AnyOf { names: Vec<String>, program: String, version: String },
}

impl Requirements {
    /// Drupal's own list, for a tree without `core/composer.json`.
    pub(super) fn of_drupal() -> Self {
        let extensions = [
            "date",
            "dom",
            "filter",
            "gd",
            "hash",
            "json",
            "pcre",
            "pdo",
            "session",
            "simplexml",
            "spl",
            "tokenizer",
            "xml",
        ];
        Self { extensions: extensions.map(str::to_owned).to_vec(), ..Self::default() }
    }

    pub fn check(&self, php: &Installation) -> Result<(), Missing> {
        let program = php.name();
        let version = php.short_version();
        if let Some(needed) = self.php.as_ref().filter(|needed| numbers(needed) > numbers(&php.version)) {
            return Err(Missing::Version { needed: needed.clone(), found: php.version.clone(), program });
        }
        let names: Vec<String> = self.extensions.iter().filter(|name| !php.has(name)).cloned().collect();
        if !names.is_empty() {
            return Err(Missing::Extensions { names, program, version });
        }
        if !self.any_of.is_empty() && !self.any_of.iter().any(|name| php.has(name)) {
            return Err(Missing::AnyOf { names: self.any_of.clone(), program, version });
        }
        Ok(())
    }
}

/// `8.10.1-dev` is [8, 10, 1].
fn numbers(version: &str) -> Vec<u32> {
    version
        .split('.')
        .map_while(|part| part.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
        .collect()
}

/// Debian's packages of some extensions: one package holds several.
fn packages(names: &[String], version: &str) -> String {
    let mut packages: Vec<String> = names
        .iter()
        .map(|name| match name.to_ascii_lowercase().as_str() {
            "dom" | "simplexml" | "xml" | "xmlreader" | "xmlwriter" | "xsl" => format!("php{version}-xml"),
            "mysqli" | "pdo_mysql" | "mysqlnd" => format!("php{version}-mysql"),
            "sqlite3" | "pdo_sqlite" => format!("php{version}-sqlite3"),
            "pgsql" | "pdo_pgsql" => format!("php{version}-pgsql"),
            "zend-opcache" => format!("php{version}-opcache"),
            // These have no version of their own there.
            "memcached" | "redis" | "apcu" | "imagick" => format!("php-{name}"),
            other => format!("php{version}-{other}"),
        })
        .collect();
    packages.sort();
    packages.dedup();
    packages.join(" ")
}

fn plural(names: &[String]) -> &'static str {
    if names.len() == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn php(modules: &[&str]) -> Installation {
        Installation::new("/usr/sbin/php-fpm8.2".into(), "8.2.36".into(), modules.iter().copied())
    }

    #[test]
    fn what_is_missing_is_said_in_one_sentence() {
        let drupal = Requirements {
            php: Some("8.1.0".into()),
            extensions: vec!["gd".into(), "dom".into(), "SimpleXML".into(), "PDO".into()],
            any_of: vec!["pdo_sqlite".into(), "pdo_mysql".into()],
            memory: None,
        };
        let said = |modules: &[&str]| drupal.check(&php(modules)).map_err(|missing| missing.to_string());
        assert_eq!(said(&["gd", "dom", "simplexml", "PDO", "pdo_mysql"]), Ok(()));
        assert_eq!(
            said(&["PDO", "gd"]),
            Err("needs the PHP extensions dom, SimpleXML, which php-fpm8.2 does not have; \
                 on Debian: apt-get install php8.2-xml"
                .into())
        );
        assert_eq!(
            said(&["gd", "dom", "simplexml", "PDO"]),
            Err("needs one of the PHP extensions pdo_sqlite, pdo_mysql, and php-fpm8.2 has none; \
                 on Debian: apt-get install php8.2-sqlite3"
                .into())
        );
        let newer = Requirements { php: Some("8.10".into()), ..Requirements::default() };
        assert_eq!(
            newer.check(&php(&[])).map_err(|missing| missing.to_string()),
            Err("needs PHP 8.10 or newer, and php-fpm8.2 is 8.2.36".into())
        );
    }

    #[test]
    fn versions_compare_by_number() {
        for (older, newer) in
            [("8.2", "8.10"), ("8.2.9", "8.2.36"), ("8.2", "8.2.1"), ("7.4.33", "8.0.0-dev")]
        {
            assert!(numbers(older) < numbers(newer), "{older} < {newer}");
        }
    }
}
