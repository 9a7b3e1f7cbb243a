//! `ListReasons`: every reason that can be given, for which kind and by whom.

use super::{Call, Class, Rpc};
use crate::domain::{Caller, DisputeKind, Operation, PartyRole, is_confidential, reasons};
use crate::grpc::status::Failure;
use crate::grpc::translations::Texts;
use crate::grpc::violations::Violations;
use crate::proto::v1;

pub(super) const RPC: Rpc = Rpc::new("/disputes.v1.DisputeService/ListReasons", Class::Read, Operation::ListReasons);

/// Nothing in it can be wrong: a language that there is not is answered in English.
pub(super) fn parse(violations: Violations, _: &Caller, _: &v1::ListReasonsRequest) -> Result<(), Failure> {
    violations.finish(Some(()))
}

pub(super) async fn run(call: Call<'_>, request: v1::ListReasonsRequest) -> Result<v1::ListReasonsResponse, Failure> {
    parse(Violations::default(), &call.caller, &request)?;
    Ok(v1::ListReasonsResponse { reasons: all_reasons(call.shared.translations.of(&request.language_code)) })
}

fn all_reasons(texts: &Texts) -> Vec<v1::DisputeReason> {
    let kinds = DisputeKind::ALL.into_iter().flat_map(|kind| PartyRole::ALL.map(|role| (kind, role)));
    kinds
        .flat_map(|(kind, role)| {
            reasons(kind, role).iter().map(move |code| v1::DisputeReason {
                kind: v1::DisputeKind::from(kind).into(),
                role: v1::PartyRole::from(role).into(),
                reason: v1::Reason::from(*code).into(),
                label: texts.reason(*code).to_owned(),
                confidential: is_confidential(kind, role),
            })
        })
        .collect()
}
