//! Server reflection, v1 and v1alpha: what the service is made of, for clients that have no protos. A question that has no
//! answer gets an `error_response`, and the stream goes on, as the protocol says.

use std::collections::{BTreeSet, HashMap};
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, Stream};
use prost::{DecodeError, Message as _};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tonic::{Request, Response, Status, Streaming};
use tonic_reflection::{pb, server};

use super::status::{ReflectionError, with_error_details};
use crate::proto::{DESCRIPTOR_SET, TESTING_DESCRIPTOR_SET};

/// The descriptions of everything on the port.
pub(super) const DESCRIPTOR_SETS: [&[u8]; 5] = [
    DESCRIPTOR_SET,
    TESTING_DESCRIPTOR_SET,
    tonic_health::pb::FILE_DESCRIPTOR_SET,
    pb::v1::FILE_DESCRIPTOR_SET,
    pb::v1alpha::FILE_DESCRIPTOR_SET,
];

/// Every file that is described, and what is in it.
#[derive(Debug, Default)]
pub struct Described {
    files: HashMap<String, Bytes>,
    /// By the full names of messages, enums, services and all that is in them.
    symbols: HashMap<String, Bytes>,
    messages: BTreeSet<String>,
    services: BTreeSet<String>,
}

impl Described {
    /// The description of everything on the port, with the clock for tests if that is served.
    pub fn new(test_clock: bool) -> Result<Arc<Self>, DecodeError> {
        let mut described = Self::default();
        for set in DESCRIPTOR_SETS.into_iter().filter(|set| test_clock || *set != TESTING_DESCRIPTOR_SET) {
            for file in FileDescriptorSet::decode(set)?.file {
                described.add(&file);
            }
        }
        Ok(Arc::new(described))
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        let bytes = Bytes::from(file.encode_to_vec());
        let package = file.package();
        for message in &file.message_type {
            self.add_message(package, message, &bytes);
        }
        for one in &file.enum_type {
            self.add_enum(package, one, &bytes);
        }
        for service in &file.service {
            let name = join(package, service.name());
            for method in &service.method {
                self.symbols.insert(join(&name, method.name()), bytes.clone());
            }
            self.symbols.insert(name.clone(), bytes.clone());
            self.services.insert(name);
        }
        self.files.insert(file.name().to_owned(), bytes);
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, file: &Bytes) {
        let name = join(scope, message.name());
        for nested in &message.nested_type {
            self.add_message(&name, nested, file);
        }
        for one in &message.enum_type {
            self.add_enum(&name, one, file);
        }
        let fields = message.field.iter().map(|field| field.name());
        for part in fields.chain(message.oneof_decl.iter().map(|oneof| oneof.name())) {
            self.symbols.insert(join(&name, part), file.clone());
        }
        self.symbols.insert(name.clone(), file.clone());
        self.messages.insert(name);
    }

    fn add_enum(&mut self, scope: &str, one: &EnumDescriptorProto, file: &Bytes) {
        let name = join(scope, one.name());
        for value in &one.value {
            // The protocol's name for a value is beside its enum; some clients look for it within.
            self.symbols.insert(join(scope, value.name()), file.clone());
            self.symbols.insert(join(&name, value.name()), file.clone());
        }
        self.symbols.insert(name, file.clone());
    }

    fn file(&self, name: &str) -> Result<Vec<u8>, ReflectionError> {
        self.files.get(name).map(|bytes| bytes.to_vec()).ok_or(ReflectionError::FileUnknown)
    }

    fn file_with(&self, symbol: &str) -> Result<Vec<u8>, ReflectionError> {
        self.symbols.get(symbol).map(|bytes| bytes.to_vec()).ok_or(ReflectionError::SymbolUnknown)
    }

    /// Nothing of what is described extends anything.
    fn extensions_of(&self, message: &str) -> Result<Vec<i32>, ReflectionError> {
        if self.messages.contains(message) { Ok(Vec::new()) } else { Err(ReflectionError::SymbolUnknown) }
    }
}

