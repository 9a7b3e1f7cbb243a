//! Sealing: nobody else can read, create or alter the tokens that clients keep for us.
//!
//! AES-256-GCM-SIV (RFC 8452), with the key that is stored beside the log's id. There is no nonce: the same position
//! always gives the same text, on every replica, so that clients can compare tokens and every page of a list shows the
//! same one. This cipher allows that: two texts reveal whether they are equal, and nothing else.

use aes_gcm_siv::aead::inout::InOutBuf;
use aes_gcm_siv::{AeadInOut as _, Aes256GcmSiv, KeyInit as _, Nonce, Tag};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use super::token::TokenError;
use crate::repository::{LogId, TokenKey};

/// The purpose of a text: a text for another purpose is not accepted. The number is its first byte; lower ones were
/// used by unsealed tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// Resumes from a position in the log. The log's id follows in clear text: it tells which key is needed.
    Resume = 5,
    /// Reads the next page of a list.
    Page = 6,
}

/// Longer texts are not examined: ours are shorter.
const LONGEST_TEXT: usize = 4 * 1024;

/// Up to this size, sealing allocates nothing but the text itself.
const SHORT: usize = 128;

/// How many bytes authenticate the rest.
const TAG: usize = 16;

/// Seals and opens the texts of a log. Created for each text, which costs less than sharing it.
pub struct Sealer {
    cipher: Aes256GcmSiv,
    log: Uuid,
}

impl Sealer {
    /// A sealer with the key of this log.
    pub fn new(log: LogId) -> Self {
        Self { cipher: Aes256GcmSiv::new(TokenKey::as_bytes(&log.token_key).into()), log: log.uuid }
    }

    /// Seals `plain`, which is encrypted in place. It can be opened only with the same purpose and binding.
    pub fn seal(&self, purpose: Purpose, bound_to: Uuid, plain: &mut [u8]) -> String {
        let known = self.known(purpose, bound_to);
        // Fails only beyond 64 GiB; without the tag it would not be a token.
        let tag = self.cipher.encrypt_inout_detached(&Nonce::default(), &known, InOutBuf::from(&mut *plain));
        let tag = tag.unwrap_or_default();
        let parts = [&[purpose as u8][..], self.in_clear(purpose), plain, &tag];
        let mut short = [0; SHORT];
        match joined(&mut short, parts) {
            Some(bytes) => URL_SAFE_NO_PAD.encode(bytes),
            None => URL_SAFE_NO_PAD.encode(parts.concat()),
        }
    }

    /// Opens a text. Nothing in it is used before it is known to be ours, unaltered, and for this purpose.
    pub fn open(&self, purpose: Purpose, bound_to: Uuid, text: &str) -> Result<Vec<u8>, TokenError> {
        let short = Some(text).filter(|text| text.len() <= LONGEST_TEXT).ok_or(TokenError::Malformed)?;
        let bytes = URL_SAFE_NO_PAD.decode(short).map_err(|_| TokenError::Malformed)?;
        let rest = bytes.strip_prefix(&[purpose as u8]).ok_or(TokenError::Malformed)?;
        let (log, sealed) = rest.split_at_checked(self.in_clear(purpose).len()).ok_or(TokenError::Malformed)?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG>().ok_or(TokenError::Malformed)?;
        if sealed.is_empty() || !sealed.len().is_multiple_of(purpose.unit()) {
            return Err(TokenError::Malformed);
        }
        if log != self.in_clear(purpose) {
            return Err(TokenError::OtherLog);
        }
        let mut plain = sealed.to_vec();
        let known = self.known(purpose, bound_to);
        let opened = self.cipher.decrypt_inout_detached(
            &Nonce::default(),
            &known,
            InOutBuf::from(plain.as_mut_slice()),
            &Tag::from(*tag),
        );
        opened.map(|()| plain).map_err(|_| TokenError::Malformed)
    }

    /// The clear part of a text, besides its first byte.
    fn in_clear(&self, purpose: Purpose) -> &[u8] {
        match purpose {
            Purpose::Resume => self.log.as_bytes(),
            Purpose::Page => &[],
        }
    }

