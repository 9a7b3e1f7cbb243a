//! How many elements the lists of a message have, counted before anything of it is decoded: an empty order takes two bytes
//! on the wire, and 360 decoded.

use bytes::Bytes;

use super::frames::PREFIX_BYTES;
use crate::grpc::status::{Failure, Violation};

/// How many lists one message can have, with those in the messages that it holds.
const MOST_LISTS: usize = 8;

/// A field that is a list, or a message in which there is one.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::grpc) struct Field {
    pub(in crate::grpc) number: u32,
    pub(in crate::grpc) name: &'static str,
    pub(in crate::grpc) holds: Holds,
}

/// What a [`Field`] holds.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::grpc) enum Holds {
    /// A message with these fields.
    Message(&'static [Field]),
    /// Texts, or messages with these fields.
    List(Bound, &'static [Field]),
    /// Numbers, packed or not.
    Numbers(Bound),
}

/// How long a list can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::grpc) struct Bound {
    /// How many elements it can have.
    pub(in crate::grpc) most: usize,
    /// What they are called.
    pub(in crate::grpc) of: &'static str,
    /// A list that is longer than this is refused without a look at the rest of the message. Up to here its handler tells
    /// with everything else that is wrong.
    pub(in crate::grpc) unread: usize,
}

impl Field {
    /// How many lists there are in it, apart from those in the elements of lists.
    fn lists(&self) -> usize {
        match self.holds {
            Holds::Message(fields) => fields.iter().map(Self::lists).sum(),
            Holds::List(..) | Holds::Numbers(_) => 1,
        }
    }
}

/// Refuses a message, of which these are the pieces, if any of its lists is too long.
pub(in crate::grpc) fn count<'a>(
    chunks: impl Iterator<Item = &'a Bytes> + Clone,
    fields: &[Field],
) -> Result<(), Failure> {
    if fields.is_empty() {
        return Ok(());
    }
    let left = chunks.clone().map(Bytes::len).sum();
    let mut scan = Scan { chunks, chunk: &[], left };
    let scanned = scan.skip(PREFIX_BYTES).and_then(|()| scan.message(fields, 0, &mut [0; MOST_LISTS]));
    scanned.map_err(|error| match error {
        Error::Malformed => Failure::message_malformed(),
        Error::TooMany(field, bound) => {
            let description = format!("must have at most {} {}", bound.most, bound.of);
            Failure::invalid_fields(vec![Violation { field, description }])
        }
    })
}

enum Error {
    Malformed,
    /// The list at this path.
    TooMany(String, Bound),
}

impl Error {
    fn within(self, name: impl FnOnce() -> String) -> Self {
        match self {
            Self::Malformed => Self::Malformed,
            Self::TooMany(path, bound) => Self::TooMany(format!("{}.{path}", name()), bound),
        }
    }
}

/// A message of protobuf as it stands on the wire. Whatever the decoder takes is gone through here; what it does not take
/// need not be found.
struct Scan<'a, I> {
    chunks: I,
    chunk: &'a [u8],
    /// How much is left of the message at hand.
    left: usize,
}

