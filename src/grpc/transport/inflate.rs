//! Decompresses the message of a request before the decoder gets it, within its size limit.

use std::collections::VecDeque;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::frames::PREFIX_BYTES;
use crate::grpc::compression::Encoding;
use crate::grpc::status::Failure;

/// Decompresses one complete message with its prefix; it has at most `limit` bytes. Returns what it is without compression,
/// again with a prefix. [`super::frames::Frames`] has limited the compressed message.
pub(super) fn inflated(chunks: &VecDeque<Bytes>, encoding: Encoding, limit: usize) -> Result<[Bytes; 2], Failure> {
    let mut compressed = Vec::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| compressed.extend_from_slice(chunk));
    let message = encoding.decompress(compressed.get(PREFIX_BYTES..).unwrap_or_default(), limit)?;
    let mut prefix = BytesMut::with_capacity(PREFIX_BYTES);
    prefix.put_u8(0);
    prefix.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    Ok([prefix.freeze(), message.into()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_comes_out_as_it_was_however_it_is_cut() {
        let long = [7; 900];
        let compressed = Encoding::Gzip.compress(&long).unwrap();
        let framed =
            |flag: u8, bytes: &[u8]| [&[flag], &u32::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat();
        let body = framed(1, &compressed);
        for cut in [1, 3, 7, body.len()] {
            let chunks = body.chunks(cut).map(Bytes::copy_from_slice).collect();
            let came = inflated(&chunks, Encoding::Gzip, long.len()).unwrap().concat();
            assert_eq!(came, framed(0, &long), "{cut}");
            assert!(inflated(&chunks, Encoding::Gzip, long.len() - 1).is_err());
            assert!(inflated(&chunks, Encoding::Zstd, long.len()).is_err());
        }
    }
}
