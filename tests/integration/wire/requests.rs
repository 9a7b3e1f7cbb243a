//! What is wrong with a request before any handler sees it: each time the same shape of error, on every service.

use dispute_service::proto::v1;
use prost::Message;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status};
use tonic_reflection::pb;

use crate::support::callers::{Facts, facts, refusal};
use crate::support::h2_client::{H2Client, H2Response};
use crate::support::on_both_databases;
use crate::support::service::Service;

on_both_databases!(
    headers_that_are_too_large_are_refused_with_a_reason,
    a_compressed_request_is_told_what_is_read,
    a_message_with_a_broken_frame_is_malformed,
    what_is_not_grpc_is_answered_in_plain_http,
    identity_is_given_once,
);

const REASONS: &str = "/disputes.v1.DisputeService/ListReasons";
const WATCH: &str = "/disputes.v1.DisputeService/WatchDisputes";
const HEALTH: &str = "/grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const REFLECTION_ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";
const NOWHERE: &str = "/nowhere.Service/Method";

/// An empty message.
const EMPTY: &[u8] = &[0; 5];

/// What `ann` is told.
async fn call(client: &H2Client, path: &str, headers: &[(&str, &str)], body: &[u8]) -> H2Response {
    client.call(path, &[&[("x-user-id", "ann")], headers].concat(), body).send().await
}