impl<'a, I: Iterator<Item = &'a Bytes>> Scan<'a, I> {
    /// Counts the lists of a message, the first of them at `base` in `counts`.
    fn message(&mut self, fields: &[Field], base: usize, counts: &mut [usize; MOST_LISTS]) -> Result<(), Error> {
        while self.left > 0 {
            let key = self.varint()?;
            let mut at = base;
            let mut known = None;
            for field in fields {
                if u64::from(field.number) == key >> 3 {
                    known = Some(field);
                    break;
                }
                at = at.saturating_add(field.lists());
            }
            let Some(field) = known else {
                self.skip_value(key & 7)?;
                continue;
            };
            match (&field.holds, key & 7) {
                (Holds::Message(inner), 2) => self
                    .nested(|scan| scan.message(inner, at, counts))
                    .map_err(|error| error.within(|| field.name.to_owned()))?,
                (Holds::List(bound, inner), 2) => {
                    let index = add(counts, at, field, *bound)?.saturating_sub(1);
                    self.nested(|scan| match inner {
                        [] => scan.skip(scan.left),
                        inner => scan.message(inner, 0, &mut [0; MOST_LISTS]),
                    })
                    .map_err(|error| error.within(|| format!("{}[{index}]", field.name)))?;
                }
                (Holds::Numbers(bound), 0) => {
                    self.varint()?;
                    add(counts, at, field, *bound)?;
                }
                (Holds::Numbers(bound), 2) => self.nested(|scan| {
                    while scan.left > 0 {
                        scan.varint()?;
                        add(counts, at, field, *bound)?;
                    }
                    Ok(())
                })?,
                // Not what the field is: the decoder refuses it.
                (Holds::Message(_) | Holds::List(..) | Holds::Numbers(_), kind) => self.skip_value(kind)?,
            }
        }
        Ok(())
    }

    /// Goes through what stands behind its length, and to its end.
    fn nested(&mut self, through: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        let length = usize::try_from(self.varint()?).map_err(|_| Error::Malformed)?;
        let behind = self.left.checked_sub(length).ok_or(Error::Malformed)?;
        self.left = length;
        through(self)?;
        self.left = behind;
        Ok(())
    }

    /// Skips the value of a field of this kind; a group with all that is in it, however deep.
    fn skip_value(&mut self, kind: u64) -> Result<(), Error> {
        let mut depth = 0_usize;
        let mut kind = kind;
        loop {
            match kind {
                0 => {
                    self.varint()?;
                }
                1 => self.skip(8)?,
                2 => self.nested(|scan| scan.skip(scan.left))?,
                3 => depth = depth.saturating_add(1),
                4 => depth = depth.checked_sub(1).ok_or(Error::Malformed)?,
                5 => self.skip(4)?,
                _ => return Err(Error::Malformed),
            }
            if depth == 0 {
                return Ok(());
            }
            kind = self.varint()? & 7;
        }
    }

    fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Malformed)
    }

    fn byte(&mut self) -> Result<u8, Error> {
        self.left = self.left.checked_sub(1).ok_or(Error::Malformed)?;
        loop {
            if let Some((first, rest)) = self.chunk.split_first() {
                self.chunk = rest;
                return Ok(*first);
            }
            self.chunk = self.chunks.next().ok_or(Error::Malformed)?.as_ref();
        }
    }

    fn skip(&mut self, mut count: usize) -> Result<(), Error> {
        self.left = self.left.checked_sub(count).ok_or(Error::Malformed)?;
        loop {
            if let Some(rest) = self.chunk.get(count..) {
                self.chunk = rest;
                return Ok(());
            }
            count = count.saturating_sub(self.chunk.len());
            self.chunk = self.chunks.next().ok_or(Error::Malformed)?.as_ref();
        }
    }
}

