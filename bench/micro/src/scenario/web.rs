//! web-proxy with a docroot, alone and with fpm-gateway behind it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use common::shutdown::Shutdown;
use common::telemetry::Registry;
use tempfile::TempDir;

use super::fastcgi_app::FastCgiApp;
use super::{Stage, request, tcp};
use crate::client::Exchange;

const LOGO: &str = "themes/site/logo.png";
/// More than the time for which web-proxy waits before it keeps a file.
const SETTLED: Duration = Duration::from_secs(4);

/// An image of 1 KiB, in memory.
pub(super) async fn static_file() -> anyhow::Result<Stage> {
    let exchange = Exchange {
        request: request("GET /themes/site/logo.png", ""),
        status: "HTTP/1.1 200 ",
        mark: "\r\ncontent-length: 1024",
        bodiless: false,
    };
    // Nobody is there: no script is run.
    let (service, folder) = bind("127.0.0.1:1").await?;
    let address = tcp(&service.bound())?;
    tokio::spawn(service.run());
    // What has changed just now is not kept in memory: its inode has, whatever its time says.
    let changed = folder.path().join(LOGO).metadata()?.ctime();
    while SystemTime::now() < SystemTime::UNIX_EPOCH + Duration::from_secs(changed.try_into()?) + SETTLED {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(Stage { address, exchanges: vec![exchange], behind: None, passes: false, _folder: Some(folder) })
}

/// A page through the front controller.
pub(super) async fn php() -> anyhow::Result<Stage> {
    let app = FastCgiApp::start().await?;
    let upstream = app.address.to_string();
    let flags = ["--listen=127.0.0.1:0", "--upstream", &upstream];
    let config = fpm_gateway::Config::from_flags(flags)?;
    let shutdown = Shutdown::new(Duration::from_secs(1));
    let gateway = fpm_gateway::bind(config, &mut Registry::default(), &shutdown).await?;
    let fastcgi = tcp(&gateway.bound())?.to_string();
    tokio::spawn(gateway.run());

    let (service, folder) = bind(&fastcgi).await?;
    let address = tcp(&service.bound())?;
    tokio::spawn(service.run());
    let exchange = Exchange {
        request: request("GET /node/1?page=2", "Cookie: SESSabcdef=0123456789\r\n"),
        status: "HTTP/1.1 200 ",
        mark: "\r\nx-powered-by: PHP/",
        bodiless: false,
    };
    let requests = app.requests;
    let behind = Some(Box::new(move || requests.load(Ordering::Relaxed)) as Box<dyn Fn() -> usize>);
    Ok(Stage { address, exchanges: vec![exchange], behind, passes: true, _folder: Some(folder) })
}

async fn bind(fastcgi: &str) -> anyhow::Result<(web_proxy::Service, TempDir)> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join("index.php"), "<?php")?;
    fs::create_dir_all(folder.path().join("themes/site"))?;
    let body: Vec<u8> = (0..1024_u32).map(|at| (at * 31 % 251) as u8).collect();
    fs::write(folder.path().join(LOGO), body)?;
    // Changed long ago: its validators are strong.
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    File::options().write(true).open(folder.path().join(LOGO))?.set_modified(then)?;

    let docroot = format!("--docroot={}", folder.path().display());
    // A second is long for who runs and short under valgrind: how often files are looked at anew would be chance.
    let valid = "--file-cache-valid=1h";
    let flags = ["--listen=127.0.0.1:0", "--access-log=/dev/null", valid, &docroot, "--fastcgi", fastcgi];
    let config = web_proxy::Config::from_flags(flags)?;
    let shutdown = Shutdown::new(Duration::from_secs(1));
    Ok((web_proxy::bind(config, &mut Registry::default(), &shutdown).await?, folder))
}
