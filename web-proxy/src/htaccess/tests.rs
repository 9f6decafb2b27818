#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::path::Path;

use super::*;
use crate::rules::Preset;

const DRUPAL: &str = include_str!("../../../tests/suites/tests/apache/docroot/drupal.htaccess");
const FILES: &str = include_str!("../../../tests/suites/tests/apache/docroot/files.htaccess");
const PRIVATE: &str = include_str!("../../../tests/suites/tests/apache/docroot/private.htaccess");
const WORDPRESS: &str = include_str!("../../../tests/suites/tests/apache/docroot/wordpress.htaccess");

fn config(preset: &str, flags: &[&str]) -> Config {
    let preset = format!("--preset={preset}");
    Config::from_flags(["--docroot=/", &preset].into_iter().chain(flags.iter().copied())).unwrap()
}

fn report(config: &Config, path: &str, text: &str) -> Report {
    let mut report = Report::default();
    report.add(Path::new(path), text, &["a.txt".to_owned()], &InForce::of(config));
    report
}

/// `line: advice` of what is not covered.
fn findings(config: &Config, path: &str, text: &str) -> Vec<String> {
    let report = report(config, path, text);
    report.findings.iter().map(|finding| format!("{}: {}", finding.line, finding.advice)).collect()
}

#[test]
fn stock_files_are_covered_by_their_presets() {
    let drupal = config("drupal", &[]);
    let none: [&str; 0] = [];
    for (path, text) in [
        (".htaccess", DRUPAL),
        ("sites/default/files/.htaccess", FILES),
        ("sites/a.example/files/.htaccess", FILES),
        ("sites/default/files/php/.htaccess", PRIVATE),
        ("sites/default/files/php/twig/x_y/.htaccess", PRIVATE),
        ("sites/default/files/config_abc/sync/.htaccess", PRIVATE),
        ("sites/default/private/.htaccess", PRIVATE),
        ("sites/default/files/private/.htaccess", PRIVATE),
        ("vendor/.htaccess", PRIVATE),
        ("core/profiles/demo_umami/modules/demo_umami_content/default_content/.htaccess", PRIVATE),
    ] {
        assert_eq!(findings(&drupal, path, text), none, "{path}");
    }
    assert_eq!(findings(&config("wordpress", &[]), ".htaccess", WORDPRESS), none);
    assert_eq!(report(&drupal, ".htaccess", DRUPAL).directives, 29);
}

/// A preset with one of its rules switched off.
fn without(rule: &str) -> Config {
    let mut config = config("drupal", &[]);
    let text = format!("[[rule]]\nname = {rule:?}\nenabled = false\n");
    let source = common::rules::Source { name: "web.toml", text: &text };
    config.rules =
        std::sync::Arc::new(crate::rules::Rules::of(Preset::Drupal, Some((source, "rule"))).unwrap());
    config
}

/// Lines of stock files that are not covered when one rule of the preset is missing.
#[test]
fn each_rule_covers_something() {
    let cases: [(&str, &[&str], &[&str]); 13] = [
        ("nosniff", &["62", "63"], &[]),
        ("dotfiles", &["3", "32"], &[]),
        ("nested-dotfiles", &["3", "32"], &[]),
        ("source-files", &["3"], &[]),
        ("private-directories", &[], &["2"]),
        ("moved-to-core", &["36"], &[]),
        ("php-not-allowed", &["45"], &[]),
        ("installer", &["37"], &[]),
        ("no-favicon", &["41"], &[]),
        ("compressed-styles", &["53", "56", "57"], &[]),
        ("compressed-scripts", &["54", "56", "57"], &[]),
        ("expires", &["18"], &[]),
        ("made-on-demand", &[], &[]),
    ];
    let lines = |config: &Config, path: &str, text: &str| -> Vec<String> {
        report(config, path, text).findings.iter().map(|finding| finding.line.to_string()).collect()
    };
    for (rule, of_docroot, of_private) in cases {
        let config = without(rule);
        assert_eq!(lines(&config, ".htaccess", DRUPAL), of_docroot, "{rule}");
        assert_eq!(lines(&config, "sites/default/files/php/.htaccess", PRIVATE), of_private, "{rule}");
    }
    let config = without("no-php-among-files");
    assert_eq!(lines(&config, ".htaccess", DRUPAL), [""; 0]);
    assert_eq!(lines(&config, "sites/default/files/.htaccess", FILES), ["2", "4", "7"]);
}

