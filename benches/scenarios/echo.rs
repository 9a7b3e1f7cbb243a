//! What gRPC alone costs: a tonic server that decodes a request and answers each with the same dispute. It runs in a process of
//! its own: this program, started once more.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use dispute_service::proto::v1;
use http::Request;
use prost::Message as _;
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Response, Status};
use tonic_prost::ProstCodec;

use super::binary::Binary;

/// Its process.
pub(crate) struct Echo(Binary);

impl Echo {
    /// Answers this to every call of `OfferPartialRefund` or `GetDispute`, both of whose responses begin with a dispute.
    pub(crate) fn start(response: &v1::GetDisputeResponse) -> Self {
        let bytes: String = response.encode_to_vec().iter().map(|byte| format!("{byte:02x}")).collect();
        let program = std::env::current_exe().expect("this program");
        let binary = Binary::launch(program.to_str().expect("a path"), &["echo".to_owned(), bytes], "off");
        Self(binary.unwrap_or_else(|log| panic!("the echo does not start: {log}")))
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }
}

/// Runs it: what follows `echo` is the response in hexadecimal.
pub(crate) async fn run(arguments: &[String]) {
    let [response] = arguments else { panic!("one argument, not {arguments:?}") };
    let byte = |at: usize| u8::from_str_radix(&response[at..at + 2], 16).expect("hexadecimal");
    let bytes: Vec<u8> = (0..response.len()).step_by(2).map(byte).collect();
    let response = v1::GetDisputeResponse::decode(bytes.as_slice()).expect("a response");
    let incoming =
        TcpIncoming::bind("127.0.0.1:0".parse().expect("an address")).expect("a port").with_nodelay(Some(true));
    eprintln!("listening on {}", incoming.local_addr().expect("an address"));
    Server::builder().add_service(Answer(response)).serve_with_incoming(incoming).await.expect("it serves");
}

/// The service.
#[derive(Clone)]
struct Answer(v1::GetDisputeResponse);

impl NamedService for Answer {
    const NAME: &'static str = "disputes.v1.DisputeService";
}

impl tower::Service<Request<Body>> for Answer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answer = self.clone();
        Box::pin(async move {
            if request.uri().path().ends_with("/GetDispute") {
                let codec = ProstCodec::<v1::GetDisputeResponse, v1::GetDisputeRequest>::default();
                Ok(Grpc::new(codec).unary(answer, request).await)
            } else {
                let codec = ProstCodec::<v1::GetDisputeResponse, v1::OfferPartialRefundRequest>::default();
                Ok(Grpc::new(codec).unary(answer, request).await)
            }
        })
    }
}

impl<R> UnaryService<R> for Answer {
    type Response = v1::GetDisputeResponse;
    type Future = Ready<Result<Response<v1::GetDisputeResponse>, Status>>;

    fn call(&mut self, _: tonic::Request<R>) -> Self::Future {
        ready(Ok(Response::new(self.0.clone())))
    }
}
