//! With PHP-FPM itself.

use test_support::client::Client;
use test_support::php_fpm::PhpFpm;
use test_support::wait::{DEADLINE, wait_until};

use crate::support::Proxy;

const INDEX: &str = r#"<?php
switch (strtok($_SERVER['REQUEST_URI'], '?')) {
    case '/echo':
        header('Content-Type: application/octet-stream');
        readfile('php://input');
        break;
    case '/upload':
        $file = $_FILES['file'];
        echo $file['name'], ' ', $file['size'], ' ', md5_file($file['tmp_name']), ' ', $_POST['title'];
        break;
    case '/large-head':
        for ($i = 0; $i < 40; $i++) header("X-Tag-$i: " . str_repeat('t', 1000));
        echo 'ok';
        break;
    case '/after':
        echo 'sent';
        fastcgi_finish_request();
        usleep(300000);
        touch(__DIR__ . '/after.done');
        break;
    case '/crash':
        echo str_repeat('x', 20000);
        flush();
        posix_kill(getmypid(), 9);
        break;
    case '/error':
        http_response_code(500);
        error_log('it went wrong');
        echo 'oops';
        break;
    default:
        header('Set-Cookie: a=1');
        header('Set-Cookie: b=2', false);
        echo json_encode(array_intersect_key($_SERVER, array_flip([
            'SCRIPT_NAME', 'SCRIPT_FILENAME', 'PHP_SELF', 'PATH_INFO', 'PATH_TRANSLATED', 'QUERY_STRING',
            'REQUEST_URI', 'HTTPS', 'PHP_AUTH_USER', 'CONTENT_LENGTH', 'REMOTE_ADDR', 'DOCUMENT_ROOT'])),
            JSON_UNESCAPED_SLASHES);
}
"#;

async fn site(flags: &[&str]) -> (PhpFpm, Proxy) {
    let fpm = PhpFpm::builder()
        .max_children(2)
        .ini("upload_max_filesize", "64M")
        .ini("post_max_size", "64M")
        .start()
        .await
        .unwrap();
    let proxy = Proxy::start(&fpm.address(), flags).await;
    proxy.file("index.php", INDEX);
    (fpm, proxy)
}

#[tokio::test]
async fn what_php_sees() {
    let (_fpm, proxy) = site(&["--preset=drupal"]).await;
    let root = proxy.docroot().canonicalize().unwrap().display().to_string();
    let response = proxy.get_with("/node/1?a=b", &[("Authorization", "Basic dTpw")]).await;
    assert_eq!(response.all("set-cookie").collect::<Vec<_>>(), ["a=1", "b=2"]);
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"));
    let seen = response.text();
    for part in [
        "\"SCRIPT_NAME\":\"/index.php\"",
        "\"PHP_SELF\":\"/index.php\"",
        "\"QUERY_STRING\":\"a=b\"",
        "\"REQUEST_URI\":\"/node/1?a=b\"",
        "\"PHP_AUTH_USER\":\"u\"",
        "\"REMOTE_ADDR\":\"127.0.0.1\"",
        &format!("\"SCRIPT_FILENAME\":\"{root}/index.php\""),
        &format!("\"DOCUMENT_ROOT\":\"{root}\""),
    ] {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
    assert!(!seen.contains("PATH_INFO") && !seen.contains("HTTPS"), "{seen}");
    let seen = proxy.get("/index.php/node/1").await.text();
    for part in
        ["\"PATH_INFO\":\"/node/1\"", "\"PHP_SELF\":\"/index.php/node/1\"", "\"SCRIPT_NAME\":\"/index.php\""]
    {
        assert!(seen.contains(part), "{part} is not in {seen}");
    }
}

#[tokio::test]
async fn bodies_heads_and_errors() {
    let (fpm, proxy) = site(&[]).await;
    let body: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 253) as u8).collect();
    assert!(proxy.request("POST", "/echo", &[], &body).await.body == body);
    let response = proxy.get("/large-head").await;
    assert_eq!((response.status, response.header("x-tag-39").map(str::len)), (200, Some(1000)));
    let response = proxy.get("/error").await;
    assert_eq!((response.status, response.text().as_str()), (500, "oops"));

    // A browser's upload, in chunks.
    let form = "--x\r\nContent-Disposition: form-data; name=title\r\n\r\nhello\r\n--x\r\n\
        Content-Disposition: form-data; name=file; filename=a.txt\r\n\r\nabc\r\n--x--\r\n";
    let mut client = Client::connect(proxy.address).await.unwrap();
    let head = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=x\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(format!("{head}{:x}\r\n{form}\r\n0\r\n\r\n", form.len())).await.unwrap();
    let answer = client.response("POST").await.unwrap().text();
    assert_eq!(answer, "a.txt 3 900150983cd24fb0d6963f7d28e17f72 hello");

    let response = proxy.get("/crash").await;
    assert_eq!((response.status, response.is_complete()), (200, false));
    drop((client, fpm));
    assert_eq!(proxy.get("/").await.status, 503);
    proxy.is_idle().await;
}

#[tokio::test]
async fn work_after_the_response() {
    let (_fpm, proxy) = site(&[]).await;
    let response = proxy.get("/after").await;
    assert_eq!(response.text(), "sent");
    let done = proxy.docroot().join("after.done");
    wait_until("the script to come to its end", DEADLINE, async || done.exists()).await;
}
