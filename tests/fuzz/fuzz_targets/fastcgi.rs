//! What the FastCGI targets hold to be true of any bytes. No byte from a peer may make us panic, take
//! memory beyond the limits, or mean something else when it arrives in other pieces.

use bytes::{Buf as _, Bytes, BytesMut};
use common::fastcgi::{
    Limits, Outbound, ParamsDecoder, ProtocolError, Record, RecordType, RequestDecoder, RequestEvent,
    ResponseDecoder, ResponseEvent,
};

const LIMITS: Limits = Limits { requests: 3, params: 4096 };

/// Records that were decoded and encoded again decode to the same.
pub(crate) fn record(data: &[u8]) {
    let mut buffer = BytesMut::from(data);
    let mut out = Outbound::new();
    let mut records = Vec::new();
    while let Ok(Some(record)) = Record::decode(&mut buffer) {
        out.record(record.kind, record.request_id, record.content.clone());
        records.push(record);
    }
    let mut again = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
    for record in records {
        let mut content = BytesMut::new();
        // Content beyond what we put into one record comes back in two.
        while content.len() < record.content.len() || record.content.is_empty() {
            let part = Record::decode(&mut again).ok().flatten().expect("we wrote a whole record");
            assert_eq!((part.kind, part.request_id), (record.kind, record.request_id));
            content.extend_from_slice(&part.content);
            if record.content.is_empty() {
                break;
            }
        }
        assert_eq!(content, record.content);
    }
    assert!(again.is_empty());
}

/// Pairs mean the same in one piece and in many, and survive our encoder.
pub(crate) fn params(data: &[u8]) {
    let Some((&width, data)) = data.split_first() else { return };
    let decode = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut decoder = ParamsDecoder::new(1 << 16);
        for piece in pieces {
            decoder.push(Bytes::copy_from_slice(piece))?;
        }
        decoder.finish()
    };
    let whole = decode(&mut std::iter::once(data));
    assert_eq!(whole, decode(&mut data.chunks(usize::from(width).max(1))));
    let Ok(params) = whole else { return };
    let mut out = Outbound::new();
    params.encode(RecordType::Params, 1, &mut out);
    let mut buffer = BytesMut::from(&out.copy_to_bytes(out.remaining())[..]);
    let mut decoder = ParamsDecoder::new(1 << 20);
    while let Ok(Some(record)) = Record::decode(&mut buffer) {
        decoder.push(record.content).expect("below the limit");
    }
    assert_eq!(decoder.finish().expect("we wrote whole pairs"), params);
}

/// Requests mean the same in one piece and byte by byte.
pub(crate) fn request(data: &[u8]) {
    let decode = |width: usize| -> (Vec<RequestEvent>, Result<(), ProtocolError>) {
        let mut decoder = RequestDecoder::new(LIMITS);
        let mut events = Vec::new();
        for piece in data.chunks(width) {
            decoder.buffer().extend_from_slice(piece);
            loop {
                match decoder.next_event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => return (events, Err(error)),
                }
                assert!(decoder.open() <= LIMITS.requests);
            }
        }
        (events, decoder.eof())
    };
    assert_eq!(decode(usize::MAX), decode(1));
}

/// A response means the same in one piece and byte by byte, and without its end it is never complete.
pub(crate) fn response(data: &[u8]) {
    let decode = |width: usize| -> (Vec<ResponseEvent>, Result<(), ProtocolError>) {
        let mut decoder = ResponseDecoder::new(1);
        let mut events = Vec::new();
        for piece in data.chunks(width) {
            decoder.buffer().extend_from_slice(piece);
            loop {
                match decoder.next_event() {
                    Ok(Some(event)) => events.push(event),
                    Ok(None) => break,
                    Err(error) => return (events, Err(error)),
                }
            }
        }
        (events, decoder.eof())
    };
    let (events, result) = decode(usize::MAX);
    let ended = events.iter().any(|event| matches!(event, ResponseEvent::End(_)));
    assert!(ended || result.is_err());
    assert_eq!((events, result), decode(1));
}
