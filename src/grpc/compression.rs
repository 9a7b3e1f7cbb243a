//! Compression of messages: gzip and zstd.
//!
//! The size limit of a message holds for what it decompresses to, and nothing beyond the limit is ever decompressed.

use std::io::{Error, Read, Write as _};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue};

use super::status::Failure;

/// The header that says how a request or response is compressed.
pub(super) const ENCODING: &str = "grpc-encoding";

/// The header with the compressions that the client accepts.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";

/// Responses longer than this are compressed for clients that accept it. Below, it saves less than it costs.
const WORTH_IT_BYTES: usize = 16 * 1024;

/// How much longer compression may make a message that is incompressible.
pub(super) const OVERHEAD_BYTES: usize = 1024;

/// The largest window that zstd may use, as a power of two: 8 MiB, as its levels up to 19 do. Only as much of it is touched
/// as is decompressed.
const ZSTD_WINDOW_LOG: u32 = 23;

/// The least effort: long responses are lists of similar messages.
const ZSTD_LEVEL: i32 = 1;

/// A compression algorithm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Encoding {
    Gzip,
    Zstd,
}

/// How to compress a response, if it is longer than `from_bytes`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) encoding: Encoding,
    pub(super) from_bytes: usize,
}

/// Why a message cannot be decompressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Broken {
    TooLong,
    Malformed,
}

impl Encoding {
    /// Its name in headers.
    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// Its name as a header value.
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Zstd].into_iter().find(|encoding| encoding.name() == name)
    }

    /// The compression of a request; `None` if there is none.
    pub(super) fn of_request(headers: &HeaderMap) -> Result<Option<Self>, Failure> {
        let Some(name) = headers.get(ENCODING) else { return Ok(None) };
        if name == "identity" {
            return Ok(None);
        }
        let encoding = name.to_str().ok().and_then(Self::from_name);
        encoding.map(Some).ok_or_else(Failure::encoding_not_supported)
    }

    /// Decompresses a message of at most `limit` bytes.
    pub(super) fn decompress(self, bytes: &[u8], limit: usize) -> Result<Vec<u8>, Failure> {
        let read = match self {
            Self::Gzip => read(MultiGzDecoder::new(bytes), limit),
            Self::Zstd => zstd_decoder(bytes).map_err(Broken::from).and_then(|decoder| read(decoder, limit)),
        };
        read.map_err(|broken| match broken {
            Broken::TooLong => Failure::message_too_large(limit),
            Broken::Malformed => Failure::message_malformed(),
        })
    }

    /// Compresses a message; `None` if that makes it no shorter.
    pub(super) fn compress(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let compressed = match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
                encoder.write_all(bytes).and_then(|()| encoder.finish())
            }
            Self::Zstd => zstd::bulk::compress(bytes, ZSTD_LEVEL),
        };
        compressed.ok().filter(|compressed| compressed.len() < bytes.len())
    }
}

impl Wanted {
    /// How to compress the response to a request with these headers and this compression; `None` for not at all.
    pub(super) fn by(headers: &HeaderMap, of_request: Option<Encoding>) -> Option<Self> {
        let accepted = headers.get(ACCEPT_ENCODING).and_then(|names| names.to_str().ok()).unwrap_or_default();
        let accepts = |encoding: &Encoding| accepted.split(',').any(|name| name.trim() == encoding.name());
        match of_request {
            // A client that does not say what it accepts can read what it writes.
            Some(encoding) if accepted.is_empty() || accepts(&encoding) => Some(Self { encoding, from_bytes: 0 }),
            Some(_) | None => {
                let encoding = [Encoding::Zstd, Encoding::Gzip].into_iter().find(accepts)?;
                Some(Self { encoding, from_bytes: WORTH_IT_BYTES })
            }
        }
    }
}

impl From<Error> for Broken {
    fn from(_: Error) -> Self {
        Self::Malformed
    }
}

fn zstd_decoder(bytes: &[u8]) -> Result<impl Read, Error> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG)?;
    Ok(decoder)
}