async fn refused(client: &H2Client, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Facts {
    facts(&call(client, path, headers, body).await.status())
}

/// The size of the header list of a call without anything but what every call has, as HTTP/2 counts it.
fn size_of_a_call(service: &Service, path: &str) -> usize {
    let authority = service.address.to_string();
    let headers = [
        (":method", "POST"),
        (":scheme", "http"),
        (":authority", authority.as_str()),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("x-user-id", "ann"),
    ];
    headers.iter().map(|(name, value)| name.len() + value.len() + 32).sum()
}

async fn headers_that_are_too_large_are_refused_with_a_reason(mut service: Service) {
    let too_large = refusal(Code::ResourceExhausted, "HEADERS_TOO_LARGE", &[]);
    let client = H2Client::connect(&service.address.to_string()).await;
    for path in [REASONS, WATCH, HEALTH, HEALTH_WATCH, REFLECTION, REFLECTION_ALPHA, NOWHERE] {
        let base = size_of_a_call(&service, path) + "x-filler".len() + 32;
        for size in [12 * 1024 + 1, 20_000, 64 * 1024] {
            let filler = "x".repeat(size - base);
            assert_eq!(refused(&client, path, &[("x-filler", &filler)], EMPTY).await, too_large, "{path} {size}");
        }
    }
    let base = size_of_a_call(&service, REASONS) + "x-filler".len() + 32;
    let just_right = "x".repeat(12 * 1024 - base);
    let listed = call(&client, REASONS, &[("x-filler", &just_right)], EMPTY).await;
    assert_eq!(listed.status().code(), Code::Ok);
    // Many small ones count as well.
    let many: Vec<_> = (0..400).map(|_| ("x", "")).collect();
    assert_eq!(refused(&client, REASONS, &many, EMPTY).await, too_large);
    // Beyond that the transport answers, and the connection goes on.
    let filler = "x".repeat(70_000);
    assert_eq!(call(&client, REASONS, &[("x-filler", &filler)], EMPTY).await.head.status().as_u16(), 431);
    assert_eq!(call(&client, REASONS, &[], EMPTY).await.status().code(), Code::Ok);

    for (bound, size, is_taken) in [("0", 60_000, true), ("1000", 1_001, false), ("1000", 1_000, true)] {
        service.restart_with(&["--max-header-bytes", bound]).await;
        let client = H2Client::connect(&service.address.to_string()).await;
        let base = size_of_a_call(&service, REASONS) + "x-filler".len() + 32;
        let filler = "x".repeat(size - base);
        let response = call(&client, REASONS, &[("x-filler", &filler)], EMPTY).await;
        assert_eq!(response.status().code() == Code::Ok, is_taken, "{bound} {size}");
    }
}

async fn a_compressed_request_is_told_what_is_read(service: Service) {
    let not_supported = refusal(Code::Unimplemented, "ENCODING_NOT_SUPPORTED", &[("supported", "gzip,zstd,identity")]);
    let client = H2Client::connect(&service.address.to_string()).await;
    for path in [REASONS, WATCH, HEALTH, HEALTH_WATCH, REFLECTION, REFLECTION_ALPHA] {
        for encoding in ["deflate", "br", "snappy", "GZIP", "gzip, zstd", "nonsense"] {
            let response = call(&client, path, &[("grpc-encoding", encoding)], b"\x01\x00\x00\x00\x00").await;
            assert_eq!(facts(&response.status()), not_supported, "{path} {encoding}");
            assert_eq!(response.head.headers().get("grpc-accept-encoding").unwrap(), "gzip,zstd,identity");
        }
    }
    // What is not compressed is welcome, and what does not exist does not exist.
    let identity = [("grpc-encoding", "identity"), ("grpc-accept-encoding", "gzip")];
    assert_eq!(call(&client, REASONS, &identity, EMPTY).await.status().code(), Code::Ok);
    let unknown = refusal(Code::Unimplemented, "METHOD_UNKNOWN", &[]);
    for path in [NOWHERE, "/disputes.v1.DisputeService/Nonsense", "/grpc.health.v1.Health/Nonsense", "/", "/x"] {
        assert_eq!(refused(&client, path, &[("grpc-encoding", "gzip")], EMPTY).await, unknown, "{path}");
        assert_eq!(refused(&client, path, &[], EMPTY).await, unknown, "{path}");
    }
}

async fn a_message_with_a_broken_frame_is_malformed(service: Service) {
    let malformed = refusal(Code::InvalidArgument, "MESSAGE_MALFORMED", &[]);
    let client = H2Client::connect(&service.address.to_string()).await;
    let bodies: [&[u8]; 5] = [
        b"\x01\x00\x00\x00\x00",         // said to be compressed, but not how
        b"\x02\x00\x00\x00\x00",         // neither compressed nor not
        b"\x00\x00\x00\x00\x09\x08",     // shorter than it says
        b"\x00\x00",                     // not even a frame
        b"\x00\x00\x00\x00\x02\xff\xff", // not protobuf
    ];
    for path in [REASONS, WATCH, HEALTH, HEALTH_WATCH, REFLECTION, REFLECTION_ALPHA] {
        for body in bodies {
            assert_eq!(refused(&client, path, &[], body).await, malformed, "{path} {body:?}");
        }
    }
    for path in [REASONS, WATCH, HEALTH] {
        assert_eq!(refused(&client, path, &[], b"").await, malformed, "{path} without a message");
        let large = refusal(Code::ResourceExhausted, "MESSAGE_TOO_LARGE", &[]);
        assert_eq!(refused(&client, path, &[], b"\x00\x7f\xff\xff\xff").await, large, "{path}");
    }
}

async fn what_is_not_grpc_is_answered_in_plain_http(service: Service) {
    let client = H2Client::connect(&service.address.to_string()).await;
    let grpc = ("content-type", "application/grpc");
    let answer = async |method: &str, path: &str, headers: &[(&str, &str)]| {
        let response = client.request(method, path, headers, b"").send().await;
        let text = String::from_utf8(response.body).unwrap();
        assert!(response.head.headers().get("content-type").unwrap().to_str().unwrap().starts_with("text/plain"));
        (response.head.status().as_u16(), text)
    };
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        for path in ["/", "/healthz", REASONS] {
            let (status, text) = answer(method, path, &[]).await;
            assert_eq!(status, 404);
            assert!(text.contains("gRPC") && text.contains("proto/disputes/v1"), "{text}");
            assert_eq!(answer(method, path, &[grpc]).await.0, 404);
        }
    }
    assert_eq!(answer("HEAD", "/", &[]).await, (404, String::new()));
    for headers in [&[][..], &[("content-type", "application/json")], &[("content-type", "text/plain")]] {
        for path in ["/", REASONS, HEALTH] {
            let (status, text) = answer("POST", path, headers).await;
            assert_eq!(status, 415);
            assert!(text.contains("application/grpc"), "{text}");
        }
    }
    // Kinder than it has to be: a proxy may have dropped `te`.
    let headers = [("content-type", "application/grpc+proto"), ("x-user-id", "ann")];
    assert_eq!(client.request("POST", REASONS, &headers, EMPTY).send().await.status().code(), Code::Ok);
}

