//! nginx and Apache as processes, with the directives that their handbooks show for PHP-FPM.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use test_support::process::{Group, free_port, is_root, program};
use test_support::wait::DEADLINE;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

/// Killed on drop.
pub(crate) struct WebServer {
    pub(crate) name: &'static str,
    address: SocketAddr,
    group: Group,
    _folder: TempDir,
}

/// What the web server does with its connections to FastCGI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Connections {
    /// One for each request, which is the default of both.
    Each,
    Kept,
}

impl WebServer {
    pub(crate) async fn nginx(docroot: &Path, fastcgi: &str, connections: Connections) -> Self {
        let name = match connections {
            Connections::Each => "nginx",
            Connections::Kept => "nginx, keepalive",
        };
        Self::start(name, |folder, address| {
            let file = folder.join("nginx.conf");
            fs::write(&file, nginx(folder, address, docroot, fastcgi, connections).unwrap()).unwrap();
            let mut command = Command::new(program(&["nginx"]).unwrap());
            command.arg("-e").arg("stderr").arg("-p").arg(folder).arg("-c").arg(&file);
            command
        })
        .await
    }

    pub(crate) async fn apache(docroot: &Path, fastcgi: &str, connections: Connections) -> Self {
        let name = match connections {
            Connections::Each => "Apache",
            Connections::Kept => "Apache, enablereuse",
        };
        Self::start(name, |folder, address| {
            let file = folder.join("apache2.conf");
            fs::write(&file, apache(folder, address, docroot, fastcgi, connections).unwrap()).unwrap();
            let mut command = Command::new(program(&["apache2"]).unwrap());
            command.arg("-f").arg(&file).arg("-DFOREGROUND");
            command
        })
        .await
    }

    async fn start(name: &'static str, prepare: impl FnOnce(&Path, SocketAddr) -> Command) -> Self {
        let folder = tempfile::Builder::new().prefix("test-web-server-").tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port().unwrap()));
        let command = prepare(folder.path(), address);
        let group = Group::spawn(command, &folder.path().join("log")).unwrap();
        let mut server = Self { name, address, group, _folder: folder };
        let end = Instant::now() + DEADLINE;
        while TcpStream::connect(address).await.is_err() {
            assert!(server.group.exited().is_none(), "{name} has ended:\n{}", server.log());
            assert!(Instant::now() < end, "{name} does not accept:\n{}", server.log());
            sleep(Duration::from_millis(10)).await;
        }
        server
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn log(&self) -> String {
        self.group.log()
    }
}

/// The lines about FastCGI are those of nginx' own documentation. fastcgi_params is the file of the package.
fn nginx(
    folder: &Path,
    address: SocketAddr,
    docroot: &Path,
    fastcgi: &str,
    connections: Connections,
) -> Result<String, std::fmt::Error> {
    let (folder, docroot) = (folder.display(), docroot.display());
    let mut text = String::new();
    if is_root() {
        writeln!(text, "user root;")?;
    }
    writeln!(
        text,
        "daemon off;\npid {folder}/pid;\nerror_log stderr error;\nworker_processes 1;\n\
         events {{ worker_connections 2048; }}\n\
         http {{\n\
         access_log off;\n\
         client_max_body_size 64m;"
    )?;
    for kind in ["client_body", "fastcgi", "proxy", "scgi", "uwsgi"] {
        writeln!(text, "{kind}_temp_path {folder}/{kind};")?;
    }
    let kept = connections == Connections::Kept;
    let upstream = if kept {
        writeln!(text, "upstream gateway {{ server {fastcgi}; keepalive 16; }}")?;
        "gateway"
    } else {
        fastcgi
    };
    writeln!(
        text,
        "server {{\n\
         listen {address};\n\
         root {docroot};\n\
         location ~ \\.php$ {{\n\
         include /etc/nginx/fastcgi_params;\n\
         fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;\n\
         fastcgi_pass {upstream};\n\
         {}\n\
         # nginx' own bound on a response's head is 4 KiB.\n\
         fastcgi_buffer_size 32k;\n\
         fastcgi_buffers 8 32k;\n\
         }}\n}}\n}}",
        if kept { "fastcgi_keep_conn on;" } else { "" }
    )?;
    Ok(text)
}

const MODULES: &[&str] =
    &["mpm_event", "authz_core", "authz_host", "dir", "env", "mime", "proxy", "proxy_fcgi", "setenvif"];

/// As Debian's conf-available/php*-fpm.conf has it.
fn apache(
    folder: &Path,
    address: SocketAddr,
    docroot: &Path,
    fastcgi: &str,
    connections: Connections,
) -> Result<String, std::fmt::Error> {
    let (folder, docroot) = (folder.display(), docroot.display());
    let mut text = String::new();
    writeln!(text, "DefaultRuntimeDir {folder}\nPidFile {folder}/pid\nErrorLog /dev/stderr\nLogLevel crit")?;
    if is_root() {
        writeln!(text, "User www-data\nGroup www-data")?;
    }
    for module in MODULES {
        writeln!(text, "Include /etc/apache2/mods-available/{module}.load")?;
    }
    writeln!(
        text,
        "Listen {address}\n\
         ServerName server.example\n\
         TypesConfig /etc/mime.types\n\
         <Directory />\n  AllowOverride None\n</Directory>\n\
         DocumentRoot \"{docroot}\"\n\
         <Directory \"{docroot}\">\n  Require all granted\n</Directory>\n\
         <FilesMatch \".+\\.ph(?:ar|p|tml)$\">\n  SetHandler \"proxy:fcgi://{fastcgi}\"\n</FilesMatch>"
    )?;
    if connections == Connections::Kept {
        writeln!(text, "<Proxy \"fcgi://{fastcgi}/\" enablereuse=on max=10>\n</Proxy>")?;
    }
    Ok(text)
}
