#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::io::Write as _;

use super::*;
use crate::config::{ByteSize, HumanDuration, Secret};

#[derive(Parser, Debug)]
#[command(name = "probe")]
struct Probe {
    #[arg(long)]
    config: Option<PathBuf>,
    #[arg(long, default_value = "127.0.0.1:80", value_delimiter = ',')]
    listen: Vec<String>,
    #[arg(long, default_value = "1MiB")]
    memory: ByteSize,
    #[arg(long, default_value = "5s")]
    grace: HumanDuration,
    #[arg(long)]
    proxy_protocol: bool,
    #[arg(long)]
    password: Option<Secret>,
}

fn parse(args: &[&str], env: &[(&str, &str)]) -> Result<Loaded<Probe>, ConfigError> {
    let env: HashMap<&str, &str> = env.iter().copied().collect();
    let args = std::iter::once("probe").chain(args.iter().copied());
    load_with("PROBE", args, &[], &|name| env.get(name).map(Into::into))
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

#[test]
fn a_flag_wins_over_the_environment_over_the_file_over_the_default() {
    let conf = file("memory = \"2MiB\"\ngrace = \"7s\"\nlisten = [\"a:1\", \"b:2\"]\n");
    let conf = conf.path().to_str().unwrap();
    let all = parse(&["--config", conf, "--memory=4MiB"], &[("PROBE_MEMORY", "3MiB"), ("PROBE_GRACE", "8s")])
        .unwrap();
    assert_eq!(all.options.memory.bytes(), 4 << 20);
    assert_eq!(all.options.grace.as_secs(), 8);
    assert_eq!(all.options.listen, ["a:1", "b:2"]);
    let file_only = parse(&[], &[("PROBE_CONFIG", conf)]).unwrap();
    assert_eq!(file_only.options.memory.bytes(), 2 << 20);
    assert!(!file_only.options.proxy_protocol);
    let none = parse(&[], &[]).unwrap();
    assert_eq!(
        (none.options.memory.bytes(), none.options.listen),
        (1 << 20, vec!["127.0.0.1:80".to_owned()])
    );
}

#[test]
fn a_list_is_separated_by_commas_in_the_environment() {
    let loaded = parse(&[], &[("PROBE_LISTEN", "a:1, b:2")]).unwrap();
    assert_eq!(loaded.options.listen, ["a:1", "b:2"]);
}

#[test]
fn a_switch_can_be_set_anywhere() {
    let conf = file("proxy-protocol = true\n");
    let conf = conf.path().to_str().unwrap();
    assert!(parse(&["--config", conf], &[]).unwrap().options.proxy_protocol);
    assert!(parse(&["--proxy-protocol"], &[]).unwrap().options.proxy_protocol);
    assert!(parse(&[], &[("PROBE_PROXY_PROTOCOL", "true")]).unwrap().options.proxy_protocol);
}

#[test]
fn a_secret_is_read_from_the_file_that_its_variable_names() {
    let secret = file("s3cret\n");
    let path = secret.path().to_str().unwrap();
    let loaded = parse(&[], &[("PROBE_PASSWORD_FILE", path)]).unwrap();
    assert_eq!(loaded.options.password.as_ref().unwrap().expose(), "s3cret");
    let both = parse(&[], &[("PROBE_PASSWORD_FILE", path), ("PROBE_PASSWORD", "x")]).unwrap_err();
    assert!(both.to_string().contains("PROBE_PASSWORD_FILE"), "{both}");
}

#[test]
fn errors_name_the_key_the_place_and_what_is_accepted() {
    let cases = [
        ("\nmemry = \"2MiB\"\n", ":2: unknown key `memry` (did you mean `memory`?)"),
        ("# x\n\nmemory = \"2 apples\"\n", ":3: memory = \"2 apples\": expected a size such as"),
        ("grace = [\"1s\", \"2s\"]\n", ":1: grace = \"1s, 2s\": expected one value, found 2"),
        ("proxy-protocol = \"maybe\"\n", ":1: proxy-protocol = \"maybe\": expected true or false"),
        ("[memory]\nx = 1\n", ":1: memory = \"table\": expected a string"),
        ("listen = \n", ":1: not valid TOML"),
    ];
    for (text, expected) in cases {
        let conf = file(text);
        let error = parse(&["--config", conf.path().to_str().unwrap()], &[]).unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?} gave {error:?}");
        assert!(error.starts_with(conf.path().to_str().unwrap()), "{error}");
    }
    let error = parse(&[], &[("PROBE_GRACE", "soon")]).unwrap_err().to_string();
    assert!(error.starts_with("PROBE_GRACE: grace = \"soon\": expected a duration"), "{error}");
    let error = parse(&["--config", "/nonexistent.toml"], &[]).unwrap_err().to_string();
    assert!(error.contains("cannot read /nonexistent.toml, the file that --config names"), "{error}");
}

#[test]
fn what_is_rendered_can_be_loaded_again() {
    let first = parse(&["--memory=4MiB", "--proxy-protocol"], &[("PROBE_GRACE", "8s")]).unwrap();
    let text = first.rendered;
    assert!(text.contains("memory = \"4MiB\"  # flag"), "{text}");
    assert!(text.contains("grace = \"8s\"  # environment"), "{text}");
    assert!(text.contains("listen = [\"127.0.0.1:80\"]  # default"), "{text}");
    let unset = parse(&[], &[]).unwrap().rendered;
    assert!(unset.contains("proxy-protocol = false  # default"), "{unset}");
    let conf = file(&text);
    let again = parse(&["--config", conf.path().to_str().unwrap()], &[]).unwrap();
    assert_eq!(again.options.memory.bytes(), 4 << 20);
    assert!(again.options.proxy_protocol);
    let twice = file(&again.rendered);
    parse(&["--config", twice.path().to_str().unwrap()], &[]).unwrap();
}

#[test]
fn tables_beside_the_options_are_left_to_others() {
    let conf = file("memory = \"2MiB\"\n[[rule]]\nname = \"x\"\n");
    let args = ["probe", "--config", conf.path().to_str().unwrap()];
    let loaded = load_with::<Probe>("PROBE", args, &["rule"], &|_| None).unwrap();
    assert_eq!(loaded.options.memory.bytes(), 2 << 20);
    assert_eq!(loaded.values["memory"], "\"2MiB\"");
    assert!(loaded.file.unwrap().text.contains("[[rule]]"));
    let error = load_with::<Probe>("PROBE", args, &[], &|_| None).unwrap_err().to_string();
    assert!(error.contains(":2: rule"), "{error}");
}

#[test]
fn a_secret_is_not_printed() {
    let env = [("PROBE_PASSWORD", "s3cret")];
    let loaded = parse(&[], &env).unwrap();
    assert_eq!(loaded.options.password.as_ref().unwrap().expose(), "s3cret");
    assert!(loaded.rendered.contains("# password = \"(not shown)\"  # environment\n"), "{}", loaded.rendered);
    let many = file("password = [\"s3cret\", \"other\"]\n");
    let printed = [
        format!("{loaded:?}"),
        parse(&["--help"], &env).unwrap_err().to_string(),
        parse(&["--config", many.path().to_str().unwrap()], &[]).unwrap_err().to_string(),
    ];
    for text in printed {
        assert!(text.contains("assword") && !text.contains("s3cret"), "{text}");
    }
}
