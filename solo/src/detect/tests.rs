#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use super::*;

/// A tree of small files in a temporary folder.
fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    folder
}

const DRUPAL: &str = "<?php\nclass Drupal {\n  /** const VERSION in words */\n  const VERSION = '10.1.6';\n\
    \x20 const MINIMUM_PHP_MEMORY_LIMIT = '64M';\n}\n";

#[test]
fn drupal_by_its_version_constant() {
    let project = tree(&[
        ("composer.json", r#"{"name": "drupal/recommended-project"}"#),
        ("web/index.php", ""),
        ("web/core/lib/Drupal.php", DRUPAL),
        ("web/core/composer.json", r#"{"require": {"php": ">=8.1.0", "ext-gd": "*", "twig/twig": "^3.5"}}"#),
    ]);
    for given in [project.path().to_owned(), project.path().join("web")] {
        let found = detect(&given).unwrap();
        assert_eq!(found.docroot, project.path().canonicalize().unwrap().join("web"));
        assert_eq!(found.application.to_string(), "Drupal 10.1.6");
        assert_eq!(found.application.preset(), "drupal");
        assert_eq!(found.requirements.php.as_deref(), Some("8.1.0"));
        assert_eq!(found.requirements.extensions, ["gd"]);
        assert_eq!(found.requirements.memory.as_deref(), Some("64M"));
    }
}

#[test]
fn drupal_without_its_composer_file_has_the_known_requirements() {
    let docroot = tree(&[("core/lib/Drupal.php", DRUPAL)]);
    let found = detect(docroot.path()).unwrap();
    assert!(found.requirements.extensions.contains(&"gd".into()));
    assert!(found.requirements.any_of.contains(&"pdo_sqlite".into()));
}

#[test]
fn wordpress_by_its_version_file() {
    let version = "<?php\n$wp_version = '6.1.6';\n$required_php_version = '5.6.20';\n";
    let docroot = tree(&[("wp-includes/version.php", version)]);
    let found = detect(docroot.path()).unwrap();
    assert_eq!(found.application.to_string(), "WordPress 6.1.6");
    assert_eq!(found.application.preset(), "wordpress");
    assert_eq!(found.requirements.extensions, ["mysqli"]);

    let sqlite = tree(&[("wp-includes/version.php", version), ("wp-content/db.php", "")]);
    assert_eq!(detect(sqlite.path()).unwrap().requirements.extensions, Vec::<String>::new());
}

#[test]
fn another_site_by_its_composer_file() {
    let composer = r#"{"name": "acme/shop", "require": {"ext-pdo_sqlite": "*"},
        "extra": {"enjambre": {"preset": "drupal"}}}"#;
    let project = tree(&[("composer.json", composer), ("public/index.php", "")]);
    let found = detect(project.path()).unwrap();
    assert!(found.docroot.ends_with("public"));
    assert_eq!(found.application.to_string(), "acme/shop");
    assert_eq!(found.application.preset(), "drupal");
    assert_eq!(found.requirements.extensions, ["pdo_sqlite"]);

    let plain = tree(&[("index.html", ""), ("composer.json", "not JSON")]);
    let found = detect(plain.path()).unwrap();
    assert_eq!(found.application.to_string(), "a PHP site");
    assert_eq!(found.application.preset(), "none");
    assert_eq!(found.requirements, Requirements::default());
}

#[test]
fn what_is_no_site_is_said() {
    let folder = tree(&[("README", "")]);
    let path = folder.path().canonicalize().unwrap();
    assert_eq!(detect(&path.join("absent")), Err(DetectError::Absent(path.join("absent"))));
    assert_eq!(detect(&path.join("README")), Err(DetectError::NotAFolder(path.join("README"))));
    assert_eq!(detect(&path), Err(DetectError::Empty { path }));
}
