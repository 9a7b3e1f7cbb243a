//! Every RPC on the port, each with all that is judged of a call before its message is read.

use crate::domain::Scope;

/// What an RPC does, and so what bounds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Class {
    /// Changes something: goes through the committer.
    Command,
    /// Reads one thing.
    Read,
    /// Reads pages of many.
    List,
    /// Responds for as long as it is asked to.
    Stream,
    /// Needs no identity: health and reflection.
    Open,
}

/// On which sides there can be more than one message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Shape {
    /// One request, one response.
    Unary,
    /// One request, many responses.
    ServerStreaming,
    /// Many of both.
    BidiStreaming,
}

/// One RPC.
#[derive(PartialEq, Eq, Debug)]
pub(super) struct Rpc {
    /// Its path, as HTTP/2 has it.
    pub(super) path: &'static str,
    pub(super) class: Class,
    pub(super) shape: Shape,
    /// The scope that every caller needs; `None` where parties call, or where it depends on what is asked for, as in
    /// `GetSellerStanding`.
    pub(super) scope: Option<Scope>,
}

impl Rpc {
    const fn new(path: &'static str, class: Class) -> Self {
        Self { path, class, shape: Shape::Unary, scope: None }
    }

    const fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    const fn needs(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }
}

/// All of them; a test compares them with the descriptors.
static RPCS: [Rpc; 27] = {
    use Class::{Command, List, Open, Read, Stream};
    use Scope::{Platform, Support};
    use Shape::{BidiStreaming, ServerStreaming};
    [
        Rpc::new("/disputes.v1.DisputeService/GetDispute", Read),
        Rpc::new("/disputes.v1.DisputeService/GetDisputeOptions", Read),
        Rpc::new("/disputes.v1.DisputeService/ListReasons", Read),
        Rpc::new("/disputes.v1.DisputeService/OfferPartialRefund", Command),
        Rpc::new("/disputes.v1.DisputeService/RequestCancellation", Command),
        Rpc::new("/disputes.v1.DisputeService/RequestOrderUpdate", Command),
        Rpc::new("/disputes.v1.DisputeService/RequestDeliveryExtension", Command),
        Rpc::new("/disputes.v1.DisputeService/AcceptDispute", Command),
        Rpc::new("/disputes.v1.DisputeService/DeclineDispute", Command),
        Rpc::new("/disputes.v1.DisputeService/AnswerOrderUpdate", Command),
        Rpc::new("/disputes.v1.DisputeService/WithdrawDispute", Command),
        Rpc::new("/disputes.v1.DisputeService/EscalateDispute", Command),
        Rpc::new("/disputes.v1.DisputeService/DecideDispute", Command).needs(Support),
        Rpc::new("/disputes.v1.DisputeService/PostponeDeadline", Command).needs(Support),
        Rpc::new("/disputes.v1.DisputeService/ReportSettlement", Command).needs(Platform),
        Rpc::new("/disputes.v1.DisputeService/ListDisputes", List),
        Rpc::new("/disputes.v1.DisputeService/ListDisputeEvents", List),
        Rpc::new("/disputes.v1.DisputeService/WatchDisputes", Stream).shape(ServerStreaming),
        Rpc::new("/disputes.v1.OrderService/UpsertOrder", Command).needs(Platform),
        Rpc::new("/disputes.v1.OrderService/BatchUpsertOrders", Command).needs(Platform),
        Rpc::new("/disputes.v1.OrderService/GetOrder", Read),
        Rpc::new("/disputes.v1.OrderService/ListOrders", List),
        Rpc::new("/disputes.v1.OrderService/GetSellerStanding", Read),
        Rpc::new("/grpc.health.v1.Health/Check", Open),
        Rpc::new("/grpc.health.v1.Health/Watch", Open).shape(ServerStreaming),
        Rpc::new("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Open).shape(BidiStreaming),
        Rpc::new("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", Open).shape(BidiStreaming),
    ]
};

/// The RPC at this path.
pub(super) fn find(path: &str) -> Option<&'static Rpc> {
    RPCS.iter().find(|rpc| rpc.path == path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message as _;
    use prost_types::FileDescriptorSet;

    use super::*;
    use crate::grpc::reflection::DESCRIPTOR_SETS;

    /// The path of every RPC that is described, and its shape.
    fn described() -> BTreeMap<String, Shape> {
        let mut described = BTreeMap::new();
        for file in DESCRIPTOR_SETS.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file) {
            for service in &file.service {
                for method in &service.method {
                    let shape = match (method.client_streaming(), method.server_streaming()) {
                        (false, false) => Shape::Unary,
                        (false, true) => Shape::ServerStreaming,
                        (true, true) => Shape::BidiStreaming,
                        (true, false) => panic!("{} has a shape that nothing bounds", method.name()),
                    };
                    described.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()), shape);
                }
            }
        }
        described
    }

    #[test]
    fn every_rpc_that_is_described_is_in_the_table_and_no_other() {
        let table: BTreeMap<_, _> = RPCS.iter().map(|rpc| (rpc.path.to_owned(), rpc.shape)).collect();
        assert_eq!(table, described());
        assert_eq!(table.len(), RPCS.len(), "each once");
        for path in table.keys() {
            assert_eq!(find(path).unwrap().path, path);
            assert_eq!(find(&path[1..]), None);
            assert_eq!(find(&format!("{path}/")), None);
        }
    }

    #[test]
    fn what_needs_no_identity_is_health_and_reflection_alone() {
        for rpc in &RPCS {
            assert_eq!(rpc.class == Class::Open, rpc.path.starts_with("/grpc."), "{}", rpc.path);
            assert!(rpc.scope.is_none() || rpc.class == Class::Command, "{}", rpc.path);
        }
    }
}
