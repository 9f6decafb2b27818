#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519};
use tempfile::TempDir;
use tokio_rustls::rustls::SignatureScheme;

use super::certificates::{Validity, validity};
use super::files::{fingerprint, load};
use super::{Certificates, Sources};
use crate::Config;

/// A self-signed certificate and its key, as PEM.
fn pem(names: &[&str]) -> (String, String) {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    pem_with(names, &key)
}

fn pem_with(names: &[&str], key: &KeyPair) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let certificate = CertificateParams::new(names).unwrap().self_signed(key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

fn sources(certificates: &[&Path], keys: &[&Path]) -> Sources {
    let owned = |paths: &[&Path]| paths.iter().map(|path| (*path).to_owned()).collect::<Vec<PathBuf>>();
    Sources { certificates: owned(certificates), keys: owned(keys) }
}

/// In a folder of its own, each as NAME.pem.
fn certificates(of: &[(&str, &[&str])]) -> Certificates {
    let folder = TempDir::new().unwrap();
    for (file, names) in of {
        let (chain, key) = pem(names);
        fs::write(folder.path().join(file).with_extension("pem"), chain + &key).unwrap();
    }
    load(&sources(&[folder.path()], &[])).unwrap()
}

#[test]
fn which_certificate_answers() {
    let all = certificates(&[
        ("1-default", &["example.org", "www.example.org"]),
        ("2-wildcard", &["*.example.org"]),
        ("3-deep", &["a.b.example.org"]),
        ("4-other", &["Example.NET", "*.example.net"]),
    ]);
    let cases = [
        (None, "1-default"),
        (Some("example.org"), "1-default"),
        (Some("EXAMPLE.org"), "1-default"),
        (Some("example.org."), "1-default"),
        (Some("www.example.org"), "1-default"),
        (Some("shop.example.org"), "2-wildcard"),
        // A wildcard is one label.
        (Some("a.b.example.org"), "3-deep"),
        (Some("c.b.example.org"), "1-default"),
        (Some("example.net"), "4-other"),
        (Some("x.example.net"), "4-other"),
        (Some("unknown.example"), "1-default"),
        (Some("org"), "1-default"),
        (Some(""), "1-default"),
        (Some("*.example.net"), "4-other"),
    ];
    for (name, expected) in cases {
        let chosen = all.choose(name, |_| true).unwrap();
        assert_eq!(chosen.file.file_stem().unwrap().to_str(), Some(expected), "{name:?}");
    }
    assert!(all.choose(Some("example.org"), |_| false).is_none(), "none that the client can use");
    assert!(Certificates::default().choose(None, |_| true).is_none());
}

#[test]
fn of_two_for_one_name_the_first_that_the_client_can_use() {
    let folder = TempDir::new().unwrap();
    for (file, algorithm) in [("1.pem", &PKCS_ED25519), ("2.pem", &PKCS_ECDSA_P256_SHA256)] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let (chain, key) = pem_with(&["a.example"], &key);
        fs::write(folder.path().join(file), chain + &key).unwrap();
    }
    let all = load(&sources(&[folder.path()], &[])).unwrap();
    for (schemes, expected) in [
        (&[SignatureScheme::ED25519, SignatureScheme::ECDSA_NISTP256_SHA256][..], Some("1.pem")),
        (&[SignatureScheme::ECDSA_NISTP256_SHA256], Some("2.pem")),
        (&[SignatureScheme::RSA_PKCS1_SHA256], None),
    ] {
        let chosen =
            all.choose(Some("a.example"), |certificate| certificate.key.key.choose_scheme(schemes).is_some());
        let name = chosen.map(|certificate| certificate.file.file_name().unwrap().to_str().unwrap());
        assert_eq!(name, expected, "{schemes:?}");
    }
}

#[test]
fn where_keys_are_looked_for() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (chain, key) = pem(&["a.example"]);
    fs::write(at("both.pem"), format!("{chain}{key}")).unwrap();
    fs::write(at("key-first.pem"), format!("{key}{chain}")).unwrap();
    fs::write(at("beside.crt"), &chain).unwrap();
    fs::write(at("beside.key"), &key).unwrap();
    // As Swarm mounts a secret: no ending at all.
    fs::write(at("tls_certificate"), &chain).unwrap();
    fs::write(at("tls_key"), &key).unwrap();
    fs::write(at("README"), "not a certificate").unwrap();
    fs::write(at(".hidden.pem"), "not one either").unwrap();
    fs::create_dir(at("folder.pem")).unwrap();
    for (certificate, key) in [
        ("both.pem", None),
        ("key-first.pem", None),
        ("beside.crt", None),
        ("tls_certificate", Some("tls_key")),
    ] {
        let key = key.map(at);
        let keys: Vec<&Path> = key.as_deref().into_iter().collect();
        let all = load(&sources(&[&at(certificate)], &keys)).unwrap();
        assert_eq!(all.all()[0].names, ["a.example"], "{certificate}");
    }
    let first = at("key-first.pem");
    let all = load(&sources(&[&first, folder.path()], &[])).unwrap();
    let files: Vec<&str> =
        all.all().iter().map(|one| one.file.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(files, ["key-first.pem", "beside.crt", "both.pem"], "by name, each once");
}

