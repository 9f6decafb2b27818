//! `docker/drupal/place-site` on this machine, with trees that only look like Drupal.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use suites::docker::{printed, succeed};
use suites::service::root;
use tempfile::TempDir;
use test_support::process::is_root;

/// A shared folder, and what the image would hold.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("test-place-").tempdir().unwrap();
        for name in ["site", "share", "source", "bin"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let place = Self { folder };
        fs::copy(root().join("compose/settings.enjambre.php"), place.path("share/settings.enjambre.php"))
            .unwrap();
        write(&place.path("share/sample/web/index.php"), "<?php // the sample\n");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn site(&self, name: &str) -> PathBuf {
        self.path("site").join(name)
    }

    fn command(&self, environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new(root().join("docker/drupal/place-site"));
        for name in ["SITE_SOURCE", "DRUPAL_TARBALL", "DRUPAL_SHA256", "DRUPAL_VERSION", "DRUPAL_PACKAGES"] {
            command.env_remove(name);
        }
        command
            .env("SITE_TARGET", self.path("site"))
            .env("SITE_SHARE", self.path("share"))
            .env("SITE_SOURCE_FOLDER", self.path("source"))
            .env("PATH", format!("{}:{}", self.path("bin").display(), std::env::var("PATH").unwrap()))
            .envs(environment.iter().copied());
        command
    }

    /// Runs it, and checks its exit code and that it says these words.
    fn run(&self, environment: &[(&str, &str)], code: i32, words: &[&str]) -> Output {
        let output = self.command(environment).output().unwrap();
        let said = printed(&output);
        assert_eq!(output.status.code(), Some(code), "{environment:?}: {said}");
        for word in words {
            assert!(said.contains(word), "{environment:?}: {word} is not in: {said}");
        }
        output
    }

    /// All that is on the shared folder, with its content; nothing of the script's own.
    fn files(&self) -> BTreeMap<String, String> {
        let listed =
            succeed(Command::new("find").arg(self.path("site")).args(["-type", "f", "-printf", "%P\\n"]));
        let own = [".enjambre-lock", ".enjambre-site"];
        let listed = listed.unwrap();
        let names = listed.lines().filter(|name| !own.contains(name));
        names.map(|name| (name.to_owned(), fs::read_to_string(self.site(name)).unwrap())).collect()
    }

    /// A tar file of the tree that `make` makes.
    fn tarball(&self, make: impl FnOnce(&Path)) -> String {
        let (tree, file) = (self.path("tree"), self.path("site.tar.gz"));
        fs::create_dir_all(&tree).unwrap();
        make(&tree);
        succeed(Command::new("tar").arg("-C").arg(&tree).arg("-czf").arg(&file).arg(".")).unwrap();
        file.display().to_string()
    }

    /// A program that is found before the machine's.
    fn program(&self, name: &str, script: &str) {
        write(&self.path("bin").join(name), script);
        fs::set_permissions(self.path("bin").join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

fn write(path: &Path, content: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// What makes Drupal recognisable, with its document root here.
fn drupal(docroot: &Path) {
    write(&docroot.join("index.php"), "<?php // Drupal\n");
    write(&docroot.join("core/lib/Drupal.php"), "<?php\nclass Drupal {\n  const VERSION = '10.9.8';\n}\n");
    write(&docroot.join("sites/default/default.settings.php"), "<?php\n$settings['a'] = 1;\n");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn it_asks_for_a_source() {
    let place = Place::new();
    let ways = ["DRUPAL_TARBALL=", "DRUPAL_VERSION=", "SITE_SOURCE=sample", "/source"];
    place.run(&[], 2, &ways);
    place.run(
        &[("SITE_SOURCE", "rsync")],
        2,
        &["SITE_SOURCE=rsync: expected tarball, folder, composer or sample"],
    );
    place.run(&[("SITE_SOURCE", "tarball")], 2, &["needs DRUPAL_TARBALL"]);
    place.run(&[("SITE_SOURCE", "folder")], 2, &["nothing is mounted at"]);
    place.run(&[("DRUPAL_TARBALL", "/absent.tar")], 2, &["/absent.tar: there is no such file"]);
    let both = [("DRUPAL_TARBALL", "/absent.tar"), ("DRUPAL_VERSION", "^10")];
    place.run(&both, 2, &["several sources: tarball composer", "Choose with SITE_SOURCE"]);
    assert_eq!(place.files().len(), 0);
    // An operator's command instead: drush, a shell.
    let mut command = place.command(&[]);
    assert_eq!(succeed(command.args(["printf", "%s-%s", "a b", "c"])).unwrap(), "a b-c");
}

#[test]
fn a_site_stays_as_it_is() {
    let place = Place::new();
    place.run(&[("SITE_SOURCE", "sample")], 0, &["put there from sample", "is in its place"]);
    write(&place.site("web/mine.txt"), "mine");
    let before = place.files();
    assert_eq!(before["web/index.php"], "<?php // the sample\n");
    for environment in [&[][..], &[("SITE_SOURCE", "sample")], &[("DRUPAL_VERSION", "^10")]] {
        place.run(environment, 0, &["put there from sample", "stays as it is"]);
        assert_eq!(place.files(), before);
    }

    // Nor is one touched that somebody else put there.
    let place = Place::new();
    drupal(&place.site("web"));
    let before = place.files();
    place.run(&[("SITE_SOURCE", "sample")], 0, &["Drupal 10.9.8 in", "stays as it is"]);
    assert_eq!(place.files(), before);

    // And what is no site is in the way.
    let place = Place::new();
    write(&place.site("backup/dump.sql"), "data");
    write(&place.site(".hidden"), "");
    let before = place.files();
    place.run(&[("SITE_SOURCE", "sample")], 2, &["other things, which are not touched: backup"]);
    assert_eq!(place.files(), before);
}

#[test]
fn drupal_from_a_tarball() {
    // As drupal.org has it: a folder with the version, which is the document root.
    let place = Place::new();
    let file = place.tarball(|tree| {
        drupal(&tree.join("drupal-10.9.8"));
        write(&tree.join("drupal-10.9.8/core/secretive.php"), "<?php");
        fs::set_permissions(tree.join("drupal-10.9.8/core/secretive.php"), fs::Permissions::from_mode(0o600))
            .unwrap();
    });
    let digest = succeed(Command::new("sha256sum").arg(&file)).unwrap();
    let digest = digest.split(' ').next().unwrap();

    let wrong = "0".repeat(64);
    place.run(&[("DRUPAL_TARBALL", &file), ("DRUPAL_SHA256", &wrong)], 1, &[digest, "not DRUPAL_SHA256"]);
    assert_eq!(place.files().len(), 0, "nothing of it is left");

    let url = format!("file://{file}");
    place.run(
        &[("DRUPAL_TARBALL", &url), ("DRUPAL_SHA256", &digest.to_uppercase())],
        0,
        &["Drupal 10.9.8 in"],
    );
    let files = place.files();
    assert!(files.contains_key("web/core/lib/Drupal.php"), "{:?}", files.keys());
    assert_eq!(
        files["web/sites/default/settings.php"],
        "<?php\n$settings['a'] = 1;\n\n\ninclude __DIR__ . '/settings.enjambre.php';\n"
    );
    let own = fs::read_to_string(root().join("compose/settings.enjambre.php")).unwrap();
    assert_eq!(files["web/sites/default/settings.enjambre.php"], own);

    // PHP writes to its files, and to nothing else; who serves reads everything.
    assert_eq!(mode(&place.site("web/core/secretive.php")), 0o644);
    assert_eq!(mode(&place.site("web/sites/default/settings.php")), 0o640);
    assert_eq!(mode(&place.site("web/sites/default/files")) & 0o700, 0o700);
    assert_eq!(mode(&place.site("private")) & 0o007, 0);
    if is_root() {
        let owner = |name: &str| fs::metadata(place.site(name)).map(|it| (it.uid(), it.gid())).unwrap();
        assert_eq!(owner("web/index.php"), (0, 0));
        assert_eq!(owner("web/sites/default/settings.php"), (0, 33));
        for folder in ["web/sites/default/files", "private", "config/sync"] {
            assert_eq!(owner(folder), (33, 33), "{folder}");
        }
    }
}

#[test]
fn what_is_no_site_leaves_nothing() {
    let place = Place::new();
    let file = place.tarball(|tree| write(&tree.join("a/b.txt"), "text"));
    place.run(&[("DRUPAL_TARBALL", &file)], 1, &["there is no index.php in it"]);
    fs::write(&file, "this is no tar file").unwrap();
    place.run(&[("DRUPAL_TARBALL", &file)], 1, &["cannot be unpacked"]);
    place.run(&[("DRUPAL_TARBALL", "file:///absent.tar")], 1, &["cannot be fetched"]);
    assert_eq!(place.files().len(), 0);
    assert!(!place.site("web").exists() && !place.site(".enjambre-staging").exists());
}

#[test]
fn a_mounted_folder_keeps_its_settings() {
    let place = Place::new();
    let source = place.path("source");
    drupal(&source.join("docroot"));
    write(&source.join("vendor/autoload.php"), "<?php");
    write(&source.join("docroot/sites/default/settings.php"), "<?php $own = 1; ?>\n");
    write(&source.join("docroot/sites/default/files/picture.png"), "png");
    fs::set_permissions(source.join("docroot/sites/default"), fs::Permissions::from_mode(0o555)).unwrap();
    symlink("docroot/index.php", source.join("link")).unwrap();

    place.run(&[], 0, &["Copying", "Drupal 10.9.8 in"]);
    assert_eq!(fs::read_link(place.site("web")).unwrap(), Path::new("docroot"), "composer's files name it");
    assert_eq!(fs::read_link(place.site("link")).unwrap(), Path::new("docroot/index.php"));
    let settings = fs::read_to_string(place.site("web/sites/default/settings.php")).unwrap();
    assert_eq!(settings, "<?php $own = 1; ?>\n\n<?php\ninclude __DIR__ . '/settings.enjambre.php';\n");
    let checked =
        Command::new("php").arg("-l").arg(place.site("web/sites/default/settings.php")).output().unwrap();
    assert!(checked.status.success(), "{}", printed(&checked));
    if is_root() {
        assert_eq!(fs::metadata(place.site("docroot/sites/default/files/picture.png")).unwrap().uid(), 33);
    }
    // Its own include stays the only one.
    let again = Place::new();
    drupal(&again.path("source/web"));
    write(
        &again.path("source/web/sites/default/settings.php"),
        "<?php\ninclude __DIR__ . '/settings.enjambre.php';\n",
    );
    again.run(&[], 0, &["is in its place"]);
    let settings = fs::read_to_string(again.site("web/sites/default/settings.php")).unwrap();
    assert_eq!(settings.matches("settings.enjambre.php").count(), 1, "{settings}");
}

#[test]
fn composer_is_asked_for_the_version() {
    let place = Place::new();
    place.program(
        "composer",
        "#!/bin/bash\nset -e\necho \"$@\" >>\"$SITE_SHARE/asked\"\n[[ $1 == create-project ]] || exit 0\n\
         tree=${!#}\nmkdir -p \"$tree/web/core/lib\"\ntouch \"$tree/web/index.php\" \"$tree/composer.json\"\n\
         echo \"  const VERSION = '11.0.1';\" >\"$tree/web/core/lib/Drupal.php\"\n\
         mkdir -p \"$tree/web/core/assets/scaffold/files\"\n\
         echo '<?php' >\"$tree/web/core/assets/scaffold/files/default.settings.php\"\n",
    );
    place.run(&[("DRUPAL_VERSION", "10.4.1"), ("DRUPAL_PACKAGES", "drush/drush")], 0, &["Drupal 11.0.1 in"]);
    let asked = fs::read_to_string(place.path("share/asked")).unwrap();
    assert!(asked.contains("drupal/recommended-project:10.4.1 "), "{asked}");
    assert!(asked.lines().nth(1).unwrap().ends_with(" drush/drush"), "{asked}");
    assert!(place.site("composer.json").exists() && place.site("web/sites/default/settings.php").exists());

    let broken = Place::new();
    broken.program("composer", "#!/bin/sh\nmkdir -p \"$5\" ; exit 3\n");
    broken.run(
        &[("SITE_SOURCE", "composer")],
        1,
        &["composer could not make drupal/recommended-project ^10"],
    );
    assert_eq!(broken.files().len(), 0);
}

/// Killed at each of its renames, what is left is no site, and the next run makes a whole one.
#[test]
fn killed_in_the_middle() {
    for fatal in 1..=4 {
        let place = Place::new();
        let make = |tree: &Path| {
            drupal(&tree.join("web"));
            write(&tree.join("vendor/autoload.php"), "<?php");
            write(&tree.join("composer.json"), "{}");
        };
        let file = place.tarball(make);
        // Parts: vendor, composer.json, private, config, web.
        place.program(
            "mv",
            &format!(
                "#!/bin/bash\necho >>\"$SITE_SHARE/moves\"\n\
                 if (( $(wc -l <\"$SITE_SHARE/moves\") > {fatal} )); then kill -9 $PPID; exit; fi\nexec /bin/mv \"$@\"\n"
            ),
        );
        let output = place.command(&[("DRUPAL_TARBALL", &file)]).output().unwrap();
        assert_eq!(output.status.code(), None, "{}", printed(&output));
        assert!(!place.site("web").exists(), "no half of a site");
        assert!(place.site(".enjambre-staging").exists());

        fs::remove_file(place.path("bin/mv")).unwrap();
        place.run(&[("DRUPAL_TARBALL", &file)], 0, &["is in its place"]);
        let files = place.files();
        for name in
            ["vendor/autoload.php", "composer.json", "web/index.php", "web/sites/default/settings.php"]
        {
            assert!(files.contains_key(name), "{name} is missing: {:?}", files.keys());
        }
        assert!(!files.keys().any(|name| name.contains("enjambre-")), "{:?}", files.keys());
    }
}

/// Several at once, as a service with replicas would be: one of them does it.
#[test]
fn together() {
    let place = Place::new();
    let mut children = Vec::new();
    for _ in 0..4 {
        let mut command = place.command(&[("SITE_SOURCE", "sample")]);
        children.push(command.stderr(std::process::Stdio::piped()).spawn().unwrap());
    }
    let outputs: Vec<Output> = children.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    assert!(outputs.iter().all(|output| output.status.success()), "{outputs:?}");
    let says = |word: &str| outputs.iter().filter(|output| printed(output).contains(word)).count();
    assert_eq!((says("is in its place"), says("stays as it is")), (1, 3), "{outputs:?}");
}