#[test]
fn options_cover_too() {
    let with = |flag: &str| config("wordpress", &[flag]);
    let wordpress = |flag| findings(&with(flag), ".htaccess", WORDPRESS);
    assert_eq!(wordpress("--front-controller=none"), ["8: `--front-controller /index.php`"]);
    let index = "DirectoryIndex index.php index.html index.htm";
    assert_eq!(findings(&with("--index=index.php,index.html,index.htm,x.htm"), ".htaccess", index), [""; 0]);
    assert_eq!(
        findings(&with("--index=index.html,index.php"), ".htaccess", index),
        ["1: `--index index.php,index.html,index.htm`, for the whole site"]
    );
    let gzip = "RewriteCond %{HTTP:Accept-encoding} gzip\nRewriteCond %{REQUEST_FILENAME}\\.gz -s\n\
                RewriteRule ^(.*)\\.css$ $1.css.gz [QSA]";
    assert_eq!(findings(&with("--precompressed=br,gzip"), ".htaccess", gzip), [""; 0]);
    assert_eq!(findings(&with("--precompressed=off"), ".htaccess", gzip), ["3: `--precompressed gzip`"]);
    let deflate = "AddOutputFilterByType DEFLATE text/html text/css\nSetOutputFilter BROTLI_COMPRESS;DEFLATE";
    assert_eq!(findings(&with("--compress=gzip"), ".htaccess", deflate), [""; 0]);
    let pages = tempfile::tempdir().unwrap();
    std::fs::write(pages.path().join("4xx.html"), "missing").unwrap();
    let pages = with(&format!("--error-pages={}", pages.path().display()));
    assert_eq!(findings(&pages, ".htaccess", "ErrorDocument 404 /x.html"), [""; 0]);
    assert_eq!(findings(&pages, ".htaccess", "ErrorDocument 500 /x.html").len(), 1);
    let types = "AddType model/gltf-binary .glb";
    assert_eq!(findings(&with("--types=glb=model/gltf-binary"), ".htaccess", types), [""; 0]);
}

