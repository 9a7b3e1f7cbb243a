//! Why a watch has ended.

use std::time::Duration;

use thiserror::Error;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::proto::v1::ErrorReason;

/// The `domain` of the service's own reasons.
const DOMAIN: &str = "disputes.v1";

/// A refusal that reconnecting cannot fix.
#[derive(Clone, Debug, Error)]
#[error("{:?}: {}", .status.code(), .status.message())]
pub struct WatchError {
    #[source]
    status: Status,
    details: ErrorDetails,
}

impl WatchError {
    /// The gRPC code.
    pub fn code(&self) -> Code {
        self.status.code()
    }

    /// The reason, one of those that `disputes/v1/error.proto` lists for the code. [`ErrorReason::Unspecified`] if the
    /// error does not come from the service, but for example from a proxy, or if the service is newer than this client.
    pub fn reason(&self) -> ErrorReason {
        let info = self.details.error_info().filter(|info| info.domain == DOMAIN);
        info.and_then(|info| ErrorReason::from_str_name(&format!("ERROR_REASON_{}", info.reason))).unwrap_or_default()
    }

    /// The metadata value for this key, such as the `scope` that is missing.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.details.error_info()?.metadata.get(key).map(String::as_str)
    }

    /// The token to restart from if events after the request's token are no longer kept (`RESUME_TOKEN_EXPIRED`): the
    /// events in between are lost to this subscriber, which should read the current state. `None` for every other
    /// error.
    pub fn oldest_token(&self) -> Option<&str> {
        self.metadata("oldestToken").filter(|_| self.reason() == ErrorReason::ResumeTokenExpired)
    }

    /// The complete status.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Whether reconnecting with the same request would only lead to the same error. An accepted stream ends when its
    /// credential expires: with a new one it can continue.
    pub(super) fn is_final(&self, was_let_in: bool) -> bool {
        match self.code() {
            Code::Unauthenticated if was_let_in => self.reason() != ErrorReason::CredentialExpired,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss
            | Code::Unauthenticated => true,
            Code::ResourceExhausted => self.reason() == ErrorReason::MessageTooLarge,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable => false,
        }
    }

    /// The underlying errors: the transport's explanation if the service is unreachable.
    pub(super) fn causes(&self) -> String {
        let causes = std::iter::successors(std::error::Error::source(&self.status), |cause| cause.source());
        causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
    }

    /// The delay that the service requests.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        self.details.retry_info()?.retry_delay
    }
}

impl From<Status> for WatchError {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        Self { status, details }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn error(code: Code, domain: &str, reason: &str, metadata: &[(&str, &str)]) -> WatchError {
        let metadata: HashMap<_, _> =
            metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Status::with_error_details(code, "no", ErrorDetails::with_error_info(reason, domain, metadata)).into()
    }

    #[test]
    fn a_watch_ends_with_what_connecting_again_cannot_mend() {
        for (code, reason, is_final) in [
            (Code::InvalidArgument, "INVALID_FIELD", true),
            (Code::InvalidArgument, "RESUME_TOKEN_MALFORMED", true),
            (Code::Unauthenticated, "CREDENTIAL_EXPIRED", true),
            (Code::PermissionDenied, "SCOPE_MISSING", true),
            (Code::NotFound, "", true),
            (Code::OutOfRange, "RESUME_TOKEN_EXPIRED", true),
            (Code::OutOfRange, "RESUME_TOKEN_UNKNOWN", true),
            (Code::Unimplemented, "METHOD_UNKNOWN", true),
            (Code::FailedPrecondition, "", true),
            (Code::AlreadyExists, "", true),
            (Code::DataLoss, "", true),
            (Code::ResourceExhausted, "MESSAGE_TOO_LARGE", true),
            (Code::ResourceExhausted, "TOO_MANY_SUBSCRIPTIONS", false),
            (Code::ResourceExhausted, "", false),
            (Code::Unavailable, "SERVER_DRAINING", false),
            (Code::Unavailable, "STORAGE_UNAVAILABLE", false),
            (Code::Internal, "INTERNAL", false),
            (Code::DeadlineExceeded, "DEADLINE_EXCEEDED", false),
            (Code::Unknown, "", false),
            (Code::Cancelled, "", false),
            (Code::Aborted, "", false),
        ] {
            assert_eq!(error(code, DOMAIN, reason, &[]).is_final(false), is_final, "{code:?} {reason}");
            let later = is_final && reason != "CREDENTIAL_EXPIRED";
            assert_eq!(error(code, DOMAIN, reason, &[]).is_final(true), later, "{code:?} {reason} of a stream");
            let bare = WatchError::from(Status::new(code, ""));
            assert_eq!(bare.is_final(false), is_final && code != Code::ResourceExhausted);
        }
    }

    #[test]
    fn an_error_tells_its_reason_and_its_facts() {
        let expired = error(Code::OutOfRange, DOMAIN, "RESUME_TOKEN_EXPIRED", &[("oldestToken", "t")]);
        assert_eq!((expired.code(), expired.reason()), (Code::OutOfRange, ErrorReason::ResumeTokenExpired));
        assert_eq!((expired.oldest_token(), expired.metadata("oldestToken")), (Some("t"), Some("t")));
        assert_eq!(expired.to_string(), "OutOfRange: no");
        let unknown = error(Code::OutOfRange, DOMAIN, "RESUME_TOKEN_UNKNOWN", &[("oldestToken", "t")]);
        assert_eq!((unknown.reason(), unknown.oldest_token()), (ErrorReason::ResumeTokenUnknown, None));
        let of_another = error(Code::OutOfRange, "proxy", "RESUME_TOKEN_EXPIRED", &[]);
        assert_eq!((of_another.reason(), of_another.oldest_token()), (ErrorReason::Unspecified, None));
        let newer = error(Code::OutOfRange, DOMAIN, "NOT_INVENTED_YET", &[]);
        assert_eq!((newer.reason(), newer.metadata("oldestToken")), (ErrorReason::Unspecified, None));
    }

    #[test]
    fn an_error_tells_when_to_try_again() {
        let second = Duration::from_secs(1);
        let details = ErrorDetails::with_retry_info(Some(second));
        let draining = Status::with_error_details(Code::Unavailable, "draining", details);
        assert_eq!(WatchError::from(draining).retry_after(), Some(second));
        assert_eq!(WatchError::from(Status::unavailable("away")).retry_after(), None);
    }
}