    /// The data that is authenticated but not encrypted, including what is not in the text.
    fn known(&self, purpose: Purpose, bound_to: Uuid) -> [u8; 33] {
        let mut known = [purpose as u8; 33];
        let parts = [&[purpose as u8][..], self.log.as_bytes(), bound_to.as_bytes()];
        let _ = joined(&mut known, parts);
        known
    }
}

impl Purpose {
    /// The length of the content is a multiple of this.
    fn unit(self) -> usize {
        match self {
            Self::Resume => 8,
            Self::Page => 1,
        }
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Sealer").field("log", &self.log).finish_non_exhaustive()
    }
}

/// The start of a buffer, filled with these parts one after another; `None` if they are longer.
fn joined<'a, const N: usize>(buffer: &'a mut [u8], parts: [&[u8]; N]) -> Option<&'a [u8]> {
    let length = parts.iter().map(|part| part.len()).sum();
    let joined = buffer.get_mut(..length)?;
    let mut rest = &mut *joined;
    for part in parts {
        let (head, tail) = rest.split_at_mut_checked(part.len())?;
        head.copy_from_slice(part);
        rest = tail;
    }
    Some(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(uuid: u128, key: u8) -> LogId {
        LogId { uuid: Uuid::from_u128(uuid), token_key: TokenKey::new([key; 32]) }
    }

    #[test]
    fn what_is_sealed_is_opened_for_its_purpose_with_its_key_and_not_otherwise() {
        let (sealer, bound) = (Sealer::new(log(1, 1)), Uuid::from_u128(9));
        for plain in [[7; 40].as_slice(), &[7; 2_000]] {
            let seal = |purpose| sealer.seal(purpose, bound, &mut plain.to_vec());
            let (resume, page) = (seal(Purpose::Resume), seal(Purpose::Page));
            assert_eq!(sealer.open(Purpose::Resume, bound, &resume).as_deref(), Ok(plain));
            assert_eq!(sealer.open(Purpose::Page, bound, &page).as_deref(), Ok(plain));
            assert_eq!(seal(Purpose::Resume), resume, "the same says the same");
            let other = |log| Sealer::new(log);
            for (opened, expected) in [
                (sealer.open(Purpose::Page, bound, &resume), TokenError::Malformed),
                (sealer.open(Purpose::Resume, bound, &page), TokenError::Malformed),
                (sealer.open(Purpose::Resume, Uuid::nil(), &resume), TokenError::Malformed),
                (sealer.open(Purpose::Page, Uuid::nil(), &page), TokenError::Malformed),
                (other(log(1, 2)).open(Purpose::Resume, bound, &resume), TokenError::Malformed),
                (other(log(2, 1)).open(Purpose::Resume, bound, &resume), TokenError::OtherLog),
                (other(log(2, 1)).open(Purpose::Page, bound, &page), TokenError::Malformed),
            ] {
                assert_eq!(opened, Err(expected));
            }
        }
    }

    #[test]
    fn a_text_of_which_one_bit_is_changed_is_none() {
        let (sealer, bound) = (Sealer::new(log(1, 1)), Uuid::nil());
        let bytes = URL_SAFE_NO_PAD.decode(sealer.seal(Purpose::Resume, bound, &mut [7; 40])).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            // With another id it refers to the key of another log.
            let expected = if (8..136).contains(&bit) { TokenError::OtherLog } else { TokenError::Malformed };
            let opened = sealer.open(Purpose::Resume, bound, &URL_SAFE_NO_PAD.encode(changed));
            assert_eq!(opened, Err(expected), "bit {bit}");
        }
    }

    #[test]
    fn a_text_that_is_too_long_is_not_looked_at() {
        let (sealer, bound) = (Sealer::new(log(1, 1)), Uuid::nil());
        for (bytes, is_ours) in [(3_072 - 17, true), (3_072 - 16, false)] {
            let text = sealer.seal(Purpose::Page, bound, &mut vec![7; bytes]);
            assert_eq!(
                (text.len() <= LONGEST_TEXT, sealer.open(Purpose::Page, bound, &text).is_ok()),
                (is_ours, is_ours)
            );
        }
    }
}
