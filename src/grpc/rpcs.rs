//! Every RPC on the port, each with all that is judged of a call before its message is decoded.

use super::requests::BATCH_ORDERS;
use super::transport::{Bound, Field, Holds};
use super::violations::FILTER_VALUES;
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

/// How large a message is that the RPC takes: the figures are flags.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    /// The question of a probe or of a tool.
    Probe,
    /// A command, or a request with its filters.
    Single,
    /// Many orders.
    Batch,
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
    pub(super) size: Size,
    /// The lists in a request, and how long they can be.
    pub(super) lists: &'static [Field],
}

impl Rpc {
    const fn new(path: &'static str, class: Class) -> Self {
        let size = match class {
            Class::Command | Class::Read | Class::List | Class::Stream => Size::Single,
            Class::Open => Size::Probe,
        };
        Self { path, class, shape: Shape::Unary, scope: None, size, lists: &[] }
    }

    const fn shape(self, shape: Shape) -> Self {
        Self { shape, ..self }
    }

    const fn needs(self, scope: Scope) -> Self {
        Self { scope: Some(scope), ..self }
    }

    const fn size(self, size: Size) -> Self {
        Self { size, ..self }
    }

    const fn lists(self, lists: &'static [Field]) -> Self {
        Self { lists, ..self }
    }
}

/// A list of a filter. Ten times as long as it can be it still costs little: so far the handler names it, with everything
/// else that is wrong.
const FILTER: Bound = Bound { most: FILTER_VALUES, of: "values", unread: 10 * FILTER_VALUES };

const fn numbers(number: u32, name: &'static str) -> Field {
    Field { number, name, holds: Holds::Numbers(FILTER) }
}

const fn texts(number: u32, name: &'static str) -> Field {
    Field { number, name, holds: Holds::List(FILTER, &[]) }
}

/// What is ignored in a request need not be as long as it can be.
const ORDER: &[Field] = {
    const IGNORED: Bound = Bound { most: FILTER_VALUES, of: "values", unread: FILTER_VALUES };
    &[Field { number: 16, name: "open_dispute_ids", holds: Holds::List(IGNORED, &[]) }]
};

/// Beyond its bound a batch is refused without anything else, also by its handler.
const ORDERS: &[Field] = {
    const BATCH: Bound = Bound { most: BATCH_ORDERS, of: "orders", unread: BATCH_ORDERS };
    &[Field { number: 1, name: "orders", holds: Holds::List(BATCH, ORDER) }]
};

const EVENT_FILTER: &[Field] = &[Field {
    number: 1,
    name: "filter",
    holds: Holds::Message(&[
        texts(1, "order_ids"),
        texts(2, "dispute_ids"),
        numbers(4, "kinds"),
        numbers(5, "event_types"),
    ]),
}];

const DISPUTE_LISTS: &[Field] = &[numbers(4, "kinds"), numbers(5, "statuses"), numbers(6, "settlement_statuses")];

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
        Rpc::new("/disputes.v1.DisputeService/ListDisputes", List).lists(DISPUTE_LISTS),
        Rpc::new("/disputes.v1.DisputeService/ListDisputeEvents", List).lists(EVENT_FILTER),
        Rpc::new("/disputes.v1.DisputeService/WatchDisputes", Stream).shape(ServerStreaming).lists(EVENT_FILTER),
        Rpc::new("/disputes.v1.OrderService/UpsertOrder", Command).needs(Platform).lists(&[Field {
            number: 1,
            name: "order",
            holds: Holds::Message(ORDER),
        }]),
        Rpc::new("/disputes.v1.OrderService/BatchUpsertOrders", Command)
            .needs(Platform)
            .size(Size::Batch)
            .lists(ORDERS),
        Rpc::new("/disputes.v1.OrderService/GetOrder", Read),
        Rpc::new("/disputes.v1.OrderService/ListOrders", List).lists(&[numbers(3, "statuses")]),
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
    use std::collections::{BTreeMap, HashMap};

    use prost::Message as _;
    use prost_types::field_descriptor_proto::{Label, Type};
    use prost_types::{DescriptorProto, FileDescriptorSet};

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

    /// By their full names.
    type Messages = HashMap<String, DescriptorProto>;

    /// The lists in a message and in all that it holds, with their numbers, and whether they hold numbers.
    fn lists_of(messages: &Messages, name: &str, path: &str, found: &mut Vec<(String, i32, bool)>) {
        for field in &messages[name].field {
            let path = format!("{path}{}", field.name());
            if field.label() == Label::Repeated {
                let holds_numbers = !matches!(field.r#type(), Type::Message | Type::String | Type::Bytes);
                found.push((path.clone(), field.number(), holds_numbers));
            }
            if field.r#type() == Type::Message {
                lists_of(messages, field.type_name(), &format!("{path}."), found);
            }
        }
    }

    fn lists_in(fields: &[Field], path: &str, found: &mut Vec<(String, i32, bool)>) {
        for field in fields {
            let path = format!("{path}{}", field.name);
            let number = i32::try_from(field.number).unwrap();
            match &field.holds {
                Holds::Message(inner) => lists_in(inner, &format!("{path}."), found),
                Holds::List(_, inner) => {
                    found.push((path.clone(), number, false));
                    lists_in(inner, &format!("{path}."), found);
                }
                Holds::Numbers(_) => found.push((path, number, true)),
            }
        }
    }

    #[test]
    fn every_list_that_a_request_can_have_is_counted_before_it_is_decoded() {
        let files: Vec<_> =
            DESCRIPTOR_SETS.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file).collect();
        let mut messages = Messages::new();
        for file in &files {
            // None of those that a request holds is declared within another one.
            let named =
                file.message_type.iter().map(|one| (format!(".{}.{}", file.package(), one.name()), one.clone()));
            messages.extend(named);
        }
        for file in &files {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let (mut described, mut counted) = (Vec::new(), Vec::new());
                    lists_of(&messages, method.input_type(), "", &mut described);
                    lists_in(find(&path).unwrap().lists, "", &mut counted);
                    described.sort();
                    counted.sort();
                    assert_eq!(counted, described, "{path}");
                }
            }
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
