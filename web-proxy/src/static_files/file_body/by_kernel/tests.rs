#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
use std::fs::File;
use std::future::poll_fn;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::super::Version;
use super::*;

const LENGTH: usize = 8 << 20;

async fn connected() -> (WriteDeadline<Stream>, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (ours, _) = listener.accept().await.unwrap();
    (WriteDeadline::new(Stream::Tcp(ours), Duration::from_mins(1)), client)
}

fn content() -> Vec<u8> {
    (0..LENGTH).map(|at| (at / 4096 * 7 + at) as u8).collect()
}

fn body(start: u64) -> (Arc<Stored>, FileBody<Readable>) {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&content()).unwrap();
    let version = Version::of(&file.metadata().unwrap());
    let stored = Arc::new(Stored { file, in_memory: true });
    let readable = Readable::File(Arc::clone(&stored));
    (stored, FileBody::new(readable, version, start, LENGTH as u64))
}

#[tokio::test]
async fn all_but_the_last_bytes() {
    let (mut stream, mut client) = connected().await;
    let (_, mut body) = body(5);
    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        got
    });
    let mut sent = 0;
    while let Some(piece) = poll_fn(|cx| body.poll_send(cx, &mut stream)).await {
        let piece = piece.unwrap();
        assert!(piece <= MOST as usize);
        sent += piece;
    }
    assert!(body.left() >= LAST, "{}", body.left());
    assert_eq!(sent as u64 + body.left(), LENGTH as u64 - 5);
    drop(stream);
    assert!(reading.await.unwrap() == content()[5..5 + sent]);
}

#[tokio::test]
async fn a_file_that_changes_is_not_sent_on() {
    type Change = fn(&File);
    let changes: [(&str, Change); 3] = [
        ("emptied", |file| file.set_len(0).unwrap()),
        ("longer", |file| file.set_len(LENGTH as u64 + 1).unwrap()),
        ("edited", |file| file.write_all_at(b"?", LENGTH as u64 - 1).unwrap()),
    ];
    for (name, change) in changes {
        let (mut stream, _client) = connected().await;
        let (stored, mut body) = body(0);
        // Longer than a tick of the clock that file systems stamp with.
        stored.file.set_modified(std::time::UNIX_EPOCH).unwrap();
        body.opened = stored.version(Wait::Never).unwrap();
        poll_fn(|cx| body.poll_send(cx, &mut stream)).await.unwrap().unwrap();
        change(&stored.file);
        let told = loop {
            match poll_fn(|cx| body.poll_send(cx, &mut stream)).await {
                Some(Ok(_)) => {}
                Some(Err(error)) => break Some(error),
                None => break None,
            }
        };
        assert!(matches!(told, Some(SendError::File(FileBodyError::Changed))), "{name}: {told:?}");
        assert!(poll_fn(|cx| body.poll_send(cx, &mut stream)).await.is_none());
        assert!(body.left() > 0);
    }
}

#[tokio::test]
async fn a_client_that_is_gone() {
    let (mut stream, client) = connected().await;
    let (_, mut body) = body(0);
    client.set_zero_linger().unwrap();
    drop(client);
    let told = loop {
        match poll_fn(|cx| body.poll_send(cx, &mut stream)).await {
            Some(Ok(_)) => {}
            told => break told,
        }
    };
    assert!(matches!(told, Some(Err(SendError::Client(_)))), "{told:?}");
}

#[test]
fn others_have_their_turn() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (mut stream, mut client) = connected().await;
        let (_, mut body) = body(0);
        let (mut pauses, mut in_a_row) = (0, 0);
        let mut taken = vec![0; 4 << 20];
        while body.is_for_the_kernel() {
            let mut waits = false;
            let sent = poll_fn(|cx| match body.poll_send(cx, &mut stream) {
                Poll::Pending => {
                    waits = true;
                    Poll::Ready(None)
                }
                Poll::Ready(sent) => Poll::Ready(Some(sent)),
            })
            .await;
            match sent {
                Some(sent) => in_a_row += sent.unwrap().unwrap(),
                None => in_a_row = 0,
            }
            pauses += usize::from(waits);
            assert!(in_a_row as u64 <= TURN + MOST, "{in_a_row}");
            assert!(client.read(&mut taken).await.unwrap() > 0);
        }
        assert!(pauses > 0);
    });
}
