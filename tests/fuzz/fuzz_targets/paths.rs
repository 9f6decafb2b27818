//! What the path target holds to be true of any docroot and any request: what is found is what the kernel itself
//! finds at the normalised path, and it is inside.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use web_proxy::docroot::{Docroot, Found, MapError, Mapped, Wait};
use web_proxy::route::path::{PathError, UrlPath};

/// Names in trees, paths and links.
const NAMES: [&[u8]; 7] = [b"a", b"b", b"f.txt", b"x.php", b"...", "\u{e9}".as_bytes(), b"\xff"];
/// The same as a request may write them, and what a request may not mean.
const PIECES: [&str; 22] = [
    "a",
    "b",
    "f.txt",
    "x.php",
    "...",
    "%C3%A9",
    "%ff",
    "%61",
    "%62",
    "f%2etxt",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    ".%2e",
    "",
    "a%2fb",
    "%5c",
    "%00",
    "%252e%252e",
    "a%",
    "\u{e9}",
];

// No name that the standard library has for them is stable.
const ELOOP: i32 = 40;
const ENAMETOOLONG: i32 = 36;

/// Bytes as a list of choices; zeros when they are used up.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn below(&mut self, limit: usize) -> usize {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        usize::from(*first) % limit
    }
}

/// A tree, and a few requests for what may be in it; tells how these have ended.
pub(crate) fn paths(data: &[u8]) -> HashSet<&'static str> {
    let mut choices = Choices(data);
    // In memory, where there is such a place: a disk would keep a journal of all these trees.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let folder = tempfile::tempdir_in(place).expect("a folder");
    let mut outcomes = HashSet::new();
    let base = folder.path().canonicalize().expect("its real path");
    let root = base.join("www");
    plant(&base, &root, &mut choices);
    let strict = Docroot::open(&root, false).expect("the docroot");
    let free = Docroot::open(&root, true).expect("the docroot");
    for _ in 0..4 {
        let raw = request(&mut choices);
        let Some(path) = parsed(&raw) else { continue };
        outcomes.insert(check(&strict, Some(&root), &root, &path));
        check(&free, None, &root, &path);
    }
    // Whatever is left, as it is.
    if let Ok(raw) = std::str::from_utf8(choices.0)
        && let Some(path) = parsed(raw)
    {
        check(&strict, Some(&root), &root, &path);
    }
    outcomes
}

/// Folders, files and links, some of which lead outside, where a file and a folder wait.
fn plant(base: &Path, root: &Path, choices: &mut Choices<'_>) {
    let name = |choice: usize| OsStr::from_bytes(NAMES[choice]);
    let outside = base.join("outside");
    for folder in [root, &outside, &outside.join("a")] {
        fs::create_dir_all(folder).expect("a folder");
    }
    fs::write(outside.join("f.txt"), "secret").expect("a file");
    let mut folders = vec![root.to_owned()];
    for _ in 0..choices.below(14) {
        let within = folders[choices.below(folders.len())].clone();
        let path = within.join(name(choices.below(NAMES.len())));
        // What is there already stays.
        match choices.below(7) {
            0 | 1 => {
                if fs::create_dir(&path).is_ok() {
                    folders.push(path);
                }
            }
            2 => drop(File::create_new(&path)),
            3 | 4 => {
                let steps = (0..=choices.below(3)).map(|_| match choices.below(NAMES.len() + 3) {
                    0 | 1 => OsStr::new(".."),
                    2 => OsStr::new("."),
                    other => name(other - 3),
                });
                let _ = symlink(steps.collect::<PathBuf>(), &path);
            }
            5 => {
                let _ = symlink(root.join(name(choices.below(NAMES.len()))), &path);
            }
            _ => {
                let targets =
                    [outside.clone(), outside.join("f.txt"), outside.join("none"), base.join("www/../www/a")];
                let _ = symlink(&targets[choices.below(targets.len())], &path);
            }
        }
    }
}

fn request(choices: &mut Choices<'_>) -> String {
    let pieces: Vec<&str> = (0..=choices.below(6)).map(|_| PIECES[choices.below(PIECES.len())]).collect();
    format!("/{}", pieces.join("/"))
}

/// The path, if it is one: decoded once, without dot segments, and never above its first slash.
fn parsed(raw: &str) -> Option<UrlPath> {
    let expected = normalised(raw);
    match UrlPath::parse(raw) {
        Ok(path) => {
            assert_eq!(Some(path.as_bytes()), expected.as_deref(), "{raw:?}");
            Some(path)
        }
        Err(PathError::NotAbsolute) => {
            assert!(!raw.starts_with('/'));
            None
        }
        Err(_) => {
            assert_eq!(expected, None, "{raw:?} is a path");
            None
        }
    }
}

