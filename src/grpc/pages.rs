//! Page tokens: where a list goes on. Sealed, the same on every replica, and bound to the list and its filter. They
//! grant no rights: what the caller may see is judged again for each page.

use prost::Message;
use uuid::Uuid;

use super::digest::digest;
use super::status::Failure;
use crate::domain::Timestamp;
use crate::engine::{LogId, Purpose, Sealer};

/// Where a page that is not the first begins.
pub(super) struct Page<I> {
    /// After the row with this key.
    pub(super) after: (Timestamp, I),
    /// What the first page has left.
    pub(super) cursor_state: Vec<u8>,
}

/// What a page token is bound to: a list, and the request without its page.
#[derive(Clone, Copy)]
pub(super) struct Binding(Uuid);

impl Binding {
    /// The binding of this list with this filter.
    pub(super) fn new(list: &str, filter: &impl Message) -> Self {
        Self(digest(&[list.as_bytes(), &filter.encode_to_vec()]))
    }

    /// The token of the page after the row with this key. `cursor_state` is what the first page leaves to all that follow.
    pub(super) fn token(self, log: LogId, time: Timestamp, id: &str, cursor_state: &[u8]) -> String {
        let time = time.micros().to_be_bytes();
        // An id has 128 characters at the most.
        let length = [u8::try_from(id.len()).unwrap_or(u8::MAX)];
        let mut plain = [&time[..], &length, id.as_bytes(), cursor_state].concat();
        Sealer::new(log).seal(Purpose::Page, self.0, &mut plain)
    }

    /// A token that says just this, whatever it is.
    #[cfg(feature = "fuzzing")]
    pub(super) fn seal(self, log: LogId, plain: &mut [u8]) -> String {
        Sealer::new(log).seal(Purpose::Page, self.0, plain)
    }

    /// Where the page begins; `None` for the first page. `read` reads the id.
    pub(super) fn page<I>(
        self,
        log: LogId,
        token: &str,
        read: impl FnOnce(&str) -> Option<I>,
    ) -> Result<Option<Page<I>>, Failure> {
        if token.is_empty() {
            return Ok(None);
        }
        let page = || {
            let plain = Sealer::new(log).open(Purpose::Page, self.0, token).ok()?;
            let (time, rest) = plain.split_first_chunk::<8>()?;
            let (length, rest) = rest.split_first()?;
            let (id, cursor_state) = rest.split_at_checked(usize::from(*length))?;
            let time = Timestamp::from_micros(i64::from_be_bytes(*time))?;
            Some(Page { after: (time, read(std::str::from_utf8(id).ok()?)?), cursor_state: cursor_state.to_owned() })
        };
        page().map(Some).ok_or_else(Failure::page_token_invalid)
    }
}
