//! Where a request of HTTP/1.1 ends: only that is found, the transport judges everything else.

/// What is still to come of a request behind its head.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Rest {
    /// So many bytes; none once it is complete.
    Bytes(u64),
    /// Chunks, and trailers behind the last one.
    Chunks(Chunk),
}

/// Where it is within the chunks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Chunk {
    /// In the line with the size, of which this much was read …
    Size(u64),
    /// … and in what may follow the size there.
    Extension(u64),
    /// In the data, of which so much is to come.
    Data(u64),
    /// Behind the data, before the end of its line.
    DataEnd,
    /// At the start of a line of trailers; the last one is empty.
    LineStart,
    /// Within such a line.
    Line,
}

impl Rest {
    /// What follows this head.
    pub(super) fn of_head(head: &[u8]) -> Self {
        let fields = head.split(|byte| *byte == b'\n').skip(1).filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            Some((line.get(..colon)?, line.get(colon.checked_add(1)?..)?.trim_ascii()))
        });
        let mut length = 0;
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(b"transfer-encoding") {
                return Self::Chunks(Chunk::Size(0));
            }
            if name.eq_ignore_ascii_case(b"content-length") {
                length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok()).unwrap_or(0);
            }
        }
        Self::Bytes(length)
    }

    /// Whether all of it has come.
    pub(super) fn is_none(&self) -> bool {
        *self == Self::Bytes(0)
    }

    /// Takes these bytes, which follow the previous ones. Returns how many of them belong to the request.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0_usize;
        while let Some(byte) = bytes.get(taken) {
            let left = bytes.len().saturating_sub(taken);
            match self {
                Self::Bytes(0) => break,
                Self::Bytes(rest) | Self::Chunks(Chunk::Data(rest @ 1..)) => {
                    let part = usize::try_from(*rest).unwrap_or(usize::MAX).min(left);
                    *rest = rest.saturating_sub(u64::try_from(part).unwrap_or(u64::MAX));
                    taken = taken.saturating_add(part);
                }
                Self::Chunks(chunk) => {
                    let next = chunk.behind(*byte);
                    taken = taken.saturating_add(1);
                    match next {
                        Some(next) => *chunk = next,
                        None => *self = Self::Bytes(0),
                    }
                }
            }
        }
        taken
    }
}

impl Chunk {
    /// Where it is behind this byte, which is none of the data; `None` at the end of the request.
    fn behind(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Size(0) | Self::Extension(0), b'\n') => Self::LineStart,
            (Self::Size(size) | Self::Extension(size), b'\n') => Self::Data(size),
            (Self::Size(size), b'\r') => Self::Size(size),
            (Self::Size(size), _) => match char::from(byte).to_digit(16) {
                Some(digit) => Self::Size(size.saturating_mul(16).saturating_add(digit.into())),
                None => Self::Extension(size),
            },
            (Self::Extension(size), _) => Self::Extension(size),
            (Self::Data(_) | Self::DataEnd, b'\n') => Self::Size(0),
            (Self::Data(_) | Self::DataEnd, _) => Self::DataEnd,
            (Self::LineStart, b'\n') => return None,
            (Self::LineStart, b'\r') | (Self::Line, b'\n') => Self::LineStart,
            (Self::LineStart | Self::Line, _) => Self::Line,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_ends_where_its_head_says_however_its_bytes_are_cut() {
        let length = b"POST / HTTP/1.1\r\nhost: a\r\nContent-Length:  9 \r\n\r\n".as_slice();
        let chunked = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice();
        for (head, body) in [
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".as_slice(), b"".as_slice()),
            (b"GET / HTTP/1.1\nhost: a\n\n", b""),
            (length, b"123456789"),
            (chunked, b"0\r\n\r\n"),
            (chunked, b"5\r\n\0\0\0\0\0\r\n0\r\n\r\n"),
            (
                chunked,
                b"1\r\na\r\n0010;x=\"1\"\r\n0123456789\r\n\r\n\r\n\r\nA \r\n0123456789\r\n00\r\nx: y\r\nz: \r\n\r\n",
            ),
        ] {
            for cut in [1, 2, 3, 7, 1_000] {
                let mut rest = Rest::of_head(head);
                let sent = [body, b"\r\nGET / HTTP/1.1"].concat();
                let taken: usize = sent.chunks(cut).map(|part| rest.take(part)).sum();
                assert_eq!(taken, body.len(), "{body:?} in pieces of {cut}");
                assert!(rest.is_none());
            }
            for end in 0..body.len() {
                let mut rest = Rest::of_head(head);
                assert_eq!(rest.take(&body[..end]), end);
                assert!(!rest.is_none(), "{body:?} up to {end}");
            }
        }
    }
}
