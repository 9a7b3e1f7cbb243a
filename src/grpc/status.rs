//! Every error that a client can get, and the only place that names a gRPC code.

mod outcome;
mod refusals;

use std::collections::HashMap;
use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::chance::{jittered, mint_id};
use crate::domain::{Refusal, Scope};
use crate::engine::{Error, FeedError, ResumeToken};
use crate::proto::v1::ErrorReason;

pub(super) use self::outcome::{
    CANCELLED, OK, Outcome, is_error, outcome_of, with_details_of_health, with_error_details,
};

/// What the names of all reasons begin with in the protos, and nowhere else.
const PREFIX: &str = "ERROR_REASON_";

fn name_of(reason: ErrorReason) -> &'static str {
    reason.as_str_name().trim_start_matches(PREFIX)
}

/// The `domain` of every ErrorInfo.
const DOMAIN: &str = "disputes.v1";

/// How many field violations are told apart; the rest are counted.
const VIOLATIONS: usize = 25;

/// When a client may try again after the service was too busy or away; more or less, so that not all come at once.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How a request may be encoded: the header that says so, and what it says.
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const READ_ENCODINGS: &str = "gzip,zstd,identity";

/// A field that is not as it must be. The value itself is never repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// Its path in the request.
    pub(super) field: String,
    /// What it must be.
    pub(super) description: String,
}

/// An error on its way to a client.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    code: Code,
    pub(super) reason: ErrorReason,
    pub(super) message: String,
    metadata: Vec<(&'static str, String)>,
    violations: Vec<Violation>,
    retry_after: Option<Duration>,
}

impl Failure {
    fn new(code: Code, reason: ErrorReason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { code, reason, message, metadata: Vec::new(), violations: Vec::new(), retry_after: None }
    }

    fn with(mut self, key: &'static str, value: impl ToString) -> Self {
        self.metadata.push((key, value.to_string()));
        self
    }

    /// The field that it is about, beside what it says of it.
    fn about(mut self, field: &str) -> Self {
        self.violations.push(Violation { field: field.to_owned(), description: self.message.clone() });
        self
    }

    /// An amount that is out of range is this field of the command.
    pub(super) fn about_amount(self, field: &str) -> Self {
        if self.reason == ErrorReason::AmountOutOfRange { self.about(field) } else { self }
    }

    fn with_retry(mut self) -> Self {
        self.retry_after = Some(jittered(RETRY_AFTER));
        self
    }

    /// Fields that are not as they must be; at least one.
    pub(super) fn invalid_fields(mut violations: Vec<Violation>) -> Self {
        let all = violations.len();
        let message = match violations.as_slice() {
            [only] => format!("{}: {}", only.field, only.description),
            [first, ..] => format!("{}: {}; and {} more", first.field, first.description, all.saturating_sub(1)),
            [] => "the request is not valid".to_owned(),
        };
        if all > VIOLATIONS {
            violations.truncate(VIOLATIONS);
            let description = format!("{} more", all.saturating_sub(VIOLATIONS));
            violations.push(Violation { field: String::new(), description });
        }
        Self { violations, ..Self::new(Code::InvalidArgument, ErrorReason::InvalidField, message) }
    }

    pub(super) fn invalid_field(field: &str, description: impl Into<String>) -> Self {
        Self::invalid_fields(vec![Violation { field: field.to_owned(), description: description.into() }])
    }

    pub(super) fn page_token_invalid() -> Self {
        let message = "the page_token is malformed or was issued for another request";
        Self::new(Code::InvalidArgument, ErrorReason::PageTokenInvalid, message).about("page_token")
    }

    fn resume_token_malformed() -> Self {
        let message = "the resume_token is malformed: it must be one that this service issued";
        Self::new(Code::InvalidArgument, ErrorReason::ResumeTokenMalformed, message).about("resume_token")
    }

    pub(super) fn credential_missing(message: &str) -> Self {
        Self::new(Code::Unauthenticated, ErrorReason::CredentialMissing, message)
    }

    pub(super) fn credential_invalid(message: &str) -> Self {
        Self::new(Code::Unauthenticated, ErrorReason::CredentialInvalid, message)
    }

