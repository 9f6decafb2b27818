#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use http::Request;
use proptest::prelude::*;

use super::*;

fn format(text: &str) -> Format {
    text.parse().unwrap()
}

/// A request with fields that a client has chosen with care.
fn entry(format: &Format) -> Entry {
    let request = Request::get("/a?b=%20")
        .header("Host", "a.example")
        .header("User-Agent", HeaderValue::from_bytes(b"a\"b\\\x80\xc3\xa9\t").unwrap())
        .header("Accept", "x y")
        .body(())
        .unwrap();
    let (head, ()) = request.into_parts();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(971_186_136_042);
    let began = Began { time, ..Began::now() };
    let mut entry =
        Entry::of_request(began, [192, 0, 2, 1].into(), "https", &head, format, format.fields(Field::ALL));
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("text/html"))]);
    entry.answered(StatusCode::OK, &headers, Duration::from_micros(1234), format);
    entry.over(7, true);
    entry.total = Duration::from_micros(2_345_678);
    entry
}

fn line(text: &str, change: impl FnOnce(&mut Entry)) -> String {
    let format = format(text);
    let mut entry = entry(&format);
    change(&mut entry);
    let mut line = String::new();
    format.write(&entry, Field::ALL, &mut line);
    line
}

#[test]
fn the_combined_format() {
    let expected = "192.0.2.1 - - [10/Oct/2000:13:55:36 +0000] \"GET /a?b=%20 HTTP/1.1\" 200 7 \"-\" \"a\\\"b\\\\\\x80\\xc3\\xa9\\x09\"";
    assert_eq!(line("combined", |_| {}), expected);
    let noted = line("combined", |entry| (entry.decision, entry.bytes) = ("HIT", 0));
    assert!(noted.ends_with(" 200 - \"-\" \"a\\\"b\\\\\\x80\\xc3\\xa9\\x09\" HIT"), "{noted}");
}

#[test]
fn directives() {
    let cases = [
        ("%h %a %l %u", "192.0.2.1 192.0.2.1 - -"),
        ("%{sec}t %{msec}t %{usec}t", "971186136 971186136042 971186136042000"),
        ("%{iso}t", "2000-10-10T13:55:36.042Z"),
        ("%r|%m|%U|%q|%H|%v|%V", "GET /a?b=%20 HTTP/1.1|GET|/a|?b=%20|HTTP/1.1|a.example|a.example"),
        ("%s %>s %b %B", "200 200 7 7"),
        ("%D %T %{s}T %{ms}T %{us}T", "2345678 2 2 2345 2345678"),
        ("%{accept}i %{Accept}i %{X-None}i %{Content-Type}o", "x y x y - text/html"),
        ("100%% \\t\\\"\\\\", "100% \t\"\\"),
        ("%{user_agent}x", "a\\\"b\\\\\\x80\\xc3\\xa9\\x09"),
        (
            "%{decision}x %{reason}x %{ttl}x %{age}x %{stored}x %{not_stored}x",
            "MISS uri-miss -3 7 false private",
        ),
        ("%{collapsed}x %{rule}x %{script}x %{complete}x", "true - /index.php true"),
        ("%{first_byte_us}x %{upstream_us}x %{total_us}x %{request_id}x", "1234 - 2345678 -"),
    ];
    for (text, expected) in cases {
        let got = line(text, |entry| {
            (entry.decision, entry.reason) = ("MISS", "uri-miss");
            (entry.ttl, entry.age) = (Some(-3), Some(HeaderValue::from_static("7")));
            entry.stored = Some(Err("private"));
            entry.collapsed = Some(true);
            entry.script = Some(b"/index.php".as_slice().into());
        });
        assert_eq!(got, expected, "{text}");
    }
}