/// Counts one more element of a list; returns how many there are so far.
fn add(counts: &mut [usize; MOST_LISTS], at: usize, field: &Field, bound: Bound) -> Result<usize, Error> {
    let count = counts.get_mut(at).ok_or(Error::Malformed)?;
    *count = count.saturating_add(1);
    if *count > bound.unread { Err(Error::TooMany(field.name.to_owned(), bound)) } else { Ok(*count) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::proto::v1;

    const FEW: Bound = Bound { most: 3, of: "values", unread: 3 };
    const ORDER: &[Field] = &[Field { number: 16, name: "open_dispute_ids", holds: Holds::List(FEW, &[]) }];
    const BATCH: &[Field] = &[Field { number: 1, name: "orders", holds: Holds::List(FEW, ORDER) }];
    const EVENTS: &[Field] = &[Field {
        number: 1,
        name: "filter",
        holds: Holds::Message(&[
            Field { number: 1, name: "order_ids", holds: Holds::List(FEW, &[]) },
            Field { number: 4, name: "kinds", holds: Holds::Numbers(FEW) },
            Field { number: 5, name: "event_types", holds: Holds::Numbers(FEW) },
        ]),
    }];

    /// The field that is too long, in pieces of every size: `Err` with an empty name if it is no message.
    fn counted(fields: &[Field], message: &[u8]) -> Result<(), String> {
        let framed = [&[0; PREFIX_BYTES], message].concat();
        let read = |piece: usize| {
            let chunks: Vec<_> = framed.chunks(piece).map(Bytes::copy_from_slice).collect();
            count(chunks.iter(), fields).map_err(|failure| failure.first_field().unwrap_or_default())
        };
        let whole = read(framed.len());
        assert!([1, 2, 3, 7].into_iter().all(|piece| read(piece) == whole), "{message:?}");
        whole
    }

    #[test]
    fn elements_are_counted_wherever_they_stand() {
        let order = |ids| v1::Order { open_dispute_ids: vec![String::new(); ids], ..Default::default() };
        let batch = |orders| v1::BatchUpsertOrdersRequest { orders }.encode_to_vec();
        assert_eq!(counted(BATCH, &batch(vec![order(3); 3])), Ok(()));
        assert_eq!(counted(BATCH, &batch(vec![order(0); 4])), Err("orders".to_owned()));
        let nested = batch(vec![order(3), order(4)]);
        assert_eq!(counted(BATCH, &nested), Err("orders[1].open_dispute_ids".to_owned()));
        let filter = |filter: v1::DisputeEventFilter| {
            v1::WatchDisputesRequest { filter: Some(filter), ..Default::default() }.encode_to_vec()
        };
        let packed =
            filter(v1::DisputeEventFilter { kinds: vec![1; 3], event_types: vec![300; 3], ..Default::default() });
        assert_eq!(counted(EVENTS, &packed), Ok(()));
        // A message that stands there twice is one: so are its lists.
        let twice =
            [&packed[..], &filter(v1::DisputeEventFilter { event_types: vec![1], ..Default::default() })].concat();
        assert_eq!(counted(EVENTS, &twice), Err("filter.event_types".to_owned()));
        // Not packed: each number with its key. A group in between, with what looks like more, is none of it.
        let alone = |numbers: usize| [[0x20, 1].repeat(numbers), vec![0x7b, 0x0a, 2, 0, 0, 0x7b, 0x7c, 0x7c]].concat();
        let framed = |inner: Vec<u8>| [vec![0x0a, u8::try_from(inner.len()).unwrap()], inner].concat();
        assert_eq!(counted(EVENTS, &framed(alone(3))), Ok(()));
        assert_eq!(counted(EVENTS, &framed(alone(4))), Err("filter.kinds".to_owned()));
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for bytes in [
            &b"\x0a"[..],
            b"\x0a\x05a",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
            b"\x0c",
            b"\x0f",
            b"\x7b",
            b"\x79\0",
        ] {
            assert_eq!(counted(BATCH, bytes), Err(String::new()), "{bytes:?}");
        }
    }

    /// Bytes that are often a batch, or nearly one.
    fn nearly_a_batch() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            4 => Just(vec![0x0a, 0]),
            4 => Just(vec![0x0a, 3, 0x82, 0x01, 0]),
            2 => (0..6_usize).prop_map(|ids| {
                let ids = [0x82, 0x01, 0].repeat(ids);
                [vec![0x0a, u8::try_from(ids.len()).unwrap()], ids].concat()
            }),
            1 => Just(vec![0x7b, 0x0a, 0, 0x7c]),
            1 => Just(vec![0x10, 7]),
            1 => Just(vec![0x1d, 1, 2, 3, 4]),
            1 => prop::collection::vec(any::<u8>(), 0..4),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn what_can_be_decoded_is_counted_as_it_is_decoded(bytes in nearly_a_batch()) {
            if let Ok(batch) = v1::BatchUpsertOrdersRequest::decode(&bytes[..]) {
                let fits = batch.orders.len() <= 3 && batch.orders.iter().all(|order| order.open_dispute_ids.len() <= 3);
                prop_assert_eq!(counted(BATCH, &bytes).is_ok(), fits, "{:?}", bytes);
            }
        }
    }
}
