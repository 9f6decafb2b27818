//! Properties of the FastCGI codec, over byte streams that are cut anywhere.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::{Buf as _, Bytes, BytesMut};
use common::fastcgi::{
    BeginRequest, EndRequest, Header, Limits, MAX_SENT, Outbound, Params, ProtocolError, ProtocolStatus,
    Record, RecordType, RequestDecoder, RequestEncoder, RequestEvent, ResponseDecoder, ResponseEncoder,
    ResponseEvent, Role, io, message, values,
};
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes_of(mut out: Outbound) -> Vec<u8> {
    let length = out.remaining();
    out.copy_to_bytes(length).to_vec()
}

/// A record as a peer might send it, with any padding.
fn raw(kind: RecordType, request_id: u16, content: &[u8], padding_length: u8) -> Vec<u8> {
    let header = Header { kind, request_id, content_length: content.len() as u16, padding_length };
    [&header.encode(), content, &vec![0xAA; padding_length.into()]].concat()
}

/// `bytes` in pieces whose lengths follow `cuts`, again and again.
fn pieces<'a>(mut bytes: &'a [u8], cuts: &'a [usize]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        if bytes.is_empty() {
            return None;
        }
        let (piece, rest) = bytes.split_at(bytes.len().min(*cuts.next()?));
        bytes = rest;
        Some(piece)
    })
}

fn requests(bytes: &[u8], cuts: &[usize]) -> Result<Vec<RequestEvent>, ProtocolError> {
    let mut decoder = RequestDecoder::new(Limits { params: 1 << 24, ..Limits::default() });
    let mut events = Vec::new();
    for piece in pieces(bytes, cuts) {
        decoder.buffer().extend_from_slice(piece);
        while let Some(event) = decoder.next_event()? {
            events.push(event);
        }
    }
    Ok(events)
}

fn responses(bytes: &[u8], cuts: &[usize]) -> Result<Vec<ResponseEvent>, ProtocolError> {
    let mut decoder = ResponseDecoder::new(1);
    let mut events = Vec::new();
    for piece in pieces(bytes, cuts) {
        decoder.buffer().extend_from_slice(piece);
        while let Some(event) = decoder.next_event()? {
            events.push(event);
        }
    }
    decoder.eof()?;
    Ok(events)
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    vec(prop_oneof![1..20_usize, 1..70_000_usize], 1..8)
}

fn params() -> impl Strategy<Value = Params> {
    let name = vec(any::<u8>(), 0..200);
    let value = prop_oneof![
        4 => vec(any::<u8>(), 0..300),
        1 => (0..140_000_usize).prop_map(|length| vec![b'v'; length]),
    ];
    vec((name, value), 0..40).prop_map(|pairs| pairs.into_iter().collect())
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..2000), (0..200_000_usize).prop_map(|length| vec![7; length])]
}