/// Each directive with the beginning of the advice for it; none where it is covered or does not matter.
#[test]
fn directives() {
    let cases = [
        ("Options -Indexes +FollowSymLinks", None),
        ("Options +ExecCGI", Some("ExecCGI: there is no such thing")),
        ("Options Indexes MultiViews", Some("Indexes, MultiViews: there is no such thing")),
        ("<Files wp-config.php>\nOrder allow,deny\nDeny from all\n</Files>", Some("/wp-config.php and")),
        ("<Files .htaccess>\nRequire all denied\n</Files>", None),
        ("<FilesMatch \"^\\.\">\nRequire all denied\n</FilesMatch>", None),
        (
            "<FilesMatch \"(a)\\1\">\nRequire all denied\n</FilesMatch>",
            Some("its expression is not understood"),
        ),
        ("<FilesMatch \"\\.(phtml|php5|phar)$\">\nRequire all denied\n</FilesMatch>", None),
        (
            "<Files xmlrpc.php>\nOrder deny,allow\nAllow from 192.0.2.7\n</Files>",
            Some("name = \"…\", file = \"xmlrpc.php\", unless"),
        ),
        (
            "<Files \"*.log\">\nRequire all denied\n</Files>",
            Some("/x.log and /x.y.log and /x/x.log would be sent; write file = \"*.log\", deny = true"),
        ),
        (
            "<Files .env>\nRequire all granted\n</Files>",
            Some("dotfiles denies /.env; write file = \".env\", serve"),
        ),
        ("Require all granted", None),
        ("Require valid-user", Some("there is no password check here")),
        ("AuthUserFile /etc/passwords", Some("there is no password check here")),
        ("Require ip 10.0.0.0/8", Some("name = \"…\", path = \"/**\", unless = { client")),
        ("<LimitExcept GET POST>\nDeny from all\n</LimitExcept>", Some("only within <limitexcept>")),
        ("<If \"%{HTTP_HOST} == 'x'\">\nHeader set X y\n</If>", Some("only within <if>")),
        ("<IfModule !mod_headers.c>\nRequire all denied\n</IfModule>", None),
        ("<IfModule mod_php7.c>\nphp_value memory_limit 1G\n</IfModule>", None),
        ("php_value memory_limit 1G", Some("a setting of PHP")),
        ("php_flag engine off", Some("/x.php would run")),
        ("SetHandler \"proxy:unix:/run/php.sock|fcgi://localhost\"", None),
        ("AddHandler application/x-httpd-php .php", None),
        ("AddHandler application/x-httpd-php .html", Some("only .php files run")),
        ("AddHandler cgi-script .pl", Some("there is no such handler")),
        (
            "Header set X-Frame-Options SAMEORIGIN",
            Some("set-response-headers = { X-Frame-Options = \"SAMEORIGIN\" }"),
        ),
        ("Header always set Strict-Transport-Security \"max-age=1\" env=HTTPS", Some("a rule with matchers")),
        ("Header unset X-Powered-By", Some("remove-response-headers = \"X-Powered-By\"")),
        ("Header edit Location a b", Some("what a rule says of a field replaces it")),
        ("RequestHeader unset Proxy", None),
        ("RequestHeader set X-Env prod", Some("set-params = { HTTP_X_ENV = \"prod\" }")),
        ("RequestHeader unset X-Env early", Some("remove-params = \"HTTP_X_ENV\"")),
        ("SetEnv APP_ENV prod", Some("set-params = { APP_ENV = \"prod\" }")),
        ("SetEnvIf Authorization \"(.*)\" HTTP_AUTHORIZATION=$1", None),
        ("ExpiresByType image/jpeg \"access plus 1 month\"", Some("extension = [")),
        ("ExpiresDefault M60", Some("`expires` of a rule counts from the request")),
        ("AddType image/svg+xml svg svgz", None),
        ("AddType text/x-mine .mine", Some("`--types mine=text/x-mine`")),
        ("AddEncoding gzip svgz", None),
        ("AddEncoding x-gzip .tgz", Some("extension = [\"tgz\"], encoding = \"gzip\"")),
        ("AddDefaultCharset utf-8", None),
        ("AddDefaultCharset iso-8859-1", Some("type = \"text/html; charset=iso-8859-1\"")),
        ("FallbackResource /index.php", None),
        ("FallbackResource /app.php", Some("`--front-controller /app.php`")),
        (
            "Redirect 301 /a https://b.example/c",
            Some("path = \"/a\", redirect = \"https://b.example/c{?query}\", redirect-status = 301"),
        ),
        ("Redirect gone /a", Some("path = \"/a\", deny = 410")),
        ("RedirectMatch ^/a /b", Some("path = \"~^/a\"")),
        ("ErrorDocument 404 /index.php", Some("a page 404.html in the folder of `--error-pages`")),
        ("ErrorDocument 404 default", None),
        ("LimitRequestBody 1000", Some("`--max-body`")),
        ("AddOutputFilterByType DEFLATE text/html", Some("`--compress br,gzip`, unless")),
        ("SetOutputFilter INCLUDES", Some("there is no such filter")),
        ("DeflateCompressionLevel 9", None),
        ("FileETag None", None),
        ("RewriteEngine off", Some("a rule with `serve = true`")),
        ("RewriteRule ^a$ - [F]", Some("/a would be answered; write path = \"~^/a$\", deny = true")),
        (
            "RewriteRule ^(a|b)$ - [F]",
            Some("/a would be answered; write path = \"~^/(?:(a|b)$)\", deny = true"),
        ),
        ("RewriteRule ^a$|^b$ - [F]", Some("/a would be answered; write path = \"/a\", deny = true")),
        ("RewriteRule ^\\.ENV$ - [F,NC]", None),
        (
            "RewriteCond %{QUERY_STRING} x\nRewriteRule ^\\.env$ - [F]",
            Some("a rule with matchers for its conditions"),
        ),
        (
            "RewriteCond %{HTTPS} off\nRewriteRule ^ https://%{HTTP_HOST}%{REQUEST_URI} [L,R=301]",
            Some("scheme = \"http\", redirect = \"https://{host}{target}\", redirect-status = 301"),
        ),
        ("RewriteCond %{HTTP_HOST} !^www\nRewriteRule ^(.*)$ http://www.x/$1 [R]", Some("host = \"…\"")),
        (
            "RewriteRule ^old$ /new [R=301]",
            Some("path = \"…\", redirect = \"…{?query}\", redirect-status = 301"),
        ),
        (
            "RewriteRule ^api/(.*)$ http://127.0.0.1:3000/$1 [P]",
            Some("this proxy sends nothing to other servers"),
        ),
        ("RewriteRule ^ - [E=APP:x]", Some("set-params = { APP")),
        ("RewriteRule ^x$ x.php?a=b [L]", Some("path = \"/x.php\", add-query = \"a=b\"")),
        ("RewriteRule ^(.*)\\.html$ $1.php", Some("a rule with `redirect`, or")),
        ("RewriteRule ^index\\.php$ - [L]", None),
        ("Nonsense on", Some("nothing here does it")),
        ("</Files>", Some("Apache would refuse")),
    ];
    let none = config("none", &[]);
    for (text, expected) in cases {
        let report = report(&none, ".htaccess", text);
        let advice: Vec<&str> = report.findings.iter().map(|finding| finding.advice.as_str()).collect();
        match expected {
            None => assert_eq!(advice, [""; 0], "{text}"),
            Some(expected) => assert!(
                !advice.is_empty() && advice.iter().all(|advice| advice.starts_with(expected)),
                "{text}: {advice:#?}"
            ),
        }
    }
}

