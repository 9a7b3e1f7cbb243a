//! What browsers need, around everything else: gRPC-Web, in which they call, and the answers to what they ask before a
//! page of another origin may call and read (CORS).
//!
//! Inside, a call is one of gRPC like all others: judged, bounded and counted in the same way.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, ORIGIN};
use http::{HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic_web::GrpcWebLayer;
use tower::{Layer, Service};
use tower_http::cors::{AllowOrigin, CorsLayer};

use super::auth::Origins;

/// What a page may send with a call. `accept` it may always send.
const REQUEST_HEADERS: [HeaderName; 8] = [
    CONTENT_TYPE,
    AUTHORIZATION,
    HeaderName::from_static("x-grpc-web"),
    HeaderName::from_static("x-user-agent"),
    HeaderName::from_static("x-user-id"),
    HeaderName::from_static("x-scope"),
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("traceparent"),
];

/// What a page may read of an error that comes without a body.
const RESPONSE_HEADERS: [HeaderName; 3] = [
    HeaderName::from_static("grpc-status"),
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-status-details-bin"),
];

/// How long a browser may remember what it was allowed; no browser does so for longer.
const MAX_AGE: Duration = Duration::from_secs(7_200);

/// Marks a call that came by gRPC-Web.
#[derive(Clone, Copy, Debug)]
pub(super) struct ByWeb;

/// Wraps the services and their judge: see the module.
#[derive(Clone, Debug)]
pub struct WebLayer(Arc<Pages>);

/// Which pages may call, and how they are told.
#[derive(Debug)]
struct Pages {
    origins: Origins,
    cors: CorsLayer,
}

impl WebLayer {
    /// Lets the pages of these origins call.
    pub fn new(origins: Origins) -> Self {
        // For requests of pages that may call: the others are not told anything.
        let cors = CorsLayer::new()
            .allow_origin(AllowOrigin::mirror_request())
            .allow_methods([Method::POST])
            .allow_headers(REQUEST_HEADERS)
            .expose_headers(RESPONSE_HEADERS)
            .max_age(MAX_AGE);
        Self(Arc::new(Pages { origins, cors }))
    }
}

impl<S> Layer<S> for WebLayer {
    type Service = Web<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Web { inner: Translated { inner }, pages: self.0.clone() }
    }
}

/// A service that browsers can call: see [`WebLayer`].
#[derive(Clone, Debug)]
pub struct Web<S> {
    inner: Translated<S>,
    pages: Arc<Pages>,
}

impl<S> Service<Request<Body>> for Web<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<'static, Result<Response<Body>, Infallible>>,
        > + Clone,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        if request.headers().contains_key(ORIGIN) && self.pages.origins.allow(request.headers()) {
            self.pages.cors.layer(&mut self.inner).call(request).boxed()
        } else {
            self.inner.call(request)
        }
    }
}

/// Translates gRPC-Web into gRPC and back, and passes on everything else.
#[derive(Clone, Debug)]
struct Translated<S> {
    inner: S,
}

impl<S> Service<Request<Body>> for Translated<S>
where
    S: Service<
            Request<Body>,
            Response = Response<Body>,
            Error = Infallible,
            Future = BoxFuture<'static, Result<Response<Body>, Infallible>>,
        >,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let Some(form) = Form::of(&request) else { return self.inner.call(request) };
        // As the translation knows it: without parameters, and in lower case.
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
        // A page that says nothing of it, or `*/*`, reads what it writes.
        let accepted = request.headers().get(ACCEPT).and_then(Form::of_type).unwrap_or(form);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(accepted.content_type()));
        request.extensions_mut().insert(ByWeb);
        // Inside it is a call of gRPC, whatever carried it.
        *request.version_mut() = Version::HTTP_2;
        let response = GrpcWebLayer::new().layer(&mut self.inner).call(request.map(unannounced));
        response.map(|response| response.map(|response| response.map(unannounced))).boxed()
    }
}

/// The body, with a length that is not known in advance: what is translated gets another one, of which the translation
/// does not tell.
fn unannounced(body: Body) -> Body {
    Body::new(body.map_frame(|frame| frame))
}

/// The two forms of gRPC-Web.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Form {
    Binary,
    /// In base64, for clients that cannot read bytes while they arrive.
    Text,
}

impl Form {
    /// The form of a call by gRPC-Web; `None` for any other request.
    fn of<B>(request: &Request<B>) -> Option<Self> {
        if request.method() != Method::POST {
            return None;
        }
        Self::of_type(request.headers().get(CONTENT_TYPE)?)
    }

    fn of_type(value: &HeaderValue) -> Option<Self> {
        let essence = value.to_str().ok()?.split(';').next().unwrap_or_default().trim();
        let is = |known: &str| essence.eq_ignore_ascii_case(known);
        if is("application/grpc-web") || is("application/grpc-web+proto") {
            Some(Self::Binary)
        } else if is("application/grpc-web-text") || is("application/grpc-web-text+proto") {
            Some(Self::Text)
        } else {
            None
        }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Binary => "application/grpc-web+proto",
            Self::Text => "application/grpc-web-text+proto",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_by_grpc_web_is_a_post_of_one_of_its_types() {
        let form = |method: Method, content_type: &str| {
            Form::of(&Request::builder().method(method).header(CONTENT_TYPE, content_type).body(()).unwrap())
        };
        for (content_type, expected) in [
            ("application/grpc-web", Some(Form::Binary)),
            ("application/grpc-web+proto", Some(Form::Binary)),
            ("Application/gRPC-Web+Proto; charset=utf-8", Some(Form::Binary)),
            ("application/grpc-web-text", Some(Form::Text)),
            ("application/grpc-web-text+proto ;x", Some(Form::Text)),
            ("application/grpc-web+json", None),
            ("application/grpc-webx", None),
            ("application/grpc", None),
            ("application/grpc+proto", None),
            ("", None),
        ] {
            assert_eq!(form(Method::POST, content_type), expected, "{content_type}");
            assert_eq!(form(Method::GET, content_type), None, "{content_type}");
        }
    }
}