async fn identity_is_given_once(service: Service) {
    let client = H2Client::connect(&service.address.to_string()).await;
    let invalid = refusal(Code::Unauthenticated, "CREDENTIAL_INVALID", &[]);
    let (user, scope) = (("x-user-id", "ann"), ("x-scope", "support"));
    for headers in [
        &[user, user][..],
        &[user, ("x-user-id", "bob")],
        &[user, ("x-user-id", "")],
        &[("x-user-id", ""), user],
        &[user, ("x-user-id", "bob"), scope],
        &[user, scope, scope],
        &[user, scope, ("x-scope", "platform")],
        &[user, scope, ("x-scope", "")],
        &[user, ("x-scope", "support,platform")],
        &[user, ("x-scope", "support, support")],
        &[user, ("x-scope", "support platform")],
        &[user, ("x-scope", "")],
        &[user, ("x-scope", "süpport")],
        &[("x-user-id", "ann,bob")],
        &[("x-user-id", "ann, ann")],
        &[("x-user-id", "")],
        &[("x-user-id", "änn")],
    ] {
        for path in [REASONS, WATCH] {
            let status = client.call(path, headers, EMPTY).send().await.status();
            assert_eq!(facts(&status), invalid, "{headers:?}");
        }
    }
    let missing = refusal(Code::Unauthenticated, "CREDENTIAL_MISSING", &[]);
    assert_eq!(facts(&client.call(REASONS, &[scope], EMPTY).send().await.status()), missing);
    assert_eq!(client.call(REASONS, &[user, scope], EMPTY).send().await.status().code(), Code::Ok);
}