/// The same in another way: segment by segment, each decoded on its own.
fn normalised(raw: &str) -> Option<Vec<u8>> {
    let mut segments: Vec<Vec<u8>> = Vec::new();
    let mut is_folder = true;
    for segment in raw.strip_prefix('/')?.split('/') {
        let mut parts = segment.split('%');
        let mut decoded = parts.next()?.as_bytes().to_vec();
        for part in parts {
            let digits =
                part.get(..2).filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
            decoded.push(u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != b'/')?);
            decoded.extend_from_slice(&part.as_bytes()[2..]);
        }
        if decoded.iter().any(|byte| matches!(byte, 0 | b'\\')) {
            return None;
        }
        is_folder = matches!(&decoded[..], b"" | b"." | b"..");
        match &decoded[..] {
            b"" | b"." => {}
            b".." => drop(segments.pop()?),
            _ => segments.push(decoded),
        }
    }
    let mut path = segments.iter().flat_map(|segment| [b"/", &segment[..]].concat()).collect::<Vec<u8>>();
    if is_folder {
        path.push(b'/');
    }
    Some(path)
}

/// `inside`: where everything has to be.
fn check(docroot: &Docroot, inside: Option<&Path>, root: &Path, path: &UrlPath) -> &'static str {
    let at = |end: usize| {
        root.join(OsStr::from_bytes(path.as_bytes()[..end].strip_prefix(b"/").unwrap_or_default()))
    };
    let real = |end: usize| at(end).canonicalize();
    let is_inside = |real: &Path| inside.is_none_or(|inside| real.starts_with(inside));
    let whole = path.trimmed_len();
    let told = docroot.map(path, Wait::Allowed);
    // What is known without waiting is the same.
    match (docroot.map(path, Wait::Never), &told) {
        (Err(MapError::NotCached), _) => {}
        (one, other) => assert_eq!(shape(&one), shape(other), "{path:?}"),
    }
    let outcome = match told {
        Ok(Mapped { end, found: Found::File(file, _) }) => {
            let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).expect("an open file");
            assert!(is_inside(&link), "{path:?} leads to {link:?}");
            assert_eq!(real(end).ok(), Some(link), "{path:?}");
            assert!(end <= whole && (end == whole || path.as_bytes()[end] == b'/'));
            if end == whole { "file" } else { "file with a rest" }
        }
        Ok(Mapped { end, found: Found::Directory }) => {
            assert_eq!(end, whole, "{path:?}");
            let real = real(end).expect("a folder");
            assert!(real.is_dir() && is_inside(&real), "{path:?} is {real:?}");
            "directory"
        }
        Ok(Mapped { end, found: Found::Nothing }) => {
            let missing = real(end).expect_err("nothing");
            assert!(
                matches!(missing.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
                    || missing.raw_os_error() == Some(ENAMETOOLONG),
                "{path:?}: {missing}"
            );
            // It is the first that is not there.
            for before in path.ends().filter(|before| *before < end) {
                assert!(real(before).is_ok_and(|real| real.is_dir()), "{path:?} at {before}");
            }
            "nothing"
        }
        Err(MapError::Outside) => {
            let leads_out = |end: usize| match real(end) {
                Ok(real) => !is_inside(&real),
                Err(error) => error.raw_os_error() == Some(ELOOP),
            };
            assert!(path.ends().any(leads_out), "{path:?} is refused");
            "outside"
        }
        Err(error) => panic!("{path:?}: {error}"),
    };
    // A file that the kernel finds inside is found.
    if let Ok(real) = real(whole)
        && real.is_file()
        && path.ends().all(|end| real_is(&at(end), &is_inside))
    {
        let found = docroot.map(path, Wait::Allowed);
        assert!(
            matches!(found, Ok(Mapped { end, found: Found::File(..) }) if end == whole),
            "{path:?} is {real:?}"
        );
        let opened = docroot.open_file(path, Wait::Allowed).expect("a file").expect("a file").0;
        assert_eq!(fs::read_link(format!("/proc/self/fd/{}", opened.as_raw_fd())).ok(), Some(real));
    }
    outcome
}

fn real_is(path: &Path, inside: &impl Fn(&Path) -> bool) -> bool {
    path.canonicalize().is_ok_and(|real| inside(&real))
}

fn shape(mapped: &Result<Mapped, MapError>) -> String {
    match mapped {
        Ok(Mapped { end, found: Found::File(..) }) => format!("a file at {end}"),
        Ok(Mapped { end, found: Found::Directory }) => format!("a directory at {end}"),
        Ok(Mapped { end, found: Found::Nothing }) => format!("nothing at {end}"),
        Err(error) => error.to_string(),
    }
}