    pub(super) fn credential_expired() -> Self {
        let message = "the credential has expired; call with a new one";
        Self::new(Code::Unauthenticated, ErrorReason::CredentialExpired, message)
    }

    pub(super) fn origin_not_allowed(message: &str) -> Self {
        Self::new(Code::PermissionDenied, ErrorReason::OriginNotAllowed, message)
    }

    pub(super) fn scope_missing(scope: Scope) -> Self {
        let scope = scope.name();
        let message = format!("this RPC requires the scope {scope}");
        Self::new(Code::PermissionDenied, ErrorReason::ScopeMissing, message).with("scope", scope)
    }

    pub(super) fn headers_too_large(max: usize) -> Self {
        let message = format!("the request's headers, including its metadata, are larger than {max} bytes");
        Self::new(Code::ResourceExhausted, ErrorReason::HeadersTooLarge, message)
    }

    pub(super) fn method_unknown() -> Self {
        Self::new(Code::Unimplemented, ErrorReason::MethodUnknown, "there is no such method on this server")
    }

    /// Whether it is the credential, or the lack of one, that is wrong.
    pub(super) fn is_of_the_credential(&self) -> bool {
        self.code == Code::Unauthenticated
    }

    /// `what` is too much; a token is there again after `wait`.
    pub(super) fn rate_limited(what: &str, wait: Duration) -> Self {
        // Rounded up: whoever comes then finds it.
        let millis = wait.as_micros().div_ceil(1_000);
        let wait = Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX));
        let message = format!("{what}; this request was not processed, retry in {wait:?}");
        let failure = Self::new(Code::ResourceExhausted, ErrorReason::RateLimited, message);
        Self { retry_after: Some(wait), ..failure }
    }

    /// The status says in a header, as gRPC wants it, what it says in its metadata.
    pub(super) fn encoding_not_supported() -> Self {
        let message = "the request uses a compression that this server does not support";
        Self::new(Code::Unimplemented, ErrorReason::EncodingNotSupported, message).with("supported", READ_ENCODINGS)
    }

    pub(super) fn message_malformed() -> Self {
        let message = "the message has an invalid gRPC frame, or is not a valid protobuf encoding of the request";
        Self::new(Code::InvalidArgument, ErrorReason::MessageMalformed, message)
    }

    pub(super) fn message_too_large(max: usize) -> Self {
        let message = format!("the message is larger than this RPC's limit of {max} bytes");
        Self::new(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message)
    }

    pub(super) fn request_late() -> Self {
        let message = "the request did not arrive completely in time";
        Self::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message)
    }

    pub(super) fn deadline_exceeded() -> Self {
        Self::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, "the client's deadline passed")
    }

    fn timed_out() -> Self {
        let message = "the read exceeded its time limit; request less, or retry later";
        Self::new(Code::DeadlineExceeded, ErrorReason::DeadlineExceeded, message)
    }

    pub(super) fn draining() -> Self {
        let message = "this stream or the server is shutting down; reconnect";
        Self::new(Code::Unavailable, ErrorReason::ServerDraining, message).with_retry()
    }

    /// A defect. What it is goes to the log, and the caller gets an id to find it there.
    pub(super) fn internal(what: &str) -> Self {
        let correlation = mint_id();
        tracing::error!(%correlation, what, "internal error");
        let message = "internal error; please report the correlation id";
        Self::new(Code::Internal, ErrorReason::Internal, message).with("correlationId", correlation)
    }

    pub(super) fn too_many_subscriptions() -> Self {
        let message = "the limit of open streams is reached, for this caller or for all callers; close some";
        Self::new(Code::ResourceExhausted, ErrorReason::TooManySubscriptions, message).with_retry()
    }

    fn unavailable() -> Self {
        let message = "the database is unavailable; a command may or may not have taken effect, and can safely be retried with its request_id";
        Self::new(Code::Unavailable, ErrorReason::StorageUnavailable, message).with_retry()
    }

    fn clock_uncertain() -> Self {
        let message =
            "the service's clock has jumped, so that nothing can be judged now; this command was not processed";
        Self::new(Code::Unavailable, ErrorReason::ClockUncertain, message).with_retry()
    }

    pub(super) fn overloaded() -> Self {
        let message = "too many requests are waiting; this one was not processed";
        Self::new(Code::ResourceExhausted, ErrorReason::Overloaded, message).with_retry()
    }

    /// Why a request ends before it is complete.
    pub(super) fn of_body(status: &Status) -> Self {
        Self::of_transport(status).unwrap_or_else(Self::message_malformed)
    }

    /// The first of the fields that are not as they must be.
    #[cfg(test)]
    pub(super) fn first_field(&self) -> Option<String> {
        self.violations.first().map(|violation| violation.field.clone())
    }

    /// What the transport says of a request that no handler has seen; `None` for what is none of its errors.
    pub(super) fn of_transport(status: &Status) -> Option<Self> {
        match status.code() {
            Code::Internal | Code::InvalidArgument => Some(Self::message_malformed()),
            Code::OutOfRange | Code::ResourceExhausted => {
                let message = "the message is larger than this server's limit";
                Some(Self::new(Code::ResourceExhausted, ErrorReason::MessageTooLarge, message))
            }
            Code::Unimplemented if status.metadata().contains_key(ACCEPT_ENCODING) => {
                Some(Self::encoding_not_supported())
            }
            Code::Unimplemented => Some(Self::method_unknown()),
            Code::Cancelled | Code::DeadlineExceeded => Some(Self::deadline_exceeded()),
            _ => None,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused(refusal) => Self::from(&refusal),
            Error::RequestIdReused => {
                let message = "this request_id was already used for another command";
                Self::new(Code::InvalidArgument, ErrorReason::RequestIdReused, message).about("request_id")
            }
            Error::Overloaded => Self::overloaded(),
            Error::Draining => Self::draining(),
            Error::ClockUncertain => Self::clock_uncertain(),
            Error::Unavailable => Self::unavailable(),
            Error::TimedOut => Self::timed_out(),
            Error::Internal(what) => Self::internal(&what),
        }
    }
}

