//! Decompresses the messages of a request before the decoder gets them, within their size limit.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

use super::frames::PREFIX_BYTES;
use crate::grpc::compression::Encoding;
use crate::grpc::status::Failure;

/// Turns a body whose messages may be compressed into one whose messages are not.
#[derive(Debug)]
pub(super) struct Inflate {
    encoding: Encoding,
    /// The longest message, in bytes.
    limit: usize,
    /// The bytes of an incomplete message.
    partial: BytesMut,
}

impl Inflate {
    /// For a body with this compression. [`super::frames::Frames`] has already limited the compressed messages.
    pub(super) fn new(encoding: Encoding, limit: usize) -> Self {
        Self { encoding, limit, partial: BytesMut::new() }
    }

    /// Takes more of the body; returns the messages that it completes.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Bytes, Failure> {
        self.partial.extend_from_slice(bytes);
        let mut messages = BytesMut::new();
        while let Some((flag, length)) = self.announced()
            && self.partial.len() >= PREFIX_BYTES.saturating_add(length)
        {
            self.partial.advance(PREFIX_BYTES);
            let message = self.partial.split_to(length);
            if flag == 0 {
                put(&mut messages, &message);
            } else {
                put(&mut messages, &self.encoding.decompress(&message, self.limit)?);
            }
        }
        Ok(messages.freeze())
    }

    /// The flag and length of the next message, if its prefix has arrived.
    fn announced(&self) -> Option<(u8, usize)> {
        let (prefix, _) = self.partial.split_first_chunk::<PREFIX_BYTES>()?;
        let [flag, a, b, c, d] = *prefix;
        Some((flag, usize::try_from(u32::from_be_bytes([a, b, c, d])).ok()?))
    }
}

/// Appends an uncompressed message with its prefix.
fn put(messages: &mut BytesMut, message: &[u8]) {
    messages.reserve(PREFIX_BYTES.saturating_add(message.len()));
    messages.put_u8(0);
    messages.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    messages.put_slice(message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_were_however_they_are_cut() {
        let long = [7; 900];
        let compressed = Encoding::Gzip.compress(&long).unwrap();
        let framed =
            |flag: u8, bytes: &[u8]| [&[flag], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let body = [framed(1, &compressed), framed(0, b"abc"), framed(0, b""), framed(1, &compressed)].concat();
        let expected = [framed(0, &long), framed(0, b"abc"), framed(0, b""), framed(0, &long)].concat();
        for cut in [1, 3, 7, body.len()] {
            let mut inflate = Inflate::new(Encoding::Gzip, long.len());
            let came: Vec<_> = body.chunks(cut).flat_map(|part| inflate.push(part).unwrap()).collect();
            assert_eq!(came, expected, "{cut}");
        }
        assert!(Inflate::new(Encoding::Gzip, long.len() - 1).push(&body).is_err());
        assert!(Inflate::new(Encoding::Zstd, long.len()).push(&body).is_err());
    }
}