fn join(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// `grpc.reflection.v1.ServerReflection`.
pub fn reflection_v1(described: Arc<Described>) -> server::v1::ServerReflectionServer<Reflection> {
    server::v1::ServerReflectionServer::new(Reflection(described))
}

/// `grpc.reflection.v1alpha.ServerReflection`.
pub fn reflection_v1alpha(described: Arc<Described>) -> server::v1alpha::ServerReflectionServer<Reflection> {
    server::v1alpha::ServerReflectionServer::new(Reflection(described))
}

/// Answers both versions, which have the same messages under different names.
#[derive(Debug)]
pub struct Reflection(Arc<Described>);

macro_rules! serve {
    ($version:ident) => {
        #[tonic::async_trait]
        impl server::$version::ServerReflection for Reflection {
            type ServerReflectionInfoStream =
                Pin<Box<dyn Stream<Item = Result<pb::$version::ServerReflectionResponse, Status>> + Send>>;

            async fn server_reflection_info(
                &self,
                request: Request<Streaming<pb::$version::ServerReflectionRequest>>,
            ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                use pb::$version::server_reflection_request::MessageRequest as Question;
                use pb::$version::server_reflection_response::MessageResponse as Answer;
                use pb::$version::{
                    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
                    ServerReflectionResponse, ServiceResponse,
                };

                fn answer(described: &Described, question: Option<&Question>) -> Result<Answer, ReflectionError> {
                    let file = |bytes| {
                        Answer::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: vec![bytes] })
                    };
                    match question {
                        Some(Question::FileByFilename(name)) => described.file(name).map(file),
                        Some(Question::FileContainingSymbol(symbol)) => described.file_with(symbol).map(file),
                        Some(Question::FileContainingExtension(_)) => Err(ReflectionError::ExtensionUnknown),
                        Some(Question::AllExtensionNumbersOfType(message)) => {
                            let extension_number = described.extensions_of(message)?;
                            let base_type_name = message.clone();
                            let numbers = ExtensionNumberResponse { base_type_name, extension_number };
                            Ok(Answer::AllExtensionNumbersResponse(numbers))
                        }
                        Some(Question::ListServices(_)) => {
                            let services = described.services.iter();
                            let service = services.map(|name| ServiceResponse { name: name.clone() }).collect();
                            Ok(Answer::ListServicesResponse(ListServiceResponse { service }))
                        }
                        None => Err(ReflectionError::Empty),
                    }
                }

                let stream =
                    stream::try_unfold((request.into_inner(), self.0.clone()), async |(mut questions, described)| {
                        let Some(request) = questions.message().await.map_err(with_error_details)? else {
                            return Ok(None);
                        };
                        let answer = answer(&described, request.message_request.as_ref()).unwrap_or_else(|error| {
                            let (error_code, error_message) = error.code_and_message();
                            Answer::ErrorResponse(ErrorResponse { error_code, error_message: error_message.to_owned() })
                        });
                        let response = ServerReflectionResponse {
                            valid_host: request.host.clone(),
                            original_request: Some(request),
                            message_response: Some(answer),
                        };
                        Ok(Some((response, (questions, described))))
                    });
                Ok(Response::new(Box::pin(stream)))
            }
        }
    };
}

serve!(v1);
serve!(v1alpha);

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(file: Result<Vec<u8>, ReflectionError>) -> FileDescriptorProto {
        let Ok(file) = file else { panic!("it is not described") };
        FileDescriptorProto::decode(&*file).unwrap()
    }

    #[test]
    fn our_files_are_described_with_their_comments_and_others_without() {
        let described = Described::new(true).unwrap();
        let file = decoded(described.file_with("disputes.v1.DisputeService"));
        let locations = file.source_code_info.unwrap().location;
        // A path is of field numbers and indexes: the first service, and in it the first method.
        for (path, begins) in [
            (&[6, 0][..], " The resolution centre: "),
            (&[6, 0, 2, 0], " Returns what the caller, a party of the order, can request now"),
        ] {
            let comments = locations.iter().find(|location| location.path == path).unwrap().leading_comments();
            assert!(comments.starts_with(begins), "{comments}");
        }
        for location in locations {
            let comments = [location.leading_comments(), location.trailing_comments()].concat();
            assert!(!comments.trim().is_empty(), "{:?} says nothing", location.path);
        }
        for name in ["google/rpc/error_details.proto", "google/type/money.proto"] {
            assert_eq!(decoded(described.file(name)).source_code_info, None, "{name}");
        }
    }
}
