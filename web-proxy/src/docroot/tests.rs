#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// `secret` lies beside the docroot `www`.
fn site() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let www = folder.path().join("www");
    fs::create_dir_all(www.join("a/b")).unwrap();
    fs::create_dir_all(folder.path().join("secret")).unwrap();
    fs::write(folder.path().join("secret/key"), "secret").unwrap();
    fs::write(www.join("a/b/file.txt"), "public").unwrap();
    fs::write(www.join("index.php"), "<?php").unwrap();
    symlink("b/file.txt", www.join("a/inside")).unwrap();
    symlink(www.join("a/b"), www.join("absolute")).unwrap();
    symlink("../secret", www.join("outside")).unwrap();
    symlink(folder.path().join("secret"), www.join("outside-absolute")).unwrap();
    symlink("/proc/self/root", www.join("magic")).unwrap();
    symlink("loop", www.join("loop")).unwrap();
    symlink("there", www.join("here")).unwrap();
    symlink("a/../here", www.join("there")).unwrap();
    symlink("chain2", www.join("chain")).unwrap();
    symlink(www.join("chain3"), www.join("chain2")).unwrap();
    symlink("a/folder/inside", www.join("chain3")).unwrap();
    symlink("../a", www.join("a/folder")).unwrap();
    symlink("../www/a/b", www.join("out-and-in")).unwrap();
    symlink("chain5", www.join("chain4")).unwrap();
    symlink("a/folder/../../secret/key", www.join("chain5")).unwrap();
    symlink("nowhere", www.join("dangling")).unwrap();
    symlink("/dev/null", www.join("device")).unwrap();
    std::os::unix::net::UnixListener::bind(www.join("socket")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        www.join("pipe"),
        rustix::fs::FileType::Fifo,
        Mode::from_raw_mode(0o644),
        0,
    )
    .unwrap();
    folder
}

fn described(docroot: &Docroot, path: &str) -> String {
    let path = UrlPath::parse(path).unwrap();
    match docroot.map(&path, Wait::Allowed) {
        Ok(Mapped { end, found }) => {
            let found = match found {
                Found::File(mut file, _) if !is_script(path.below(end)) => {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    text
                }
                Found::File(..) => "script".into(),
                Found::Directory => "directory".into(),
                Found::Nothing => "nothing".into(),
            };
            format!("{} {found}", String::from_utf8_lossy(&path.as_bytes()[..end]))
        }
        Err(error) => error.to_string(),
    }
}

#[test]
fn walks() {
    let folder = site();
    let beneath = Docroot::open(&folder.path().join("www"), false).unwrap();
    let without_openat2 = Docroot::open(&folder.path().join("www"), false).unwrap();
    without_openat2.beneath.store(false, Ordering::Relaxed);
    let long = format!("/{}/x", "n".repeat(300));
    let cases = [
        ("/", " directory"),
        ("/a", "/a directory"),
        ("/a/b/", "/a/b directory"),
        ("/a/b/file.txt", "/a/b/file.txt public"),
        ("/a/b/file.txt/rest/of", "/a/b/file.txt public"),
        ("/index.php", "/index.php script"),
        ("/index.php/node/1", "/index.php script"),
        ("/node/1/edit", "/node nothing"),
        ("/a/node/1", "/a/node nothing"),
        ("/missing", "/missing nothing"),
        ("/a/inside", "/a/inside public"),
        ("/absolute/file.txt", "/absolute/file.txt public"),
        ("/absolute/nothing/x", "/absolute/nothing nothing"),
        ("/outside/key", "outside of the docroot"),
        ("/outside/none", "outside of the docroot"),
        ("/outside-absolute/key", "outside of the docroot"),
        ("/magic/etc/passwd", "outside of the docroot"),
        ("/loop", "outside of the docroot"),
        ("/here", "outside of the docroot"),
        ("/there/x", "outside of the docroot"),
        ("/a/folder/b/file.txt", "/a/folder/b/file.txt public"),
        ("/a/folder/folder/folder/inside/rest", "/a/folder/folder/folder/inside public"),
        ("/a/folder", "/a/folder directory"),
        ("/chain", "/chain public"),
        ("/chain/rest", "/chain public"),
        // Only where it leads counts, not how.
        ("/out-and-in/file.txt", "/out-and-in/file.txt public"),
        ("/chain4", "outside of the docroot"),
        ("/dangling", "/dangling nothing"),
        ("/dangling/x", "/dangling nothing"),
        ("/device", "outside of the docroot"),
        ("/pipe", "neither a file nor a directory"),
        ("/pipe/x", "neither a file nor a directory"),
        ("/socket", "neither a file nor a directory"),
    ];
    for (path, expected) in cases {
        assert_eq!(described(&beneath, path), expected, "{path}");
        let expected = if path == "/outside/none" { "/outside nothing" } else { expected };
        let without = described(&without_openat2, path);
        // Without openat2 a link is only looked at together with what it leads to.
        assert!(without == expected || without == "outside of the docroot", "{path}: {without}");
    }
    let expected = format!("/{} nothing", "n".repeat(300));
    assert_eq!(described(&beneath, &long), expected);
}

