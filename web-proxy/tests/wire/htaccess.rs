//! The report on .htaccess files: by `check`, and in the log.

use std::process::Command;

#[test]
fn check_prints_the_report() {
    let docroot = tempfile::tempdir().unwrap();
    std::fs::create_dir(docroot.path().join("intern")).unwrap();
    std::fs::write(docroot.path().join("intern/.htaccess"), "Require all denied\n").unwrap();
    let report = |flags: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_web-proxy"))
            .args(["check", "--htaccess", "report", "--docroot"])
            .arg(docroot.path())
            .args(flags)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        report(&[]),
        "intern/.htaccess:1: Require all denied\n    /intern/x and /intern/x.txt and /intern/x.html would be sent; \
         write path = \"/intern/**\", deny = true\n1 files, 1 directives, 1 not covered\n"
    );
    let config = docroot.path().join("web.toml");
    std::fs::write(&config, "[[rule]]\nname = \"intern\"\npath = \"/intern/**\"\ndeny = true\n").unwrap();
    assert_eq!(report(&["--config", config.to_str().unwrap()]), "1 files, 1 directives, 0 not covered\n");
}
