//! Debian's Apache as a process, configured as Debian and Drupal's handbook do it for PHP-FPM.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use tempfile::TempDir;
use test_support::process::{Group, free_port, is_root, program};
use test_support::wait::DEADLINE;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant, sleep};

/// Killed on drop.
#[derive(Debug)]
pub(crate) struct Apache {
    address: SocketAddr,
    group: Group,
    _folder: TempDir,
}

/// What Debian enables by itself and what Drupal's .htaccess uses; without mod_deflate, since compression on the
/// fly is no part of a docroot's rules.
const MODULES: &[&str] = &[
    "mpm_event",
    "authn_core",
    "authz_core",
    "authz_host",
    "access_compat",
    "alias",
    "autoindex",
    "dir",
    "env",
    "expires",
    "headers",
    "mime",
    "negotiation",
    "proxy",
    "proxy_fcgi",
    "rewrite",
    "setenvif",
];

impl Apache {
    /// `fastcgi` is PHP-FPM's `HOST:PORT`.
    pub(crate) async fn start(docroot: &Path, fastcgi: &str) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("test-apache-").tempdir()?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let file = folder.path().join("apache2.conf");
        fs::write(&file, configuration(folder.path(), address, docroot, fastcgi)?)?;
        let mut command = Command::new(program(&["apache2"])?);
        command.arg("-f").arg(&file).arg("-DFOREGROUND");
        let mut group = Group::spawn(command, &folder.path().join("log"))?;
        let end = Instant::now() + DEADLINE;
        while TcpStream::connect(address).await.is_err() {
            if let Some(status) = group.exited() {
                anyhow::bail!("apache2 ended with {status}:\n{}", group.log());
            }
            anyhow::ensure!(Instant::now() < end, "apache2 does not accept:\n{}", group.log());
            sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { address, group, _folder: folder })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn log(&self) -> String {
        self.group.log()
    }
}

fn configuration(
    folder: &Path,
    address: SocketAddr,
    docroot: &Path,
    fastcgi: &str,
) -> Result<String, std::fmt::Error> {
    let (folder, docroot) = (folder.display(), docroot.display());
    let mut text = String::new();
    writeln!(text, "DefaultRuntimeDir {folder}\nPidFile {folder}/pid\nErrorLog /dev/stderr\nLogLevel crit")?;
    if is_root() {
        // It refuses to serve as root.
        writeln!(text, "User www-data\nGroup www-data")?;
    }
    for module in MODULES {
        writeln!(text, "Include /etc/apache2/mods-available/{module}.load")?;
    }
    for module in ["dir", "mime", "negotiation", "setenvif"] {
        writeln!(text, "Include /etc/apache2/mods-available/{module}.conf")?;
    }
    // apache2.conf and conf-available/security.conf of Debian.
    writeln!(
        text,
        "Listen {address}\n\
         ServerName server.example\n\
         TraceEnable Off\n\
         Timeout 60\n\
         KeepAlive On\n\
         KeepAliveTimeout 60\n\
         MaxKeepAliveRequests 0\n\
         AccessFileName .htaccess\n\
         <FilesMatch \"^\\.ht\">\n  Require all denied\n</FilesMatch>\n\
         <Directory />\n  Options FollowSymLinks\n  AllowOverride None\n  Require all denied\n</Directory>"
    )?;
    // A virtual host as the handbook shows it, with listings that the docroot's .htaccess has to switch off.
    writeln!(
        text,
        "DocumentRoot \"{docroot}\"\n\
         <Directory \"{docroot}\">\n  \
           Options Indexes FollowSymLinks\n  \
           AllowOverride All\n  \
           Require all granted\n\
         </Directory>"
    )?;
    // conf-available/php*-fpm.conf of Debian.
    writeln!(
        text,
        "ProxyFCGIBackendType FPM\n\
         SetEnvIfNoCase ^Authorization$ \"(.+)\" HTTP_AUTHORIZATION=$1\n\
         <FilesMatch \".+\\.ph(?:ar|p|tml)$\">\n  SetHandler \"proxy:fcgi://{fastcgi}\"\n</FilesMatch>\n\
         <FilesMatch \".+\\.phps$\">\n  Require all denied\n</FilesMatch>\n\
         <FilesMatch \"^\\.ph(?:ar|p|ps|tml)$\">\n  Require all denied\n</FilesMatch>"
    )?;
    Ok(text)
}