fn kinds() -> impl Strategy<Value = RecordType> {
    any::<u8>().prop_map(RecordType::from_u8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn records_survive_any_padding_and_any_cut(
        records in vec((kinds(), any::<u16>(), vec(any::<u8>(), 0..3000), any::<u8>()), 1..8),
        cuts in cuts(),
    ) {
        let bytes: Vec<u8> =
            records.iter().flat_map(|(kind, id, content, padding)| raw(*kind, *id, content, *padding)).collect();
        let mut buffer = BytesMut::new();
        let mut seen = Vec::new();
        for piece in pieces(&bytes, &cuts) {
            buffer.extend_from_slice(piece);
            while let Some(record) = Record::decode(&mut buffer).unwrap() {
                seen.push((record.kind, record.request_id, record.content.to_vec()));
            }
        }
        prop_assert!(buffer.is_empty());
        let expected: Vec<_> = records.into_iter().map(|(kind, id, content, _)| (kind, id, content)).collect();
        prop_assert_eq!(seen, expected);
    }

    #[test]
    fn a_request_survives(params in params(), body in body(), keep_conn: bool, cuts in cuts(), id in 1..=u16::MAX) {
        let mut out = Outbound::new();
        let request = RequestEncoder::new(id);
        request.begin(&mut out, Role::Responder, keep_conn, &params);
        request.stdin(&mut out, Bytes::from(body.clone()));
        request.stdin_end(&mut out);
        let mut events = requests(&bytes_of(out), &cuts).unwrap().into_iter();
        let begin = BeginRequest { role: Role::Responder, keep_conn };
        prop_assert_eq!(events.next(), Some(RequestEvent::Begin { id, begin }));
        prop_assert_eq!(events.next(), Some(RequestEvent::Params { id, params }));
        prop_assert_eq!(events.next_back(), Some(RequestEvent::StdinEnd { id }));
        let mut received = Vec::new();
        for event in events {
            let RequestEvent::Stdin { chunk, .. } = event else { panic!("{event:?}") };
            received.extend_from_slice(&chunk);
        }
        prop_assert_eq!(received, body);
    }

    #[test]
    fn parameters_straddle_inbound_records(params in params(), width in 1..9000_usize, cuts in cuts()) {
        // As one run of pairs, cut without regard to them, as some web servers do.
        let mut out = Outbound::new();
        params.encode(RecordType::Params, 1, &mut out);
        let mut buffer = BytesMut::from(&bytes_of(out)[..]);
        let mut pairs = Vec::new();
        while let Some(record) = Record::decode(&mut buffer).unwrap() {
            pairs.extend_from_slice(&record.content);
        }
        let begin = BeginRequest { role: Role::Responder, keep_conn: false }.encode();
        let mut bytes = raw(RecordType::BeginRequest, 1, &begin, 0);
        for content in pairs.chunks(width) {
            bytes.extend(raw(RecordType::Params, 1, content, 3));
        }
        bytes.extend(raw(RecordType::Params, 1, b"", 8));
        let events = requests(&bytes, &cuts).unwrap();
        prop_assert_eq!(events.last(), Some(&RequestEvent::Params { id: 1, params }));
    }

    #[test]
    fn pairs_never_straddle_outbound_and_records_are_padded(params in params()) {
        let mut out = Outbound::new();
        params.encode(RecordType::Params, 1, &mut out);
        let bytes = bytes_of(out);
        prop_assert_eq!(bytes.len() % 8, 0);
        let longest = params.iter().map(|(name, value)| name.len() + value.len() + 8).max().unwrap_or(0);
        let mut buffer = BytesMut::from(&bytes[..]);
        while let Some(record) = Record::decode(&mut buffer).unwrap() {
            prop_assert!(record.content.len() <= MAX_SENT);
            prop_assert!(!record.content.is_empty());
            if longest <= MAX_SENT {
                let mut alone = common::fastcgi::ParamsDecoder::new(1 << 24);
                alone.push(record.content).unwrap();
                prop_assert!(alone.finish().is_ok());
            }
        }
    }

    #[test]
    fn a_response_survives_with_its_log_interleaved(
        chunks in vec((any::<bool>(), body()), 0..12),
        app_status: u32,
        cuts in cuts(),
    ) {
        let mut out = Outbound::new();
        let response = ResponseEncoder::new(1);
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        for (log, chunk) in chunks {
            if log {
                stderr.extend_from_slice(&chunk);
                response.stderr(&mut out, chunk.into());
            } else {
                stdout.extend_from_slice(&chunk);
                response.stdout(&mut out, chunk.into());
            }
        }
        response.stdout_end(&mut out);
        let end = EndRequest { app_status, protocol_status: ProtocolStatus::RequestComplete };
        response.end(&mut out, end);
        let bytes = bytes_of(out);

        let (mut out, mut log) = (Vec::new(), Vec::new());
        let mut events = responses(&bytes, &cuts).unwrap().into_iter();
        prop_assert_eq!(events.next_back(), Some(ResponseEvent::End(end)));
        prop_assert_eq!(events.next_back(), Some(ResponseEvent::StdoutEnd));
        for event in events {
            match event {
                ResponseEvent::Stdout(chunk) => out.extend_from_slice(&chunk),
                ResponseEvent::Stderr(chunk) => log.extend_from_slice(&chunk),
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(out, stdout);
        prop_assert_eq!(log, stderr);
    }

    #[test]
    fn a_response_without_its_end_is_premature(body in body(), at in 0.0..1.0_f64, cuts in cuts()) {
        let mut out = Outbound::new();
        ResponseEncoder::new(1).stdout(&mut out, body.into());
        ResponseEncoder::new(1).end(&mut out, EndRequest::COMPLETE);
        let bytes = bytes_of(out);
        #[allow(clippy::cast_sign_loss, reason = "the factor is positive")]
        let kept = (bytes.len() as f64 * at) as usize;
        let error = responses(&bytes[..kept], &cuts).unwrap_err();
        let ProtocolError::PrematureEof { stdout, silent } = error else { panic!("{error}") };
        prop_assert!(stdout <= kept as u64);
        prop_assert_eq!(silent, kept == 0);
    }

    #[test]
    fn multiplexed_requests_are_told_apart(
        bodies in vec(body(), 2..6),
        order in vec(any::<prop::sample::Index>(), 1..60),
        cuts in cuts(),
    ) {
        let mut out = Outbound::new();
        let ids: Vec<u16> = (1..).take(bodies.len()).collect();
        for id in &ids {
            let params: Params = [("ID", id.to_string())].into_iter().collect();
            RequestEncoder::new(*id).begin(&mut out, Role::Responder, true, &params);
        }
        let mut rest: Vec<Bytes> = bodies.iter().map(|body| Bytes::from(body.clone())).collect();
        for index in &order {
            let n = index.index(rest.len());
            let taken = rest[n].len().min(3000);
            RequestEncoder::new(ids[n]).stdin(&mut out, rest[n].split_to(taken));
        }
        for (id, rest) in ids.iter().zip(rest) {
            RequestEncoder::new(*id).stdin(&mut out, rest);
            RequestEncoder::new(*id).stdin_end(&mut out);
        }
        let mut received = vec![Vec::new(); bodies.len()];
        let mut ended = 0;
        for event in requests(&bytes_of(out), &cuts).unwrap() {
            match event {
                RequestEvent::Stdin { id, chunk } => received[usize::from(id) - 1].extend_from_slice(&chunk),
                RequestEvent::Params { id, params } => assert_eq!(params.get("ID").unwrap(), &id.to_string()),
                RequestEvent::StdinEnd { .. } => ended += 1,
                RequestEvent::Begin { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        prop_assert_eq!(received, bodies);
        prop_assert_eq!(ended, ids.len());
    }

    #[test]
    fn what_is_written_in_parts_is_what_was_meant(
        chunks in vec(vec(any::<u8>(), 0..9000), 0..6),
        cuts in vec(50..9000_usize, 1..8),
    ) {
        let fill = || {
            let mut out = Outbound::new();
            for chunk in &chunks {
                out.record(RecordType::Stdin, 9, chunk.clone().into());
            }
            out
        };
        let whole = bytes_of(fill());
        let mut out = fill();
        let mut written = Vec::new();
        let mut cuts = cuts.iter().cycle();
        while written.len() < whole.len() {
            let mut slices = [std::io::IoSlice::new(&[]); 5];
            let count = out.chunks_vectored(&mut slices);
            let offered: Vec<u8> = slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            prop_assert!(!offered.is_empty(), "bytes remain");
            let taken = offered.len().min(*cuts.next().unwrap());
            written.extend_from_slice(&offered[..taken]);
            out.advance(taken);
            prop_assert_eq!(out.remaining(), whole.len() - written.len());
        }
        prop_assert_eq!(written, whole);
    }
}

#[test]
fn unknown_types() {
    // A management record of an unknown type is reported, so that it can be answered (section 4.2).
    let events = requests(&raw(RecordType::Unknown(99), 0, b"?", 0), &[3]).unwrap();
    assert_eq!(events, [RequestEvent::UnknownType(99)]);
    let mut out = Outbound::new();
    ResponseEncoder::unknown_type(&mut out, 99);
    let mut decoder = ResponseDecoder::management();
    decoder.buffer().extend_from_slice(&bytes_of(out));
    assert_eq!(decoder.next_event().unwrap(), Some(ResponseEvent::UnknownType(99)));
    // Within a request it is an error, and so is what belongs to the other side.
    for kind in [RecordType::Unknown(99), RecordType::Stdin, RecordType::BeginRequest] {
        let error = responses(&raw(kind, 1, b"12345678", 0), &[100]).unwrap_err();
        assert!(matches!(error, ProtocolError::Unexpected { .. }), "{kind:?}: {error}");
    }
}

#[test]
fn values_are_answered() {
    let mut out = Outbound::new();
    RequestEncoder::get_values(&mut out, &[message::MPXS_CONNS, message::MAX_REQS, "OTHER"]);
    let events = requests(&bytes_of(out), &[1]).unwrap();
    let [RequestEvent::GetValues(asked)] = &events[..] else { panic!("{events:?}") };
    let known = [(message::MAX_CONNS, "7".to_owned()), (message::MPXS_CONNS, "1".to_owned())];
    let mut out = Outbound::new();
    values(&mut out, asked, &known);
    let mut decoder = ResponseDecoder::management();
    decoder.buffer().extend_from_slice(&bytes_of(out));
    let expected: Params = [(message::MPXS_CONNS, "1")].into_iter().collect();
    assert_eq!(decoder.next_event().unwrap(), Some(ResponseEvent::Values(expected)));
    assert_eq!(decoder.eof(), Ok(()));
}

#[test]
fn a_request_out_of_order_is_refused() {
    let begin = BeginRequest { role: Role::Responder, keep_conn: true }.encode();
    let begin = raw(RecordType::BeginRequest, 1, &begin, 0);
    let end_of = |kind| raw(kind, 1, b"", 0);
    let stdin = raw(RecordType::Stdin, 1, b"x", 0);
    let late = raw(RecordType::Params, 1, b"\0\0", 0);
    let (no_params, no_body) = (end_of(RecordType::Params), end_of(RecordType::Stdin));
    let cases: [(&str, Vec<u8>); 5] = [
        ("a body before its parameters", [&begin[..], &stdin].concat()),
        ("begun twice", [&begin[..], &begin].concat()),
        ("a body after its end", [&begin[..], &no_params, &no_body, &stdin].concat()),
        ("parameters after their end", [&begin[..], &no_params, &late].concat()),
        ("an application's record", [&begin[..], &raw(RecordType::Stdout, 1, b"x", 0)].concat()),
    ];
    for (name, bytes) in cases {
        let error = requests(&bytes, &[1000]).unwrap_err();
        assert!(matches!(error, ProtocolError::Unexpected { request_id: 1, .. }), "{name}: {error}");
    }
    assert_eq!(requests(&[2; 8], &[8]), Err(ProtocolError::Version(2)));
    // Ends that say nothing new, and records for a request that is not there, are let pass.
    let twice = [&begin[..], &no_params, &no_params, &no_body, &no_body].concat();
    assert_eq!(requests(&twice, &[1000]).unwrap().len(), 3);
    assert_eq!(requests(&stdin, &[1000]).unwrap(), []);
}

#[test]
fn requests_beyond_the_limit_are_reported_and_an_ended_id_is_free() {
    let mut decoder = RequestDecoder::new(Limits { requests: 1, ..Limits::default() });
    let mut out = Outbound::new();
    for id in [1, 2] {
        RequestEncoder::new(id).begin(&mut out, Role::Responder, true, &Params::new());
        RequestEncoder::new(id).abort(&mut out);
    }
    decoder.buffer().extend_from_slice(&bytes_of(out));
    let mut events = Vec::new();
    while let Some(event) = decoder.next_event().unwrap() {
        events.push(event);
    }
    let begin = BeginRequest { role: Role::Responder, keep_conn: true };
    let expected = [
        RequestEvent::Begin { id: 1, begin },
        RequestEvent::Params { id: 1, params: Params::new() },
        RequestEvent::Abort { id: 1 },
        RequestEvent::Overloaded { id: 2 },
    ];
    assert_eq!(events, expected);
    assert!(matches!(decoder.eof(), Err(ProtocolError::PrematureEof { .. })));
    decoder.ended(1);
    assert_eq!(decoder.eof(), Ok(()));
    let mut out = Outbound::new();
    RequestEncoder::new(1).begin(&mut out, Role::Responder, true, &Params::new());
    decoder.buffer().extend_from_slice(&bytes_of(out));
    assert_eq!(decoder.next_event().unwrap(), Some(RequestEvent::Begin { id: 1, begin }));
}

#[test]
fn a_connection_carries_one_request_after_another() {
    let mut decoder = ResponseDecoder::new(1);
    assert!(!decoder.is_reusable());
    for round in 0..3 {
        let mut out = Outbound::new();
        ResponseEncoder::new(1).end(&mut out, EndRequest { app_status: round, ..EndRequest::COMPLETE });
        decoder.buffer().extend_from_slice(&bytes_of(out));
        let Some(ResponseEvent::End(end)) = decoder.next_event().unwrap() else { panic!() };
        assert_eq!(end.app_status, round);
        assert!(decoder.is_reusable());
        decoder.next_request(1);
    }
    // Anything after the end is not the next request's.
    let mut out = Outbound::new();
    ResponseEncoder::new(1).end(&mut out, EndRequest::COMPLETE);
    ResponseEncoder::new(1).stdout(&mut out, Bytes::from_static(b"late"));
    let error = responses(&bytes_of(out), &[1000]).unwrap_err();
    assert!(matches!(error, ProtocolError::Unexpected { .. }), "{error}");
}

#[tokio::test]
async fn readers_stop_at_the_end_and_hold_no_more_than_a_record() {
    let mut out = Outbound::new();
    for _ in 0..64 {
        ResponseEncoder::new(1).stdout(&mut out, Bytes::from(vec![b'x'; MAX_SENT]));
    }
    ResponseEncoder::new(1).end(&mut out, EndRequest::COMPLETE);
    let bytes = bytes_of(out);
    let mut reader = &bytes[..];
    let mut decoder = ResponseDecoder::new(1);
    let mut received = 0;
    while let Some(event) = io::response(&mut reader, &mut decoder).await.unwrap() {
        assert!(decoder.buffer().capacity() < 256 << 10, "{}", decoder.buffer().capacity());
        if let ResponseEvent::Stdout(chunk) = event {
            received += chunk.len();
        }
    }
    assert_eq!(received, 64 * MAX_SENT);

    let mut reader = &bytes[..100];
    let error = io::response(&mut reader, &mut ResponseDecoder::new(1)).await.unwrap_err();
    let io::ReadError::Protocol(ProtocolError::PrematureEof { stdout: 0, silent: false }) = error else {
        panic!("{error}")
    };
}
