//! As much of HPACK as an attacker needs: it writes headers as bare literals, and reads those of the server, which has
//! been told that it may not keep a table.

use std::sync::LazyLock;

/// Characters by the length of their Huffman code; the codes of RFC 7541 are canonical, so that the lengths tell them.
const HUFFMAN: [(u32, &[u8]); 10] = [
    (5, b"012aceiost"),
    (6, b" %-./3456789=A_bdfghlmnpru"),
    (7, b":BCDEFGHIJKLMNOPQRSTUVWYjkqvwxyz"),
    (8, b"&*,;XZ"),
    (10, b"!\"()?"),
    (11, b"'+|"),
    (12, b"#>"),
    (13, b"\0$@[]~"),
    (14, b"^}"),
    (15, b"<`{"),
];

/// What the static table holds at 8 to 14: `:status` with these values.
const STATUSES: [&str; 7] = ["200", "204", "206", "304", "400", "404", "500"];

/// A header field as a literal that neither side keeps.
pub fn literal(name: &str, value: &str) -> Vec<u8> {
    let mut field = vec![0];
    for text in [name, value] {
        field.extend(integer(7, text.len()));
        field.extend(text.as_bytes());
    }
    field
}

/// A header field as a literal that the reader has to keep.
pub fn kept(name: &str, value: &str) -> Vec<u8> {
    let mut field = literal(name, value);
    field[0] = 0x40;
    field
}

/// The headers of a gRPC call, and these beside.
pub fn call(path: &str, extra: &[(&str, &str)]) -> Vec<u8> {
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    headers.iter().chain(extra).flat_map(|(name, value)| literal(name, value)).collect()
}

fn integer(prefix: u32, value: usize) -> Vec<u8> {
    let most = (1_usize << prefix) - 1;
    if value < most {
        return vec![byte(value)];
    }
    let mut bytes = vec![byte(most)];
    let mut rest = value - most;
    while rest >= 128 {
        bytes.push(byte(rest % 128 + 128));
        rest /= 128;
    }
    bytes.push(byte(rest));
    bytes
}

fn byte(value: usize) -> u8 {
    u8::try_from(value).unwrap()
}

/// The fields of a header block; names and values that only the static table knows are left empty.
pub fn read(block: &[u8]) -> Vec<(String, String)> {
    let mut reader = Reader { block, at: 0 };
    let mut fields = Vec::new();
    while let Some(first) = reader.peek() {
        match first {
            0x80.. => {
                let index = reader.integer(7);
                let status = index.checked_sub(8).and_then(|index| STATUSES.get(index)).copied().unwrap_or_default();
                fields.push((if status.is_empty() { "" } else { ":status" }.to_owned(), status.to_owned()));
            }
            0x20..0x40 => drop(reader.integer(5)),
            0x40.. => fields.push(reader.field(6)),
            _ => fields.push(reader.field(4)),
        }
    }
    fields
}

struct Reader<'a> {
    block: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.block.get(self.at).copied()
    }

    fn integer(&mut self, prefix: u32) -> usize {
        let most = (1_usize << prefix) - 1;
        let mut value = usize::from(self.block[self.at]) & most;
        self.at += 1;
        if value == most {
            for shift in (0..).step_by(7) {
                let next = usize::from(self.block[self.at]);
                self.at += 1;
                value += (next & 127) << shift;
                if next < 128 {
                    break;
                }
            }
        }
        value
    }

    fn field(&mut self, prefix: u32) -> (String, String) {
        let name = match self.integer(prefix) {
            0 => self.text(),
            8..=14 => ":status".to_owned(),
            _ => String::new(),
        };
        (name, self.text())
    }

    fn text(&mut self) -> String {
        let is_coded = self.block[self.at] >= 0x80;
        let length = self.integer(7);
        let bytes = &self.block[self.at..self.at + length];
        self.at += length;
        if is_coded { decoded(bytes) } else { String::from_utf8_lossy(bytes).into_owned() }
    }
}

fn decoded(bytes: &[u8]) -> String {
    static CODES: LazyLock<Vec<[Step; 2]>> = LazyLock::new(codes);
    let codes = CODES.as_slice();
    let mut text = String::new();
    let mut node = 0;
    for byte in bytes {
        for mask in [128, 64, 32, 16, 8, 4, 2, 1] {
            node = match codes[node][usize::from(byte & mask != 0)] {
                Step::To(next) => next,
                Step::Character(character) => {
                    text.push(character);
                    0
                }
                Step::Nowhere => return text,
            };
        }
    }
    text
}

/// Where a bit of a code leads. Whoever attacks has no time to look characters up in any other way.
#[derive(Clone, Copy)]
enum Step {
    To(usize),
    Character(char),
    Nowhere,
}

/// What the bits of each code lead to, from the first node.
fn codes() -> Vec<[Step; 2]> {
    let mut nodes = vec![[Step::Nowhere; 2]];
    let (mut code, mut before) = (0_u32, 0);
    for (bits, characters) in HUFFMAN {
        code <<= bits - before;
        before = bits;
        for character in characters {
            let mut node = 0;
            for bit in (0..bits).rev() {
                let side = usize::from(code >> bit & 1 == 1);
                if bit == 0 {
                    nodes[node][side] = Step::Character(char::from(*character));
                } else if let Step::To(next) = nodes[node][side] {
                    node = next;
                } else {
                    nodes.push([Step::Nowhere; 2]);
                    let next = nodes.len() - 1;
                    nodes[node][side] = Step::To(next);
                    node = next;
                }
            }
            code += 1;
        }
    }
    nodes
}

#[test]
fn what_a_server_writes_can_be_read() {
    // RFC 7541, appendix C.6.1, without what only the static table knows.
    let block = b"\x48\x82\x64\x02\x58\x85\xae\xc3\x77\x1a\x4b\x61\x96\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\
                  \x0b\x81\x66\xe0\x82\xa6\x2d\x1b\xff\x6e\x91\x9d\x29\xad\x17\x18\x63\xc7\x8f\x0b\x97\xc8\xe9\xae\x82\xae\
                  \x43\xd3";
    let fields = read(block);
    assert_eq!(fields[0], (":status".to_owned(), "302".to_owned()));
    assert_eq!(fields[1].1, "private");
    assert_eq!(fields[3].1, "https://www.example.com");
    assert_eq!(read(&literal("grpc-status", &"8".repeat(300))), [("grpc-status".to_owned(), "8".repeat(300))]);
    assert_eq!(read(&[0x88]), [(":status".to_owned(), "200".to_owned())]);
}