#[test]
fn links_that_lead_outside_are_followed_when_that_is_wanted() {
    let folder = site();
    let docroot = Docroot::open(&folder.path().join("www"), true).unwrap();
    assert_eq!(described(&docroot, "/outside/key"), "/outside/key secret");
    assert_eq!(described(&docroot, "/outside-absolute/key/x"), "/outside-absolute/key secret");
    assert_eq!(described(&docroot, "/chain4"), "/chain4 secret");
    assert_eq!(described(&docroot, "/device"), "neither a file nor a directory");
    assert_eq!(described(&docroot, "/here"), "outside of the docroot");
    // A link of /proc is no link of the docroot's owner.
    assert_eq!(described(&docroot, "/magic/etc/passwd"), "outside of the docroot");
    assert_eq!(described(&docroot, "/absolute/file.txt"), "/absolute/file.txt public");
}

#[test]
fn what_the_kernel_knows_is_found_without_waiting() {
    let folder = site();
    let docroot = Docroot::open(&folder.path().join("www"), false).unwrap();
    let path = UrlPath::parse("/a/b/file.txt").unwrap();
    docroot.map(&path, Wait::Allowed).unwrap();
    // Older kernels say that they do not know.
    match docroot.map(&path, Wait::Never) {
        Ok(Mapped { found: Found::File(_, metadata), .. }) => assert_eq!(metadata.len(), 6),
        Err(MapError::NotCached) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn renames_elsewhere_do_not_matter() {
    let folder = site();
    let www = folder.path().join("www");
    symlink("../a/b/file.txt", www.join("a/upwards")).unwrap();
    let docroot = Docroot::open(&www, false).unwrap();
    let path = UrlPath::parse("/a/upwards").unwrap();
    let done = AtomicBool::new(false);
    let failures = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (one, other) = (folder.path().join("secret/one"), folder.path().join("secret/other"));
            fs::write(&one, "").unwrap();
            while !done.load(Ordering::Relaxed) {
                fs::rename(&one, &other).unwrap();
                fs::rename(&other, &one).unwrap();
            }
        });
        let failures: Vec<MapError> =
            (0..20_000).filter_map(|_| docroot.map(&path, Wait::Allowed).err()).collect();
        done.store(true, Ordering::Relaxed);
        failures
    });
    assert!(failures.is_empty(), "{}, the first: {}", failures.len(), failures[0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_outside_is_ever_reached(
        raw in "(/(a|b|file\\.txt|inside|absolute|outside|outside-absolute|magic|loop|secret|key|www|etc|passwd|proc|\\.|\\.\\.|%2e%2e|%2E\\.|%2f|\\.\\.%2f|%5c|%00|%252e)){1,8}/?"
    ) {
        thread_local! {
            static SITE: (TempDir, [Docroot; 2]) = {
                let folder = site();
                let www = folder.path().join("www");
                let docroots = [Docroot::open(&www, false).unwrap(), Docroot::open(&www, false).unwrap()];
                docroots[1].beneath.store(false, Ordering::Relaxed);
                (folder, docroots)
            };
        }
        let Ok(path) = UrlPath::parse(&raw) else { return Ok(()) };
        SITE.with(|(_folder, docroots)| {
            for docroot in docroots {
                if let Ok(Mapped { found: Found::File(mut file, _), .. }) = docroot.map(&path, Wait::Allowed) {
                    let mut text = String::new();
                    file.read_to_string(&mut text).unwrap();
                    assert_eq!(text, "public", "{raw}");
                    // The kernel's own answer.
                    let link = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
                    assert!(fs::read_link(link).unwrap().starts_with(docroot.path()), "{raw}");
                }
            }
        });
    }
}
