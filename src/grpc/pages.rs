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
const VERSION: u8 = 2;

/// Stands between the id and the memo, which cannot contain it.
const END_OF_ID: u8 = b' ';

/// Where a page that is not the first begins.
pub(super) struct Page<I> {
    /// After the row with this key.
    pub(super) after: (Timestamp, I),
    /// What the first page has left.
    pub(super) memo: String,
}

/// What a page token is bound to: a list, and the request without its page.
#[derive(Clone, Copy)]
pub(super) struct Binding(Uuid);

impl Binding {
    /// The binding of this list with this filter.
    pub(super) fn new(list: &str, filter: &impl Message) -> Self {
        Self(digest(&[list.as_bytes(), &filter.encode_to_vec()]))
    }

    /// The token of the page after the row with this key. `memo` is what the first page leaves to all that follow.
    pub(super) fn token(self, time: Timestamp, id: &str, memo: &str) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.0.as_bytes());
        bytes.extend(time.micros().to_be_bytes());
        bytes.extend(id.as_bytes());
        bytes.push(END_OF_ID);
        bytes.extend(memo.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page begins; `None` for the first page. `read` reads the id.
    pub(super) fn page<I>(self, token: &str, read: impl FnOnce(&str) -> Option<I>) -> Result<Option<Page<I>>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let key = || {
            let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
            let (version, rest) = bytes.split_first_chunk::<1>()?;
            let (bound_to, rest) = rest.split_first_chunk::<16>()?;
            let (time, id) = rest.split_first_chunk::<8>()?;
            let is_ours = *version == [VERSION] && bound_to == self.0.as_bytes();
            let time = Timestamp::from_micros(i64::from_be_bytes(*time)).filter(|_| is_ours)?;
            let (id, memo) = std::str::from_utf8(id).ok()?.rsplit_once(char::from(END_OF_ID))?;
            Some(Page { after: (time, read(id)?), memo: memo.to_owned() })
        };
        key().map(Some).ok_or_else(Failure::page_token_invalid)
    }
}
