use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use super::Account;

/// PHP-FPM's configuration: one pool for one site.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Our private folder; the socket and PHP's temporary files are in it.
    pub folder: PathBuf,
    pub account: Account,
    /// Workers, all of them from the start: what the gateway may count on.
    pub workers: u32,
    /// How long requests may go on after SIGQUIT.
    pub grace: Duration,
    /// Settings such as `memory_limit`, which a site's own `.user.ini` may change.
    pub settings: Vec<PhpSetting>,
}

/// One `name = value` of php.ini.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PhpSetting {
    pub name: String,
    pub value: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected NAME=VALUE, such as memory_limit=512M")]
pub struct SettingError;

impl Pool {
    pub fn socket(&self) -> PathBuf {
        self.folder.join("php.sock")
    }

    pub fn temporary(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    /// The file that `php-fpm --fpm-config` reads.
    pub fn render(&self) -> String {
        let mut file = String::from("[global]\ndaemonize = no\nlog_level = warning\nlog_limit = 16384\n");
        let mut line = |text: std::fmt::Arguments<'_>| {
            // Writing to a String cannot fail.
            let _ = file.write_fmt(text);
            file.push('\n');
        };
        // Opened in any case, though what there is to say goes to standard error (`--force-stderr`).
        line(format_args!("error_log = {}", quote(&self.folder.join("php-fpm.log"))));
        line(format_args!("process_control_timeout = {}s", self.grace.as_secs().max(1)));
        line(format_args!("[php]"));
        line(format_args!("listen = {}", quote(&self.socket())));
        line(format_args!("listen.mode = 0600"));
        line(format_args!("listen.backlog = 511"));
        if let Account::Owner { user, group } = self.account {
            line(format_args!("user = {user}\ngroup = {group}"));
        }
        line(format_args!("pm = static\npm.max_children = {}", self.workers));
        // The site is configured through the environment that we were started with.
        line(format_args!("clear_env = no"));
        line(format_args!("catch_workers_output = yes\ndecorate_workers_output = no"));
        line(format_args!("security.limit_extensions = .php"));
        for name in ["sys_temp_dir", "upload_tmp_dir"] {
            line(format_args!("php_admin_value[{name}] = {}", quote(&self.temporary())));
        }
        line(format_args!("php_admin_flag[log_errors] = on"));
        for PhpSetting { name, value } in &self.settings {
            line(format_args!("php_value[{name}] = \"{value}\""));
        }
        file
    }
}

fn quote(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

impl PhpSetting {
    pub fn new(name: &str, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }
}

impl FromStr for PhpSetting {
    type Err = SettingError;
    fn from_str(text: &str) -> Result<Self, SettingError> {
        let (name, value) = text.split_once('=').ok_or(SettingError)?;
        let (name, value) = (name.trim(), value.trim());
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        // Neither may end its line or its quotes in the file that we write.
        if name.is_empty() || !name.bytes().all(plain) || value.contains(['"', '\n', '\r', '\0', '\\']) {
            return Err(SettingError);
        }
        Ok(Self::new(name, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(account: Account) -> String {
        Pool {
            folder: "/tmp/enjambre-x".into(),
            account,
            workers: 7,
            grace: Duration::from_secs(30),
            settings: vec![PhpSetting::new("memory_limit", "256M")],
        }
        .render()
    }

    #[test]
    fn one_pool_on_a_private_socket() {
        let file = pool(Account::Ours);
        for line in [
            "listen = \"/tmp/enjambre-x/php.sock\"",
            "pm.max_children = 7",
            "error_log = \"/tmp/enjambre-x/php-fpm.log\"",
            "process_control_timeout = 30s",
            "php_admin_value[upload_tmp_dir] = \"/tmp/enjambre-x/tmp\"",
            "php_value[memory_limit] = \"256M\"",
        ] {
            assert!(file.lines().any(|found| found == line), "{line} in\n{file}");
        }
        assert!(!file.contains("user ="), "{file}");
    }

    #[test]
    fn root_gives_its_rights_up() {
        let file = pool(Account::Owner { user: 1000, group: 100 });
        assert!(file.contains("\nuser = 1000\ngroup = 100\n"), "{file}");
    }

    #[test]
    fn settings() {
        assert_eq!("memory_limit=1G".parse(), Ok(PhpSetting::new("memory_limit", "1G")));
        assert_eq!(
            "date.timezone = Europe/Berlin".parse(),
            Ok(PhpSetting::new("date.timezone", "Europe/Berlin"))
        );
        for bad in ["", "x", "=1", "a b=1", "a]=1", "a=\"", "a=1\nb=2"] {
            assert_eq!(bad.parse::<PhpSetting>(), Err(SettingError), "{bad:?}");
        }
    }
}