impl From<FeedError> for Failure {
    fn from(error: FeedError) -> Self {
        match error {
            FeedError::Expired { oldest } => {
                let message = "events after this token are no longer kept; start again from the oldest token";
                Self::new(Code::OutOfRange, ErrorReason::ResumeTokenExpired, message)
                    .with("oldestToken", ResumeToken::encode(&oldest))
            }
            FeedError::Unknown => {
                let message = "this token is from another log, or from before this log was rolled back; read the current state again";
                Self::new(Code::OutOfRange, ErrorReason::ResumeTokenUnknown, message)
            }
            FeedError::Malformed => Self::resume_token_malformed(),
            FeedError::Failed(error) => error.into(),
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let reason = name_of(failure.reason);
        let metadata: HashMap<String, String> =
            failure.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
        if !failure.violations.is_empty() {
            let violations = failure.violations.into_iter();
            details.set_bad_request(
                violations
                    .map(|violation| FieldViolation::new(violation.field, violation.description))
                    .collect::<Vec<_>>(),
            );
        }
        if failure.code == Code::FailedPrecondition {
            details.set_precondition_failure(vec![]);
            details.add_precondition_failure_violation(reason, DOMAIN, failure.message.clone());
        }
        if let Some(retry_after) = failure.retry_after {
            details.set_retry_info(Some(retry_after));
        }
        let mut status = Self::with_error_details(failure.code, failure.message, details);
        if failure.reason == ErrorReason::EncodingNotSupported {
            status.metadata_mut().insert(ACCEPT_ENCODING, MetadataValue::from_static(READ_ENCODINGS));
        }
        status
    }
}

/// Why a question of reflection has no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReflectionError {
    FileUnknown,
    SymbolUnknown,
    ExtensionUnknown,
    Empty,
}

impl ReflectionError {
    /// The code of gRPC, and a text, as reflection tells errors.
    pub(super) fn code_and_message(self) -> (i32, &'static str) {
        let (code, message) = match self {
            Self::FileUnknown => (Code::NotFound, "there is no such file"),
            Self::SymbolUnknown => (Code::NotFound, "there is no such symbol"),
            Self::ExtensionUnknown => (Code::NotFound, "there is no such extension"),
            Self::Empty => (Code::InvalidArgument, "message_request must be set"),
        };
        (code.into(), message)
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Failure::from(error).into()
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::from(&refusal)
    }
}