#[test]
fn what_is_wrong_is_said_with_its_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    let write = |name: &str, text: &str| fs::write(path.join(name), text).unwrap();
    let (chain, key) = pem(&["a.example"]);
    let (_, other) = pem(&["a.example"]);
    write("good.pem", &format!("{chain}{key}"));
    write("good.crt", &chain);
    write("good.key", &key);
    write("alone.pem", &chain);
    write("only.key", &key);
    write("only-key.pem", &key);
    write("other.key", &other);
    write("empty.pem", "");
    write("text.pem", "hello\n");
    write("cut.pem", &chain[..chain.len() / 2]);
    write("der.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    write(
        "encrypted.pem",
        &format!(
            "{chain}-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n"
        ),
    );
    write(
        "encrypted.key",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\naGVsbG8=\n-----END RSA PRIVATE KEY-----\n",
    );
    write("broken.key", "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n");
    let cases: [(&[&str], &[&str], &str); 17] = [
        (&[], &[], "tls-listen needs tls-certificate"),
        (&["missing.pem"], &[], "tls-certificate: cannot read {}/missing.pem: No such file"),
        (
            &["alone.pem"],
            &[],
            "tls-certificate: {}/alone.pem holds no private key: expected it in this file, in {}/alone.key",
        ),
        (&["only-key.pem"], &[], "tls-certificate: {}/only-key.pem holds no certificate"),
        (&["empty.pem"], &[], "tls-certificate: {}/empty.pem holds no certificate"),
        (&["text.pem"], &[], "tls-certificate: {}/text.pem holds no certificate"),
        (&["cut.pem"], &[], "tls-certificate: {}/cut.pem is not PEM"),
        (&["der.pem"], &[], "tls-certificate: {}/der.pem: the certificate cannot be understood"),
        (&["encrypted.pem"], &[], "tls-certificate: the private key in {}/encrypted.pem is encrypted"),
        (&["good.crt"], &["encrypted.key"], "tls-key: the private key in {}/encrypted.key is encrypted"),
        (&["good.crt"], &["broken.key"], "tls-key: the private key in {}/broken.key cannot be used"),
        (
            &["good.crt"],
            &["other.key"],
            "tls-key: the private key in {}/other.key is not that of the first certificate in {}/good.crt",
        ),
        (&["good.crt"], &["good.crt"], "tls-key: {}/good.crt holds no private key"),
        (&["good.crt"], &["missing.key"], "tls-key: cannot read {}/missing.key"),
        (&["good.crt", "good.pem"], &["good.key"], "tls-key: 1 for the 2 of tls-certificate"),
        (&["."], &["good.key"], "tls-key: {}/. is a folder"),
        (&["."], &[], "tls-certificate: {}/./alone.pem holds no private key"),
    ];
    for (certificates, keys, expected) in cases {
        let flag = |option: &str, name: &&str| format!("--{option}={}/{name}", path.display());
        let mut flags = vec!["--tls-listen=127.0.0.1:0".to_owned()];
        flags.extend(certificates.iter().map(|name| flag("tls-certificate", name)));
        flags.extend(keys.iter().map(|name| flag("tls-key", name)));
        let error = Config::from_flags(flags.iter().map(String::as_str)).unwrap_err().to_string();
        let expected = expected.replace("{}", &path.display().to_string());
        assert!(error.starts_with(&expected), "{certificates:?} {keys:?}: {error}");
    }
}

#[test]
fn an_empty_folder_is_for_certificates_to_come() {
    let folder = TempDir::new().unwrap();
    let sources = sources(&[folder.path()], &[]);
    let none = load(&sources).unwrap();
    assert!(none.all().is_empty());
    let before = fingerprint(&sources);
    let (chain, key) = pem(&["a.example"]);
    fs::write(folder.path().join("a.crt"), chain).unwrap();
    let with_chain = fingerprint(&sources);
    assert_ne!(before, with_chain);
    load(&sources).unwrap_err();
    fs::write(folder.path().join("a.key"), key).unwrap();
    assert_ne!(with_chain, fingerprint(&sources), "a key beside is seen, too");
    assert!(!load(&sources).unwrap().are_those_of(&none));
}

#[test]
fn no_listener_needs_no_certificate() {
    assert!(Config::from_flags(["--tls-certificate=/nowhere"]).unwrap().tls.is_none());
}

#[test]
fn when_there_is_a_warning() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    let day = 86_400;
    for (not_after, expected) in [
        (-5, Validity::Expired),
        (999_999, Validity::Expired),
        (1_000_000, Validity::Soon(Duration::ZERO)),
        (1_000_000 + day, Validity::Soon(Duration::from_hours(24))),
        (1_000_000 + 7 * day, Validity::Valid),
    ] {
        assert_eq!(validity(not_after, now), expected, "{not_after}");
    }
}
