//! The `fastcgi-client` crate talks to our server side: both must mean the same bytes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::borrow::Cow;
use std::collections::BTreeMap;

use bytes::Bytes;
use common::fastcgi::{
    EndRequest, Limits, Outbound, ProtocolStatus, RequestDecoder, RequestEvent, ResponseEncoder, io,
};
use fastcgi_client::{Client, ClientError, Request, Response};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use tokio::io::{AsyncWriteExt as _, DuplexStream};

type Pairs = BTreeMap<String, String>;

/// What our side answers with: pieces of output, or of the log where the flag is set.
#[derive(Debug, Clone)]
struct Answer {
    chunks: Vec<(bool, Vec<u8>)>,
    end: EndRequest,
}

/// Serves one request with our codec; gives back what it was.
async fn serve(mut stream: DuplexStream, answer: Answer) -> (Pairs, Vec<u8>) {
    let mut decoder = RequestDecoder::new(Limits { params: 1 << 24, ..Limits::default() });
    let (mut pairs, mut body) = (Pairs::new(), Vec::new());
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let id = loop {
        match io::request(&mut stream, &mut decoder).await.unwrap().unwrap() {
            RequestEvent::Begin { .. } => {}
            RequestEvent::Params { params, .. } => {
                pairs = params.iter().map(|(name, value)| (text(name), text(value))).collect();
            }
            RequestEvent::Stdin { chunk, .. } => body.extend_from_slice(&chunk),
            RequestEvent::StdinEnd { id } => break id,
            other => panic!("{other:?}"),
        }
    };
    let mut out = Outbound::new();
    let response = ResponseEncoder::new(id);
    for (log, chunk) in answer.chunks {
        if log { response.stderr(&mut out, chunk.into()) } else { response.stdout(&mut out, chunk.into()) }
    }
    response.stdout_end(&mut out);
    response.end(&mut out, answer.end);
    stream.write_all_buf(&mut out).await.unwrap();
    (pairs, body)
}

fn exchange(
    pairs: &Pairs,
    body: &[u8],
    keep_alive: bool,
    answer: Answer,
) -> (Pairs, Vec<u8>, Result<Response, ClientError>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let (ours, theirs) = tokio::io::duplex(4096);
        let served = tokio::spawn(serve(ours, answer));
        let mut params = fastcgi_client::Params::default();
        params.clear();
        for (name, value) in pairs {
            params.insert(Cow::Borrowed(name), Cow::Borrowed(value));
        }
        let request = Request::new_tokio(params, body);
        let response = if keep_alive {
            Client::new_keep_alive_tokio(theirs).execute(request).await
        } else {
            Client::new_tokio(theirs).execute_once(request).await
        };
        let (pairs, body) = served.await.unwrap();
        (pairs, body, response)
    })
}

fn values() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,300}", "[a-z]{100}".prop_map(|text| text.repeat(400))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn both_sides_agree(
        pairs in btree_map("[A-Z_]{1,150}", values(), 0..30),
        body in prop_oneof![vec(any::<u8>(), 0..500), (0..200_000_usize).prop_map(|length| vec![9; length])],
        chunks in vec((any::<bool>(), vec(any::<u8>(), 0..9000)), 0..8),
        keep_alive: bool,
    ) {
        let expected = |log: bool| -> Vec<u8> {
            chunks.iter().filter(|(is_log, _)| *is_log == log).flat_map(|(_, chunk)| chunk.clone()).collect()
        };
        let answer = Answer { chunks: chunks.clone(), end: EndRequest::COMPLETE };
        let (seen_pairs, seen_body, response) = exchange(&pairs, &body, keep_alive, answer);
        prop_assert_eq!(seen_pairs, pairs);
        prop_assert_eq!(seen_body, body);
        let response = response.unwrap();
        prop_assert_eq!(response.stdout.unwrap_or_default(), expected(false));
        prop_assert_eq!(response.stderr.unwrap_or_default(), expected(true));
    }
}

#[test]
fn refusals_are_understood() {
    let refused = |protocol_status| {
        let end = EndRequest { app_status: 7, protocol_status };
        exchange(&Pairs::new(), b"", false, Answer { chunks: Vec::new(), end }).2.unwrap_err()
    };
    let overloaded = refused(ProtocolStatus::Overloaded);
    assert!(matches!(overloaded, ClientError::EndRequestOverloaded { app_status: 7 }));
    let multiplexed = refused(ProtocolStatus::CantMultiplex);
    assert!(matches!(multiplexed, ClientError::EndRequestCantMpxConn { app_status: 7 }));
    let role = refused(ProtocolStatus::UnknownRole);
    assert!(matches!(role, ClientError::EndRequestUnknownRole { app_status: 7 }));
}

#[test]
fn a_long_page_arrives_whole() {
    let page = vec![b'x'; 1 << 20];
    let answer = Answer { chunks: vec![(false, page.clone())], end: EndRequest::COMPLETE };
    let (_, _, response) = exchange(&Pairs::new(), b"", true, answer);
    assert_eq!(response.unwrap().stdout.unwrap(), page);
}