/// A test of both versions of reflection, which have the same messages under different names.
macro_rules! reflection {
    ($name:ident, $version:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            use pb::$version::server_reflection_request::MessageRequest as Question;
            use pb::$version::server_reflection_response::MessageResponse as Answer;
            use pb::$version::{ExtensionRequest, ServerReflectionRequest};
            let service = Service::on_sqlite().await;
            let (questions, stream) = tokio::sync::mpsc::channel(1);
            let mut client = pb::$version::server_reflection_client::ServerReflectionClient::new(service.channel());
            let answers = client.server_reflection_info(ReceiverStream::new(stream)).await;
            let mut answers = answers.unwrap().into_inner();
            let mut ask = async |question: Option<Question>| {
                let question = ServerReflectionRequest { host: "h".to_owned(), message_request: question };
                questions.send(question.clone()).await.unwrap();
                let answer = answers.message().await.unwrap().unwrap();
                assert_eq!((answer.valid_host.as_str(), answer.original_request), ("h", Some(question)));
                answer.message_response.unwrap()
            };
            // Each error is an answer, and the stream goes on.
            let extension = |containing_type: &str| ExtensionRequest {
                containing_type: containing_type.to_owned(),
                extension_number: 1,
            };
            for (question, code) in [
                (Some(Question::FileByFilename("nonsense.proto".to_owned())), Code::NotFound),
                (Some(Question::FileContainingSymbol("disputes.v1.Nonsense".to_owned())), Code::NotFound),
                (Some(Question::FileContainingSymbol(String::new())), Code::NotFound),
                (Some(Question::FileContainingExtension(extension("disputes.v1.Dispute"))), Code::NotFound),
                (Some(Question::FileContainingExtension(extension("nonsense"))), Code::NotFound),
                (Some(Question::AllExtensionNumbersOfType("nonsense".to_owned())), Code::NotFound),
                (None, Code::InvalidArgument),
            ] {
                let Answer::ErrorResponse(error) = ask(question.clone()).await else { panic!("{question:?}") };
                assert_eq!(Code::from(error.error_code), code, "{question:?}");
                assert!(!error.error_message.is_empty());
            }
            let numbers = ask(Some(Question::AllExtensionNumbersOfType("disputes.v1.Dispute".to_owned()))).await;
            let Answer::AllExtensionNumbersResponse(numbers) = numbers else { panic!("{numbers:?}") };
            assert_eq!((numbers.base_type_name.as_str(), numbers.extension_number), ("disputes.v1.Dispute", vec![]));
            let Answer::ListServicesResponse(list) = ask(Some(Question::ListServices(String::new()))).await else {
                panic!("no list");
            };
            let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
            for name in [
                "disputes.v1.DisputeService",
                "disputes.v1.OrderService",
                "grpc.health.v1.Health",
                "grpc.reflection.v1.ServerReflection",
                "grpc.reflection.v1alpha.ServerReflection",
            ] {
                assert!(names.iter().any(|known| known == name), "{names:?}");
            }
            // Everything that a client looks for is there, with all that it imports.
            let mut wanted: Vec<_> = names.into_iter().map(Question::FileContainingSymbol).collect();
            for symbol in [
                "disputes.v1.Dispute",
                "disputes.v1.Dispute.dispute_id",
                "disputes.v1.DisputeService.WatchDisputes",
                "disputes.v1.ErrorReason",
                "disputes.v1.ERROR_REASON_INTERNAL",
                "google.rpc.ErrorInfo",
                "google.protobuf.Timestamp",
            ] {
                wanted.push(Question::FileContainingSymbol(symbol.to_owned()));
            }
            let mut seen = std::collections::BTreeSet::new();
            while let Some(question) = wanted.pop() {
                let answer = ask(Some(question.clone())).await;
                let Answer::FileDescriptorResponse(files) = answer else { panic!("{question:?}: {answer:?}") };
                for file in files.file_descriptor_proto {
                    let file = prost_types::FileDescriptorProto::decode(file.as_slice()).unwrap();
                    if seen.insert(file.name().to_owned()) {
                        wanted.extend(file.dependency.into_iter().map(Question::FileByFilename));
                    }
                }
            }
            assert!(seen.len() >= 10, "{seen:?}");
        }
    };
}

reflection!(reflection_v1_answers_errors_and_goes_on, v1);
reflection!(reflection_v1alpha_answers_errors_and_goes_on, v1alpha);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_refused_by_their_headers_leave_the_connection_alone() {
    // Each of them is answered before its message is read: what the server does with the rest is no error of the client's.
    let mut service = Service::on_sqlite().await;
    service.restart_with(&["--max-failed-logins-per-second", "0"]).await;
    let mut watch = service.user("ann").watch(v1::WatchDisputesRequest::default()).await;
    let mut anonymous = v1::dispute_service_client::DisputeServiceClient::new(service.channel());
    let large = v1::RequestOrderUpdateRequest { message: "x".repeat(200_000), ..Default::default() };
    for _ in 0..50 {
        let calls = (0..60).map(|_| {
            let (mut client, large) = (anonymous.clone(), large.clone());
            tokio::spawn(async move { client.request_order_update(large).await.unwrap_err() })
        });
        let calls: Vec<_> = calls.collect();
        for call in calls {
            let status: Status = call.await.unwrap();
            assert_eq!(status.code(), Code::Unauthenticated, "{status:?}");
        }
    }
    assert!(anonymous.list_reasons(v1::ListReasonsRequest::default()).await.is_err());
    service.platform().upsert(crate::support::messages::order("o1")).await;
    service.user("ann").ask(crate::support::messages::update("o1")).await.unwrap();
    assert_eq!(watch.event().await.dispute.unwrap().order_id, "o1");
}
