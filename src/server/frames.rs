//! Finds HTTP/2 frames in a stream of bytes, however it is split: only their heads are parsed.

/// The bytes with which every client starts.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The length of a frame's head.
pub(super) const HEAD_BYTES: usize = 9;

/// The length of a reset's error code.
const CODE_BYTES: usize = 4;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const CONTINUATION: u8 = 9;

/// The flag with which HEADERS and DATA end their stream.
pub(super) const END_STREAM: u8 = 1;

/// The error code ENHANCE_YOUR_CALM.
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// The head of a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Frame {
    /// How many bytes follow the head.
    pub(super) length: usize,
    /// The type of the frame.
    pub(super) kind: u8,
    /// The flags, which depend on the type.
    pub(super) flags: u8,
    /// The stream; 0 for the connection.
    pub(super) stream: u32,
    /// The error code of RST_STREAM; 0 for all other frames.
    pub(super) code: u32,
}

/// Finds the frames in the bytes of one direction.
#[derive(Clone, Debug, Default)]
pub(super) struct Frames {
    /// How many bytes are left of the current frame, or of what precedes the first one.
    skip: usize,
    /// The head of the next frame, and the error code if it is a reset.
    head: [u8; HEAD_BYTES + CODE_BYTES],
    /// How many bytes of it have arrived.
    filled: usize,
}

impl Frames {
    /// Frames that follow this many other bytes.
    pub(super) fn after(skip: usize) -> Self {
        Self { skip, ..Self::default() }
    }

    /// Whether the next byte starts a frame.
    pub(super) fn is_between(&self) -> bool {
        self.skip == 0 && self.filled == 0
    }

    /// After how many bytes this many resets can be complete at the earliest.
    pub(super) fn bytes_of_resets(&self, count: usize) -> usize {
        let bytes = count.saturating_mul(HEAD_BYTES + CODE_BYTES);
        self.skip.saturating_add(bytes).saturating_sub(self.filled)
    }

    /// Calls `each` for every frame whose head is complete with these bytes, which follow those of the previous call.
    pub(super) fn scan(&mut self, mut bytes: &[u8], mut each: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = bytes.split_at(skipped).1;
            if self.skip > 0 || bytes.is_empty() {
                return;
            }
            let wanted = self.wanted();
            let (taken, rest) = bytes.split_at(bytes.len().min(wanted.saturating_sub(self.filled)));
            for (slot, byte) in self.head.iter_mut().skip(self.filled).zip(taken) {
                *slot = *byte;
            }
            self.filled += taken.len();
            bytes = rest;
            // The head of a reset also needs its error code.
            if self.filled == self.wanted() {
                let frame = self.frame();
                self.skip = (HEAD_BYTES + frame.length).saturating_sub(self.filled);
                self.filled = 0;
                each(frame);
            }
        }
    }

    fn wanted(&self) -> usize {
        let [_, _, _, kind, ..] = self.head;
        let is_reset = self.filled >= HEAD_BYTES && kind == RST_STREAM && self.frame().length >= CODE_BYTES;
        if is_reset { HEAD_BYTES + CODE_BYTES } else { HEAD_BYTES }
    }

    fn frame(&self) -> Frame {
        let [a, b, c, kind, flags, s1, s2, s3, s4, c1, c2, c3, c4] = self.head;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        let code = if self.filled > HEAD_BYTES { u32::from_be_bytes([c1, c2, c3, c4]) } else { 0 };
        Frame { length, kind, flags, stream: u32::from_be_bytes([s1 & 0x7f, s2, s3, s4]), code }
    }
}

/// A GOAWAY without debug data.
pub(super) fn goaway(last_stream: u32, code: u32) -> [u8; HEAD_BYTES + 8] {
    let [s1, s2, s3, s4] = last_stream.to_be_bytes();
    let [c1, c2, c3, c4] = code.to_be_bytes();
    [0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, s1, s2, s3, s4, c1, c2, c3, c4]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let stream = [
            PREFACE.to_vec(),
            bytes(4, 0, 0, &[]),
            bytes(HEADERS, 4, 1, &[7; 70_000]),
            bytes(RST_STREAM, 0, 1, &8_u32.to_be_bytes()),
            bytes(RST_STREAM, 0, 3, &[]),
            bytes(DATA, END_STREAM, 5, &[3]),
            goaway(5, ENHANCE_YOUR_CALM).to_vec(),
        ]
        .concat();
        let frame = |length, kind, flags, stream, code| Frame { length, kind, flags, stream, code };
        let expected = [
            frame(0, 4, 0, 0, 0),
            frame(70_000, HEADERS, 4, 1, 0),
            frame(4, RST_STREAM, 0, 1, 8),
            frame(0, RST_STREAM, 0, 3, 0),
            frame(1, DATA, END_STREAM, 5, 0),
            frame(8, GOAWAY, 0, 0, 0),
        ];
        for cut in [1, 2, 3, 5, 9, 13, 4_096, stream.len()] {
            let mut frames = Frames::after(PREFACE.len());
            let mut found = Vec::new();
            for part in stream.chunks(cut) {
                frames.scan(part, |frame| found.push(frame));
            }
            assert_eq!(found, expected, "{cut}");
            assert!(frames.is_between());
        }
    }

    #[test]
    fn nothing_is_written_into_the_middle_of_a_frame() {
        let mut frames = Frames::default();
        for part in bytes(RST_STREAM, 0, 1, &8_u32.to_be_bytes()).chunks(1) {
            assert!(frames.is_between() || frames.filled > 0);
            frames.scan(part, drop);
        }
        assert!(frames.is_between());
        frames.scan(&bytes(DATA, 0, 1, &[1, 2])[..10], drop);
        assert!(!frames.is_between());
    }

    #[test]
    fn the_last_of_so_many_resets_ends_with_the_last_byte_or_later() {
        let reset = bytes(RST_STREAM, 0, 1, &8_u32.to_be_bytes());
        let stream = [bytes(DATA, 0, 1, &[1, 2]), reset.clone(), bytes(DATA, 0, 3, &[0; 40]), reset.repeat(9)].concat();
        for start in 0..stream.len() {
            for count in 1..4 {
                let mut frames = Frames::default();
                frames.scan(&stream[..start], drop);
                let (mut found, rest) = (0, &stream[start..]);
                let most = frames.bytes_of_resets(count).min(rest.len());
                let mut count_resets = |frame: Frame| found += usize::from(frame.kind == RST_STREAM);
                frames.scan(&rest[..most - 1], &mut count_resets);
                frames.scan(&rest[most - 1..most], &mut count_resets);
                assert!(found < count || found == count && frames.is_between(), "{start}, {count}: {found}");
            }
        }
    }
}
