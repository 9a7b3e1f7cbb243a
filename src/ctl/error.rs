//! Why nothing came of it: in words, as JSON, and as an exit code.

use std::error::Error;
use std::io;

use serde_json::json;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::config::ServiceUrl;
use crate::proto::v1::ErrorReason;
use crate::stderr::visible;

/// The `domain` of the service's own reasons.
const DOMAIN: &str = "disputes.v1";

/// What an agent can do about a refusal that the service's message leaves open.
const ADVICE: [(ErrorReason, &str); 3] = [
    (ErrorReason::EtagMismatch, "Look at the dispute with `ctl show` before you repeat this."),
    (ErrorReason::CredentialMissing, "Give --token-file, or for a service with `--auth dev` --user-id and --scope."),
    (
        ErrorReason::ResumeTokenExpired,
        "Events after this token are gone: begin with the oldest one above, or with --from-beginning.",
    ),
];

/// Why nothing came of it.
#[derive(Debug)]
pub(super) enum CtlError {
    /// The service refused the call.
    Refused(Box<Failed>),
    /// The service could not be reached, was not able to serve, or did not answer in time.
    Away {
        /// Where it should be.
        url: ServiceUrl,
        failed: Box<Failed>,
        /// Whether a command may have taken effect.
        is_uncertain: bool,
    },
    /// A file or the like on this machine.
    Local(String),
    /// What was to be printed could not be.
    Output(io::Error),
}

/// A status with its details.
#[derive(Debug)]
pub(super) struct Failed {
    status: Status,
    details: ErrorDetails,
}

impl From<io::Error> for CtlError {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl CtlError {
    /// Why a call to the service there has failed.
    pub(super) fn of(status: Status, url: &ServiceUrl) -> Self {
        let details = status.get_error_details();
        let is_ours = details.error_info().is_some_and(|info| info.domain == DOMAIN);
        let failed = Box::new(Failed { status, details });
        // Of others: a proxy, or something that is no service of this kind.
        if is_ours && failed.is_refusal() {
            Self::Refused(failed)
        } else {
            Self::Away { url: url.clone(), failed, is_uncertain: false }
        }
    }

    /// The same of a command: without an answer nobody knows whether it has taken effect.
    #[must_use]
    pub(super) fn of_a_command(self) -> Self {
        match self {
            Self::Away { url, failed, .. } => {
                // Of what is too much, nothing was done.
                let is_uncertain = failed.status.code() != Code::ResourceExhausted;
                Self::Away { url, failed, is_uncertain }
            }
            Self::Refused(_) | Self::Local(_) | Self::Output(_) => self,
        }
    }

    /// What the process exits with.
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Local(_) => 2,
            Self::Away { .. } => 3,
            Self::Output(_) => super::NOT_WRITTEN,
        }
    }

    /// The lines for a person.
    pub(super) fn in_words(&self) -> String {
        match self {
            Self::Refused(failed) => {
                let mut lines = vec![format!("refused: {}", failed.with_reason())];
                lines.extend(
                    failed.metadata().iter().map(|(key, value)| format!("  {}: {}", visible(key), visible(value))),
                );
                let violations = match failed.violations().as_slice() {
                    // The message says it already.
                    [(_, what)] if failed.status.message().contains(what) => Vec::new(),
                    all => all.to_vec(),
                };
                lines.extend(violations.iter().map(|(field, what)| format!("  {}: {}", visible(field), visible(what))));
                lines.extend(failed.advice().map(str::to_owned));
                lines.join("\n")
            }
            Self::Away { url, failed, is_uncertain } => {
                let mut lines = vec![match failed.details.error_info() {
                    Some(_) => format!("not served by {url}: {}", failed.with_reason()),
                    None => format!("no answer from {url}: {} ({})", visible(&failed.message()), failed.code()),
                }];
                if *is_uncertain {
                    lines.push("It is not known whether the command took effect: look with `ctl show`.".to_owned());
                }
                lines.join("\n")
            }
            Self::Local(why) => visible(why).into_owned(),
            Self::Output(error) => format!("the output cannot be written: {error}"),
        }
    }

    /// One object for a script.
    pub(super) fn to_json(&self) -> String {
        let object = match self {
            Self::Refused(failed) | Self::Away { failed, .. } => {
                let violations = failed.violations();
                let violations = violations.iter().map(|(field, what)| json!({ "field": field, "description": what }));
                json!({
                    "code": failed.code(),
                    "reason": failed.reason(),
                    "message": failed.message(),
                    "metadata": failed.details.error_info().map(|info| info.metadata.clone()).unwrap_or_default(),
                    "violations": violations.collect::<Vec<_>>(),
                })
            }
            Self::Local(_) | Self::Output(_) => {
                json!({ "code": "", "reason": "", "message": self.in_words(), "metadata": {}, "violations": [] })
            }
        };
        visible(&object.to_string()).into_owned()
    }
}

impl Failed {
    /// Whether the service has judged the call, and not failed at it or been too busy for it.
    fn is_refusal(&self) -> bool {
        match self.status.code() {
            Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::DataLoss => false,
            Code::ResourceExhausted => !matches!(self.reason(), "OVERLOADED" | "RATE_LIMITED"),
            _ => true,
        }
    }

