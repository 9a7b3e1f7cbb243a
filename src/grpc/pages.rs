//! Page tokens: where a list goes on. Opaque, the same on every replica, and bound to the filter. They
//! grant no rights: what the caller may see is judged again for each page.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use prost::Message;
use uuid::Uuid;

use super::requests::digest;
use super::status::Failure;
use crate::domain::Timestamp;

/// The first byte of every token: its layout.
const VERSION: u8 = 1;

/// The token of the page after the row with this key.
pub(super) fn encode(filter: &impl Message, time: Timestamp, id: &str) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(fingerprint(filter).as_bytes());
    bytes.extend(time.micros().to_be_bytes());
    bytes.extend(id.as_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The key after which the page begins; `None` for the first page. `read` reads the id.
pub(super) fn decode<I>(
    filter: &impl Message,
    token: &str,
    read: impl FnOnce(&str) -> Option<I>,
) -> Result<Option<(Timestamp, I)>, Failure> {
    if token.is_empty() {
        return Ok(None);
    }
    let key = || {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (version, rest) = bytes.split_first_chunk::<1>()?;
        let (bound_to, rest) = rest.split_first_chunk::<16>()?;
        let (time, id) = rest.split_first_chunk::<8>()?;
        let is_ours = *version == [VERSION] && bound_to == fingerprint(filter).as_bytes();
        let time = Timestamp::from_micros(i64::from_be_bytes(*time)).filter(|_| is_ours)?;
        Some((time, read(std::str::from_utf8(id).ok()?)?))
    };
    key().map(Some).ok_or_else(Failure::page_token_invalid)
}

fn fingerprint(filter: &impl Message) -> Uuid {
    digest(&[&filter.encode_to_vec()])
}