fn read(decoder: impl Read, limit: usize) -> Result<Vec<u8>, Broken> {
    let mut message = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    decoder.take(most).read_to_end(&mut message)?;
    if message.len() > limit { Err(Broken::TooLong) } else { Ok(message) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::ErrorReason;

    const BOTH: [Encoding; 2] = [Encoding::Gzip, Encoding::Zstd];

    fn decompressed(encoding: Encoding, bytes: &[u8], limit: usize) -> Result<Vec<u8>, ErrorReason> {
        encoding.decompress(bytes, limit).map_err(|failure| failure.reason)
    }

    #[test]
    fn a_message_is_what_it_was_up_to_its_bound() {
        for encoding in BOTH {
            for message in [&b""[..], b"a", &[7; 1_000]] {
                let compressed = match encoding {
                    Encoding::Gzip => {
                        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
                        encoder.write_all(message).unwrap();
                        encoder.finish().unwrap()
                    }
                    Encoding::Zstd => zstd::bulk::compress(message, 19).unwrap(),
                };
                assert_eq!(decompressed(encoding, &compressed, 1_000), Ok(message.to_vec()));
                if message.len() > 1 {
                    assert_eq!(decompressed(encoding, &compressed, message.len()), Ok(message.to_vec()));
                    let too_large = Err(ErrorReason::MessageTooLarge);
                    assert_eq!(decompressed(encoding, &compressed, message.len() - 1), too_large);
                }
                for cut in 1..compressed.len().min(40) {
                    assert_eq!(
                        decompressed(encoding, &compressed[..cut], 1_000),
                        Err(ErrorReason::MessageMalformed),
                        "{cut}"
                    );
                }
            }
            assert_eq!(decompressed(encoding, b"neither of the two", 1_000), Err(ErrorReason::MessageMalformed));
        }
    }

    #[test]
    fn a_bomb_is_not_decompressed_beyond_the_bound() {
        let zeros = vec![0; 64 * 1024 * 1024];
        for encoding in BOTH {
            let bomb = encoding.compress(&zeros).unwrap();
            assert!(bomb.len() < 512 * 1024, "{}", bomb.len());
            assert_eq!(decompressed(encoding, &bomb, 64 * 1024), Err(ErrorReason::MessageTooLarge));
        }
    }

    #[test]
    fn more_memory_than_is_usual_is_not_reserved_for_a_message() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG + 1).unwrap();
        encoder.write_all(&[7; 1_000]).unwrap();
        assert_eq!(decompressed(Encoding::Zstd, &encoder.finish().unwrap(), 1_000), Err(ErrorReason::MessageMalformed));
    }

    #[test]
    fn what_cannot_be_compressed_is_left_as_it_is() {
        let noise = crate::chance::random_bytes::<20_000>().unwrap();
        for encoding in BOTH {
            assert_eq!(encoding.compress(&noise), None);
            assert!(encoding.compress(&[7; 20_000]).unwrap().len() < 200);
        }
    }

    #[test]
    fn an_answer_is_compressed_as_the_request_was_or_as_the_client_takes_it() {
        let wanted = |accepted: &'static str, of_request| {
            let mut headers = HeaderMap::new();
            if !accepted.is_empty() {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            }
            Wanted::by(&headers, of_request).map(|wanted| (wanted.encoding, wanted.from_bytes))
        };
        use Encoding::{Gzip, Zstd};
        assert_eq!(wanted("", None), None);
        assert_eq!(wanted("identity, deflate", None), None);
        assert_eq!(wanted("identity,deflate,gzip", None), Some((Gzip, WORTH_IT_BYTES)));
        assert_eq!(wanted("gzip, zstd", None), Some((Zstd, WORTH_IT_BYTES)));
        assert_eq!(wanted("gzip, zstd", Some(Gzip)), Some((Gzip, 0)));
        assert_eq!(wanted("", Some(Zstd)), Some((Zstd, 0)));
        assert_eq!(wanted("gzip", Some(Zstd)), Some((Gzip, WORTH_IT_BYTES)));
        assert_eq!(wanted("identity", Some(Zstd)), None);
    }
}