    /// The reason; empty if it has none.
    fn reason(&self) -> &str {
        self.details.error_info().map_or("", |info| &info.reason)
    }

    /// The code as gRPC writes it, `NOT_FOUND`.
    fn code(&self) -> String {
        let mut name = String::new();
        for letter in format!("{:?}", self.status.code()).chars() {
            if letter.is_uppercase() && !name.is_empty() {
                name.push('_');
            }
            name.push(letter.to_ascii_uppercase());
        }
        name
    }

    /// The service's message; without one, what happened on the way.
    fn message(&self) -> String {
        let causes = std::iter::successors(self.status.source(), |cause: &&dyn Error| (*cause).source());
        let mut said = vec![self.status.message().to_owned()];
        for cause in causes.map(ToString::to_string) {
            if !said.contains(&cause) {
                said.push(cause);
            }
        }
        said.join(": ")
    }

    fn with_reason(&self) -> String {
        format!("{} ({} {})", visible(self.status.message()), self.code(), visible(self.reason()))
    }

    /// The facts, in the order of their names.
    fn metadata(&self) -> Vec<(&String, &String)> {
        let mut metadata: Vec<_> = self.details.error_info().iter().flat_map(|info| &info.metadata).collect();
        metadata.sort();
        metadata
    }

    /// Each field that is not as it must be, and what is wrong.
    fn violations(&self) -> Vec<(&str, &str)> {
        let violations = self.details.bad_request().map(|request| request.field_violations.as_slice());
        let violations = violations.unwrap_or_default().iter();
        violations.map(|violation| (violation.field.as_str(), violation.description.as_str())).collect()
    }

    /// What the agent can do about it.
    fn advice(&self) -> Option<&'static str> {
        let reason = self.details.error_info()?.reason.as_str();
        ADVICE
            .iter()
            .find(|(about, _)| about.as_str_name() == format!("ERROR_REASON_{reason}"))
            .map(|(_, advice)| *advice)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn status(code: Code, domain: &str, reason: &str, metadata: &[(&str, &str)]) -> Status {
        let metadata: HashMap<_, _> = metadata.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Status::with_error_details(code, "no", ErrorDetails::with_error_info(reason, domain, metadata))
    }

    fn of(status: Status) -> CtlError {
        CtlError::of(status, &"http://127.0.0.1:1".parse().unwrap())
    }

    #[test]
    fn what_the_service_refuses_is_told_from_what_it_did_not_get_to() {
        for (status, exit_code) in [
            (status(Code::NotFound, DOMAIN, "DISPUTE_NOT_FOUND", &[]), 1),
            (status(Code::ResourceExhausted, DOMAIN, "MESSAGE_TOO_LARGE", &[]), 1),
            (status(Code::ResourceExhausted, DOMAIN, "RATE_LIMITED", &[]), 3),
            (status(Code::ResourceExhausted, DOMAIN, "OVERLOADED", &[]), 3),
            (status(Code::Internal, DOMAIN, "INTERNAL", &[]), 3),
            (status(Code::Unauthenticated, DOMAIN, "CREDENTIAL_MISSING", &[]), 1),
            (status(Code::Unavailable, DOMAIN, "STORAGE_UNAVAILABLE", &[]), 3),
            (status(Code::DeadlineExceeded, DOMAIN, "DEADLINE_EXCEEDED", &[]), 3),
            (status(Code::NotFound, "a proxy", "X", &[]), 3),
            (Status::unknown("no gRPC"), 3),
        ] {
            let said = format!("{status:?}");
            assert_eq!(of(status).exit_code(), exit_code, "{said}");
        }
    }

    #[test]
    fn only_a_command_without_an_answer_may_have_taken_effect() {
        let uncertain = "It is not known whether the command took effect: look with `ctl show`.";
        let away = || of(Status::deadline_exceeded("late"));
        assert_eq!(away().in_words(), "no answer from http://127.0.0.1:1: late (DEADLINE_EXCEEDED)");
        assert!(away().of_a_command().in_words().ends_with(&format!("(DEADLINE_EXCEEDED)\n{uncertain}")));
        let failed = of(status(Code::Internal, DOMAIN, "INTERNAL", &[])).of_a_command();
        assert_eq!(failed.in_words(), format!("not served by http://127.0.0.1:1: no (INTERNAL INTERNAL)\n{uncertain}"));
        let busy = of(status(Code::ResourceExhausted, DOMAIN, "OVERLOADED", &[])).of_a_command();
        assert!(!busy.in_words().contains(uncertain));
        let refused = of(status(Code::Aborted, DOMAIN, "ETAG_MISMATCH", &[])).of_a_command();
        assert!(!refused.in_words().contains(uncertain) && refused.exit_code() == 1);
    }

    #[test]
    fn whatever_a_server_says_is_made_visible() {
        let error = of(status(Code::NotFound, DOMAIN, "R\u{1b}", &[("k\u{7}", "v\u{202e}\n")]));
        assert_eq!(error.in_words(), "refused: no (NOT_FOUND R\\u001b)\n  k\\u0007: v\\u202e\\u000a");
        let json = error.to_json();
        assert!(json.chars().all(|character| !character.is_control() && character != '\u{202e}'), "{json}");
        let read: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(read["metadata"]["k\u{7}"], "v\u{202e}\n");
    }
}