#[test]
fn only_what_a_line_says_is_gathered() {
    let said = entry(&format("%v %D"));
    assert!(said.host.is_some() && said.says(Field::Total) && said.is_over());
    let terse = entry(&format("%s"));
    assert!(terse.host.is_none() && terse.user_agent.is_none() && terse.is_over());
    assert!(entry(&format("combined")).user_agent.is_some());
    assert!(entry(&format("%{s}T")).says(Field::Total));
}

#[test]
fn every_field_has_a_name_of_its_own_and_a_directive() {
    for field in Field::ALL {
        let named = Field::ALL.iter().filter(|other| other.name() == field.name());
        assert_eq!(named.count(), 1, "{field:?}");
        assert!(!line(&format!("%{{{}}}x", field.name()), |_| {}).is_empty(), "{field:?}");
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases = [
        ("common", "expected combined, json, or a format"),
        ("", "expected combined, json, or a format"),
        ("%h %z", "at character 4: %z is no directive; those are %h"),
        ("é%h %<s", "at character 5: %< is no directive"),
        ("%>b", "at character 1: %>b is no directive"),
        ("%h %", "at character 4: % is no directive"),
        ("%{x", "at character 1: %{ without }"),
        ("%{x}", "at character 1: %{ without }"),
        ("%h %{verdict}x", "at character 4: there is no field \"verdict\"; those of %{…}x are time, client,"),
        ("%{a b}i", "at character 1: \"a b\" is no name of a header field"),
        ("%{}o", "at character 1: \"\" is no name of a header field"),
        ("%{%Y}t", "at character 1: there is no unit \"%Y\"; those of %{…}t are sec, msec, usec, iso"),
        ("%{m}T", "there is no unit \"m\"; those of %{…}T are s, ms, us"),
        ("%{a}y", "at character 1: %{a}y is no directive"),
        ("%h\n%r", "at character 3: a line break"),
        ("%h \\n", "at character 4: \\n is no escape"),
        ("%h \\", "at character 4: \\ is no escape"),
    ];
    for (text, expected) in cases {
        let error = text.parse::<Format>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    for text in ["combined", "json", "%h %{X-A}i \\\"%%\\\""] {
        assert_eq!(format(text).to_string(), text, "as it was written");
    }
}

#[test]
fn json() {
    let text = line("json", |entry| {
        (entry.decision, entry.reason, entry.ttl) = ("HIT", "fresh", Some(-3));
        entry.stored = Some(Ok(()));
    });
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    let object = value.as_object().unwrap();
    assert_eq!(object.len(), Field::ALL.len(), "every field, known or not");
    assert_eq!(value["time"], "2000-10-10T13:55:36.042Z");
    assert_eq!(value["client"], "192.0.2.1");
    assert_eq!(value["target"], "/a?b=%20");
    assert_eq!(value["user_agent"], "a\"b\\\u{fffd}é\t");
    assert_eq!((&value["status"], &value["bytes"], &value["ttl"]), (&200.into(), &7.into(), &(-3).into()));
    assert_eq!((&value["stored"], &value["complete"]), (&true.into(), &true.into()));
    assert!(value["not_stored"].is_null() && value["rule"].is_null() && value["upstream_us"].is_null());
    assert_eq!(value["total_us"], 2_345_678);
}

proptest! {
    /// Whatever a client sends, a line is one line, its quotes are its own, and JSON says what was sent.
    #[test]
    fn no_bytes_of_a_client_forge_anything(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let Ok(value) = HeaderValue::from_bytes(&bytes) else { return Ok(()) };
        let text = line("[\"%{user_agent}x\"]", |entry| entry.user_agent = Some(value.clone()));
        prop_assert!(text.bytes().all(|byte| (0x20..0x7f).contains(&byte)));
        let inside = text.strip_prefix("[\"").and_then(|text| text.strip_suffix("\"]")).unwrap();
        let mut quoted = inside.bytes();
        while let Some(byte) = quoted.next() {
            prop_assert!(byte != b'"');
            if byte == b'\\' {
                quoted.next();
            }
        }
        let text = line("json", |entry| entry.user_agent = Some(value.clone()));
        prop_assert!(!text.chars().any(char::is_control));
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let sent = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert_eq!(json["user_agent"].as_str().unwrap(), sent);
    }

    #[test]
    fn times_as_httpdate_has_them(seconds in 0..253_402_300_799_u64) {
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let got = line("%t", |entry| entry.began.time = time);
        let date = httpdate::fmt_http_date(time);
        let words: Vec<&str> = date.split(' ').collect();
        prop_assert_eq!(got, format!("[{}/{}/{}:{} +0000]", words[1], words[2], words[3], words[4]));
    }

    #[test]
    fn times_of_day_in_iso_form(seconds in 0..86_400_u64, milliseconds in 0..1000_u64) {
        let since = Duration::from_millis(seconds * 1000 + milliseconds);
        let got = line("%{iso}t", |entry| entry.began.time = SystemTime::UNIX_EPOCH + since);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        prop_assert_eq!(got, format!("1970-01-01T{hour:02}:{minute:02}:{second:02}.{milliseconds:03}Z"));
    }

    #[test]
    fn any_text_is_a_format_or_an_error(text in "[%{}a-zA-Z>\\\\ \"]{0,20}") {
        if let Ok(format) = text.parse::<Format>() {
            let mut line = String::new();
            format.write(&entry(&format), Field::ALL, &mut line);
            prop_assert!(!line.contains('\n'));
        }
    }
}

#[test]
fn every_line_is_written_before_the_log_is_gone_and_a_moved_file_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (path, moved) = (folder.path().join("access.log"), folder.path().join("access.log.1"));
    let format = format("%{bytes}x");
    let log = AccessLog::open(&Destination::File(path.clone()), &format, Field::ALL).unwrap();
    let write = |bytes| {
        let mut entry = entry(&format);
        entry.bytes = bytes;
        log.log(&entry);
    };
    (0..1000).for_each(write);
    std::fs::rename(&path, &moved).unwrap();
    log.reopen();
    (1000..2000).for_each(write);
    drop(log);
    let lines = |path| std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    let (old, new) = (lines(&moved), lines(&path));
    assert!(new.len() >= 1000, "{} lines in the new file", new.len());
    let expected: Vec<String> = (0..2000).map(|number: u64| number.to_string()).collect();
    assert_eq!([old, new].concat(), expected, "none lost, none twice");
}

#[test]
fn a_file_that_cannot_be_opened_anew_stays() {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    let format = format("%{bytes}x");
    let log = AccessLog::open(&Destination::File(logs.join("a.log")), &format, Field::ALL).unwrap();
    std::fs::rename(&logs, folder.path().join("moved")).unwrap();
    log.reopen();
    log.log(&entry(&format));
    drop(log);
    assert_eq!(std::fs::read_to_string(folder.path().join("moved/a.log")).unwrap(), "7\n");
}

/// A pipe that nobody reads holds nobody up.
#[test]
fn a_destination_that_hangs_costs_lines_and_no_time() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    // Opened for both, so that opening it for writing does not wait for a reader.
    let reader = std::fs::File::options().read(true).write(true).open(&pipe).unwrap();
    let format = format(&format!("%B{}", "x".repeat(999)));
    let log = AccessLog::open(&Destination::File(pipe), &format, Field::ALL).unwrap();
    let line = entry(&format);
    let lines = 2 * BACKLOG / 1000;
    (0..lines).for_each(|_| log.log(&line));
    assert!(log.dropped().get() > 0);
    let dropped = usize::try_from(log.dropped().get()).unwrap();
    // What was not dropped comes out when somebody reads.
    let reading = std::thread::spawn(move || {
        use std::io::Read as _;
        let mut text = vec![0; (lines - dropped) * 1001];
        (&reader).read_exact(&mut text).unwrap();
        text
    });
    drop(log);
    assert!(reading.join().unwrap().chunks(1001).all(|line| line.ends_with(b"x\n")));
}
