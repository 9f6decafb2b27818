//! Files that were compressed beforehand, and which of a file's forms a client gets.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::{Duration, SystemTime};

use test_support::client::Response;

use crate::support::{NOBODY, Proxy, THEN};

const PLAIN: &str = "body { color: red }";

/// `/style.css` in all its forms.
async fn site(flags: &[&str]) -> Proxy {
    let proxy = Proxy::start(NOBODY, flags).await;
    proxy.old_file("style.css", PLAIN);
    for (name, content) in
        [("style.css.br", "brotli!"), ("style.css.zst", "zstd!"), ("style.css.gz", "gzip!")]
    {
        proxy.old_file(name, content);
    }
    proxy
}

fn sent(response: &Response) -> (u16, &str, String) {
    (response.status, response.header("content-encoding").unwrap_or("identity"), response.text())
}

#[tokio::test]
async fn the_form_that_the_client_likes_best() {
    let proxy = site(&[]).await;
    let cases = [
        ("gzip, deflate, br, zstd", "br", "brotli!"),
        ("gzip, deflate, zstd", "zstd", "zstd!"),
        ("gzip, deflate", "gzip", "gzip!"),
        ("br;q=0.1, gzip;q=0.2", "gzip", "gzip!"),
        ("br;q=0, *", "zstd", "zstd!"),
        ("identity, br;q=0.5", "identity", PLAIN),
        ("deflate", "identity", PLAIN),
        ("*;q=0", "identity", PLAIN),
        ("", "identity", PLAIN),
    ];
    for (accepted, coding, content) in cases {
        let response = proxy.get_with("/style.css", &[("Accept-Encoding", accepted)]).await;
        assert_eq!(sent(&response), (200, coding, content.to_owned()), "{accepted}");
        assert_eq!(response.header("content-type"), Some("text/css; charset=utf-8"), "{accepted}");
        assert_eq!(response.header("content-length"), Some(content.len().to_string().as_str()), "{accepted}");
        assert_eq!(response.all("vary").collect::<Vec<_>>(), ["Accept-Encoding"], "{accepted}");
    }
    let plain = proxy.get("/style.css").await;
    assert_eq!((sent(&plain).1, plain.header("vary")), ("identity", Some("Accept-Encoding")));
    let head = proxy.request("HEAD", "/style.css", &[("Accept-Encoding", "br")], b"").await;
    assert_eq!((sent(&head).1, head.header("content-length")), ("br", Some("7")));
    // By its own name it is what it is.
    let itself = proxy.get_with("/style.css.gz", &[("Accept-Encoding", "gzip, br")]).await;
    assert_eq!(sent(&itself), (200, "identity", "gzip!".to_owned()));
    assert_eq!((itself.header("content-type"), itself.header("vary")), (Some("application/gzip"), None));
}

#[tokio::test]
async fn each_form_has_its_own_validators_and_ranges() {
    let proxy = site(&[]).await;
    let mut tags = Vec::new();
    for coding in ["br", "zstd", "gzip", "identity"] {
        let response = proxy.get_with("/style.css", &[("Accept-Encoding", coding)]).await;
        assert_eq!((sent(&response).1, response.header("last-modified")), (coding, Some(THEN)));
        let tag = response.header("etag").unwrap().to_owned();
        assert!(tag.starts_with('"') && !tags.contains(&tag), "{tag} {tags:?}");
        let accept = ("Accept-Encoding", coding);
        let unchanged = proxy.get_with("/style.css", &[accept, ("If-None-Match", &tag)]).await;
        assert_eq!((unchanged.status, unchanged.header("vary")), (304, Some("Accept-Encoding")));
        assert_eq!(
            (unchanged.header("etag"), unchanged.header("content-encoding")),
            (Some(tag.as_str()), None)
        );
        let part = proxy.get_with("/style.css", &[accept, ("Range", "bytes=1-3"), ("If-Range", &tag)]).await;
        let whole = response.text();
        assert_eq!(sent(&part), (206, coding, whole[1..=3].to_owned()));
        assert_eq!(part.header("content-range"), Some(format!("bytes 1-3/{}", whole.len()).as_str()));
        // A part of another form does not go with this one.
        for other in &tags {
            let part =
                proxy.get_with("/style.css", &[accept, ("Range", "bytes=1-3"), ("If-Range", other)]).await;
            assert_eq!(sent(&part), (200, coding, whole.clone()));
            assert_eq!(proxy.get_with("/style.css", &[accept, ("If-Match", other)]).await.status, 412);
        }
        tags.push(tag);
    }
    let several = [("Accept-Encoding", "br"), ("Range", "bytes=0-1,3-4")];
    assert_eq!(sent(&proxy.get_with("/style.css", &several).await), (200, "br", "brotli!".to_owned()));
}