#[test]
fn a_directory_below_the_docroot() {
    let none = config("none", &[]);
    let found = findings(&none, "blog/.htaccess", WORDPRESS);
    // The front controller is the docroot's, and so is the one of this file.
    assert_eq!(found, [""; 0]);
    let own = WORDPRESS.replace("/index.php", "/blog/index.php");
    assert_eq!(
        findings(&none, "blog/.htaccess", &own),
        ["8: path = \"/blog/**\", front-controller = \"/blog/index.php\""]
    );
    assert_eq!(
        findings(&none, "a/b/.htaccess", "Deny from all"),
        ["1: /a/b/x and /a/b/x.txt and /a/b/x.html would be sent; write path = \"/a/b/**\", deny = true"]
    );
}

#[test]
fn a_report_in_words() {
    let report = report(&config("none", &[]), ".htaccess", "<Files \"a b\">\nDeny from all\n</Files>\n");
    assert_eq!(
        report.to_string(),
        ".htaccess:2: <files a b> Deny from all\n    /a b and /x/a b would be sent; write file = \"a b\", deny = true\n\
         0 files, 1 directives, 1 not covered\n"
    );
}

#[test]
fn a_docroot_is_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("a")).unwrap();
    std::fs::write(folder.path().join(".htaccess"), "Header set X-A b\nOptions -Indexes\n").unwrap();
    std::fs::write(folder.path().join("a/.htaccess"), "# nothing\n\nDeny from all\n").unwrap();
    // A page of the application may have the name of what a rule denies: its header fields are not judged by it.
    std::fs::write(folder.path().join(".env"), "").unwrap();
    let docroot = format!("--docroot={}", folder.path().display());
    let config = Config::from_flags([docroot.as_str(), "--htaccess=report"]).unwrap();
    assert_eq!(config.htaccess, Mode::Report);
    let report = Report::of(&config);
    let places: Vec<String> = report
        .findings
        .iter()
        .map(|finding| format!("{}:{}", finding.file.display(), finding.line))
        .collect();
    assert_eq!(places, [".htaccess:1", "a/.htaccess:3"]);
    assert_eq!((report.files, report.directives, report.incomplete.len()), (2, 3, 0));
}

#[test]
fn what_the_documentation_shows_is_accepted() {
    let page = include_str!("../../../docs/from-htaccess.md");
    let blocks: Vec<&str> =
        page.split("```toml\n").skip(1).filter_map(|block| block.split("```").next()).collect();
    assert_eq!(blocks.len(), 1);
    for block in blocks {
        let source = common::rules::Source { name: "from-htaccess.md", text: block };
        crate::rules::Rules::of(Preset::Drupal, Some((source, "rule"))).unwrap();
    }
}
