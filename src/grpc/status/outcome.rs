//! How a call ended, by its status, whoever has made that.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Failure, PREFIX, name_of};
use crate::proto::v1::ErrorReason;

/// Whether the call failed.
pub(in crate::grpc) fn is_error(status: &Status) -> bool {
    status.code() != Code::Ok
}

/// How a call ended, by names that are the same everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::grpc) struct Outcome {
    /// The name of the code.
    pub(in crate::grpc) code: &'static str,
    /// Our reason for an error, or the name of the code if it has none; empty if there was no error.
    pub(in crate::grpc) reason: &'static str,
}

impl Outcome {
    /// Whether the service failed, and not its caller, by the conventions of traces. A stream whose end was planned did not.
    pub(in crate::grpc) fn is_of_server(self) -> bool {
        let codes = ["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"];
        codes.contains(&self.code) && self.reason != name_of(ErrorReason::ServerDraining)
    }
}

/// It went well.
pub(in crate::grpc) const OK: Outcome = Outcome { code: "OK", reason: "" };

/// The client has left.
pub(in crate::grpc) const CANCELLED: Outcome = Outcome { code: "CANCELLED", reason: "CANCELLED" };

/// How a call with this status ended.
pub(in crate::grpc) fn outcome_of(status: &Status) -> Outcome {
    let code = match status.code() {
        Code::Ok => return OK,
        Code::Cancelled => return CANCELLED,
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    };
    let info = status.get_details_error_info();
    let reason = info.and_then(|info| ErrorReason::from_str_name(&format!("{PREFIX}{}", info.reason)));
    Outcome { code, reason: reason.map_or(code, name_of) }
}

/// Gives an error that the transport made the details that all our errors have.
pub(in crate::grpc) fn with_error_details(status: Status) -> Status {
    let failure = if status.details().is_empty() { Failure::of_transport(&status) } else { None };
    failure.map_or(status, Status::from)
}

/// Gives the one error of health, an unknown service, the details that all our errors have.
pub(in crate::grpc) fn with_details_of_health(status: Status) -> Status {
    match status.code() {
        Code::NotFound if status.details().is_empty() => {
            Failure::new(Code::NotFound, ErrorReason::ServiceUnknown, "health knows no service of this name").into()
        }
        _ => status,
    }
}