#[tokio::test]
async fn forms_that_are_of_no_use() {
    let proxy = site(&[]).await;
    let get = async || proxy.get_with("/style.css", &[("Accept-Encoding", "gzip, br, zstd")]).await;
    let path = |name: &str| proxy.docroot().join(name);
    assert_eq!(sent(&get().await).1, "br");
    // Older than the file.
    let then = httpdate::parse_http_date(THEN).unwrap();
    let br = fs::File::options().write(true).open(path("style.css.br")).unwrap();
    br.set_modified(then - Duration::from_secs(1)).unwrap();
    assert_eq!(sent(&get().await).1, "zstd");
    br.set_modified(SystemTime::now()).unwrap();
    assert_eq!(sent(&get().await).1, "br");
    // Empty, a directory, a link that leads nowhere or outside.
    br.set_len(0).unwrap();
    assert_eq!(sent(&get().await).1, "zstd");
    fs::remove_file(path("style.css.zst")).unwrap();
    fs::create_dir(path("style.css.zst")).unwrap();
    assert_eq!(sent(&get().await).1, "gzip");
    let outside = tempfile::NamedTempFile::new().unwrap();
    fs::write(outside.path(), "secret").unwrap();
    for target in [outside.path(), std::path::Path::new("nowhere"), std::path::Path::new("style.css.gz")] {
        fs::remove_file(path("style.css.gz")).unwrap();
        symlink(target, path("style.css.gz")).unwrap();
        assert_eq!(sent(&get().await), (200, "identity", PLAIN.to_owned()), "{}", target.display());
    }
    // Nothing of that is remembered.
    proxy.old_file("next.br", "next!");
    fs::rename(path("next.br"), path("style.css.br")).unwrap();
    assert_eq!(sent(&get().await), (200, "br", "next!".to_owned()));
    fs::remove_file(path("style.css.br")).unwrap();
    assert_eq!(sent(&get().await).1, "identity");
}

#[tokio::test]
async fn only_where_it_is_wanted_and_for_what_can_be_compressed() {
    let all = [("Accept-Encoding", "gzip, br, zstd")];
    let proxy = site(&["--precompressed=gzip,br"]).await;
    assert_eq!(sent(&proxy.get_with("/style.css", &all).await).1, "gzip", "the order of the option");
    let proxy = site(&["--precompressed=off"]).await;
    let plain = proxy.get_with("/style.css", &all).await;
    assert_eq!((sent(&plain).1, plain.header("vary")), ("identity", None));
    let proxy = Proxy::start(NOBODY, &[]).await;
    for name in ["photo.jpg", "photo.jpg.gz", "x.svgz", "x.svgz.br"] {
        proxy.old_file(name, name);
    }
    for (path, coding) in [("/photo.jpg", "identity"), ("/x.svgz", "gzip")] {
        let response = proxy.get_with(path, &all).await;
        assert_eq!(sent(&response), (200, coding, path[1..].to_owned()));
        assert_eq!(response.header("vary"), None, "{path}");
    }
}

#[tokio::test]
async fn drupal_s_aggregates() {
    let proxy = Proxy::start(NOBODY, &["--preset=drupal"]).await;
    let name = "sites/default/files/css/css_Kx3vZ0pQm1T-8yR_2aWnLfD6sJhUeXcB4gIoVtNqPkM.css";
    let script = "sites/default/files/js/js_BKcMdIbOMdbTdLn9dkUq3KCJfIKKo2SvKoQ1AnB8D-g.js";
    for (name, media) in [(name, "text/css"), (script, "text/javascript")] {
        proxy.old_file(name, PLAIN);
        // Drupal writes it right behind the plain one.
        proxy.old_file(&format!("{name}.gz"), "gzip!");
        let url = format!("/{name}?delta=0&language=en&include=eJx");
        let response = proxy.get_with(&url, &[("Accept-Encoding", "gzip, deflate, br")]).await;
        assert_eq!(sent(&response), (200, "gzip", "gzip!".to_owned()));
        assert_eq!(response.header("content-type"), Some(format!("{media}; charset=utf-8").as_str()));
        assert_eq!(response.header("vary"), Some("Accept-Encoding"));
        assert_eq!(response.header("cache-control"), Some("max-age=31536000, immutable"));
        // Drupal's .htaccess has it so under this name, whatever the client accepts.
        let itself = proxy.get(&format!("/{name}.gz")).await;
        assert_eq!(sent(&itself), (200, "gzip", "gzip!".to_owned()));
        assert_eq!(
            (itself.header("content-type"), itself.header("vary")),
            (Some(media), Some("Accept-Encoding"))
        );
    }
    // A URL with a token says nothing of the file.
    proxy.old_file("sites/default/files/styles/large/public/photo.jpg", "x");
    let picture = proxy.get("/sites/default/files/styles/large/public/photo.jpg?itok=Ab3dEf9h").await;
    assert_eq!(picture.header("cache-control"), Some("max-age=31536000"));
}

#[tokio::test]
async fn immutable_files() {
    let cases = [
        (&["--preset=drupal"][..], Some("max-age=31536000, immutable"), Some("max-age=31536000")),
        (&["--preset=drupal", "--immutable=off"], Some("max-age=31536000"), Some("max-age=31536000")),
        (&[], None, None),
        (&["--immutable=on"], Some("max-age=31536000, immutable"), None),
    ];
    for (flags, hashed, other) in cases {
        let proxy = Proxy::start(NOBODY, flags).await;
        proxy.old_file("app.3f2a91bc.js", "x");
        proxy.old_file("app.js", "x");
        assert_eq!(proxy.get("/app.3f2a91bc.js").await.header("cache-control"), hashed, "{flags:?}");
        assert_eq!(proxy.get("/app.js?v=3f2a91bc").await.header("cache-control"), other, "{flags:?}");
    }
}

#[tokio::test]
async fn types_of_the_operator() {
    let proxy = Proxy::start(NOBODY, &["--types=glb=model/gltf-binary,txt=text/x-mine"]).await;
    proxy.old_file("a.glb", "x");
    proxy.old_file("a.txt", "x");
    assert_eq!(proxy.get("/a.glb").await.header("content-type"), Some("model/gltf-binary"));
    assert_eq!(proxy.get("/a.txt").await.header("content-type"), Some("text/x-mine"));
}
