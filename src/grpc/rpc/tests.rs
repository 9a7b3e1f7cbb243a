//! The table is complete, and says the same as the protos.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};

use super::*;
use crate::domain::Operation;
use crate::grpc::reflection::DESCRIPTOR_SETS;
use crate::grpc::transport::{Field, Holds};

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
    let table: BTreeMap<_, _> = all().map(|rpc| (rpc.path.to_owned(), rpc.shape)).collect();
    assert_eq!(table, described());
    assert_eq!(table.len(), all().count(), "each once");
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
    let files: Vec<_> = DESCRIPTOR_SETS.iter().flat_map(|set| FileDescriptorSet::decode(*set).unwrap().file).collect();
    let mut messages = Messages::new();
    for file in &files {
        // None of those that a request holds is declared within another one.
        let named = file.message_type.iter().map(|one| (format!(".{}.{}", file.package(), one.name()), one.clone()));
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
    for rpc in all() {
        assert_eq!(rpc.class == Class::Open, rpc.path.starts_with("/grpc."), "{}", rpc.path);
        assert_eq!(rpc.class == Class::Open, rpc.operation.is_none(), "{}", rpc.path);
    }
}

#[test]
fn every_rpc_of_ours_has_a_right_of_its_own_by_its_name() {
    let named: Vec<_> = RPCS.iter().map(|rpc| (rpc.name().to_owned(), rpc.operation)).collect();
    let declared = Operation::ALL.map(|operation| (format!("{operation:?}"), Some(operation)));
    assert_eq!(named, declared, "in the same order");
}

/// A list with its bound, and those within it.
fn print_lists(out: &mut Vec<String>, path: &str, fields: &[Field]) {
    for field in fields {
        let path = format!("{path}{}", field.name);
        let (bound, inner): (_, &[Field]) = match &field.holds {
            Holds::Message(inner) => (None, inner),
            Holds::List(bound, inner) => (Some(bound), inner),
            Holds::Numbers(bound) => (Some(bound), &[]),
        };
        out.extend(bound.map(|bound| format!("`{path}` {}", bound.most)));
        print_lists(out, &format!("{path}."), inner);
    }
}

#[test]
fn the_table_is_the_one_that_is_documented() {
    let mut out = String::from("\nPrinted from the table by a test.\n\n");
    out.push_str(
        "| RPC | class | shape | right | message | lists, and how long they can be |\n|---|---|---|---|---|---|\n",
    );
    for Rpc { path, class, shape, operation, size, lists } in all() {
        let right = operation.map_or(String::new(), |operation| format!("{:?}", operation.right()));
        let mut bounds = Vec::new();
        print_lists(&mut bounds, "", lists);
        let bounds = bounds.join(", ");
        writeln!(out, "| `{path}` | {class:?} | {shape:?} | {right} | {size:?} | {bounds} |").unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/grpc/rpc/table.md");
    if std::env::var_os("UPDATE_TABLES").is_some() {
        std::fs::write(path, &out).unwrap();
    }
    let documented = std::fs::read_to_string(path).unwrap();
    assert!(
        out == documented,
        "the RPCs differ from src/grpc/rpc/table.md; if that is meant, run the test with UPDATE_TABLES=1:\n{out}"
    );
}
