//! Name–value pairs (section 3.4): what PARAMS, GET_VALUES and GET_VALUES_RESULT carry.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::{MAX_SENT, Outbound, ProtocolError, RecordType};

/// Parameters in the order they were given. Names may repeat: PHP takes the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    pairs: Vec<(Bytes, Bytes)>,
}

/// Collects [`Params`] from any number of records; pairs may straddle them.
#[derive(Debug)]
pub struct ParamsDecoder {
    params: Params,
    /// The beginning of a pair whose rest is in records to come.
    partial: BytesMut,
    limit: usize,
    counted: usize,
}

/// What a pair costs beside its bytes, so that a limit in bytes also bounds memory for tiny pairs.
const PAIR_OVERHEAD: usize = size_of::<(Bytes, Bytes)>();

impl Params {
    pub const fn new() -> Self {
        Self { pairs: Vec::new() }
    }

    pub fn with_capacity(pairs: usize) -> Self {
        Self { pairs: Vec::with_capacity(pairs) }
    }

    /// The value of the last pair with this name, which is the one that PHP sees.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&Bytes> {
        let name = name.as_ref();
        self.pairs.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Appends a pair; `&'static str`, `String`, `Vec<u8>` and `Bytes` all go in without a copy.
    pub fn push(&mut self, name: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.pairs.push((name.into(), value.into()));
    }

    /// Removes every pair with this name and says how many there were.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> usize {
        let before = self.len();
        let name = name.as_ref();
        self.retain(|known, _| known != name);
        before - self.len()
    }

    /// Keeps the pairs for which `keep(name, value)` holds.
    pub fn retain(&mut self, mut keep: impl FnMut(&[u8], &[u8]) -> bool) {
        self.pairs.retain(|(name, value)| keep(name, value));
    }

    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Bytes, &Bytes)> {
        self.pairs.iter().map(|(name, value)| (name, value))
    }

    pub const fn len(&self) -> usize {
        self.pairs.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Appends the pairs as records of `kind`, without the empty record that ends a stream.
    ///
    /// Records are cut between pairs, because PHP-FPM reads each alone. Only a pair longer than a record
    /// can be is spread over several, which hold nothing else: there is no other way to say it. PHP-FPM
    /// refuses such a pair, other applications take it.
    pub fn encode(&self, kind: RecordType, request_id: u16, out: &mut Outbound) {
        let mut rest = &self.pairs[..];
        while let Some((name, value)) = rest.first() {
            if pair_len(name, value) > MAX_SENT {
                let mut pair = BytesMut::with_capacity(pair_len(name, value));
                put_pair(&mut pair, name, value);
                out.record(kind, request_id, pair.freeze());
                rest = &rest[1..];
                continue;
            }
            let mut length = 0;
            let fits = rest.iter().take_while(|(name, value)| {
                let with_it = length + pair_len(name, value);
                if with_it <= MAX_SENT {
                    length = with_it;
                }
                with_it <= MAX_SENT
            });
            let (record, after) = rest.split_at(fits.count());
            let padding = out.header(kind, request_id, length);
            out.tail().reserve(length + padding);
            for (name, value) in record {
                put_pair(out.tail(), name, value);
            }
            out.tail().put_bytes(0, padding);
            rest = after;
        }
    }
}

impl<N: Into<Bytes>, V: Into<Bytes>> FromIterator<(N, V)> for Params {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self { pairs: pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect() }
    }
}

impl<N: Into<Bytes>, V: Into<Bytes>> Extend<(N, V)> for Params {
    fn extend<I: IntoIterator<Item = (N, V)>>(&mut self, pairs: I) {
        self.pairs.extend(pairs.into_iter().map(|(name, value)| (name.into(), value.into())));
    }
}

impl ParamsDecoder {
    /// `limit` bounds the bytes of all pairs, each counted with its overhead in memory.
    pub fn new(limit: usize) -> Self {
        Self { params: Params::new(), partial: BytesMut::new(), limit, counted: 0 }
    }

    /// Takes the content of the next record.
    pub fn push(&mut self, mut content: Bytes) -> Result<(), ProtocolError> {
        self.count(content.len())?;
        if self.partial.is_empty() {
            // A pair takes some 30 bytes, and a request has some 30 pairs.
            self.params.pairs.reserve((content.len() / 32).min(32));
            while let Some((name_len, value_len)) = take_lengths(&mut content) {
                let name = content.split_to(name_len);
                let value = content.split_to(value_len);
                self.add(name, value)?;
            }
            self.partial.extend_from_slice(&content);
        } else {
            self.partial.extend_from_slice(&content);
            while let Some((name_len, value_len)) = take_lengths(&mut self.partial) {
                let name = self.partial.split_to(name_len).freeze();
                let value = self.partial.split_to(value_len).freeze();
                self.add(name, value)?;
            }
        }
        Ok(())
    }

    /// The parameters, when the last record has been pushed.
    pub fn finish(self) -> Result<Params, ProtocolError> {
        if self.partial.is_empty() { Ok(self.params) } else { Err(ProtocolError::TruncatedPair) }
    }

    fn add(&mut self, name: Bytes, value: Bytes) -> Result<(), ProtocolError> {
        self.count(PAIR_OVERHEAD)?;
        self.params.pairs.push((name, value));
        Ok(())
    }

    fn count(&mut self, bytes: usize) -> Result<(), ProtocolError> {
        self.counted += bytes;
        if self.counted > self.limit {
            return Err(ProtocolError::ParamsTooLarge { limit: self.limit });
        }
        Ok(())
    }
}

/// Takes the two lengths from the front, if the whole pair follows them; else takes nothing.
fn take_lengths<B: bytes::Buf + AsRef<[u8]>>(buffer: &mut B) -> Option<(usize, usize)> {
    let bytes = buffer.as_ref();
    let (name_len, rest) = read_length(bytes)?;
    let (value_len, rest) = read_length(rest)?;
    // Two lengths below 2^31 cannot overflow here; on 32 bits they would.
    if rest.len() < name_len.checked_add(value_len)? {
        return None;
    }
    let taken = bytes.len() - rest.len();
    buffer.advance(taken);
    Some((name_len, value_len))
}

/// One byte below 128, or four with the high bit set.
fn read_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    if first < 0x80 {
        return Some((first.into(), rest));
    }
    let (four, rest) = bytes.split_first_chunk::<4>()?;
    Some(((u32::from_be_bytes(*four) & 0x7fff_ffff) as usize, rest))
}

const fn length_len(length: usize) -> usize {
    if length < 0x80 { 1 } else { 4 }
}

const fn pair_len(name: &Bytes, value: &Bytes) -> usize {
    length_len(name.len()) + length_len(value.len()) + name.len() + value.len()
}

fn put_pair(buffer: &mut BytesMut, name: &Bytes, value: &Bytes) {
    for length in [name.len(), value.len()] {
        match u8::try_from(length) {
            Ok(short) if short < 0x80 => buffer.put_u8(short),
            _ => buffer.put_u32(length as u32 | 0x8000_0000),
        }
    }
    buffer.put_slice(name);
    buffer.put_slice(value);
}

#[cfg(test)]
mod tests;
