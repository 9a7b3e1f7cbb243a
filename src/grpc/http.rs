//! What is judged of a request before it is one of gRPC: whether it is gRPC at all, and how long its headers are.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use tonic::body::Body;

/// HTTP/2 counts so much for each header, beside its name and its value (RFC 9113, section 6.5.2).
const HEADER_OVERHEAD: usize = 32;

/// The answer to a request that is not gRPC; `None` if it is.
pub(super) fn refuse_plain<B>(request: &Request<B>) -> Option<Response<Body>> {
    let (status, text) = if request.method() != Method::POST {
        let text = "This is a gRPC service: its API is in proto/disputes/v1, and server reflection describes it.\n";
        (StatusCode::NOT_FOUND, text)
    } else if !is_grpc(request.headers().get(CONTENT_TYPE)) {
        let text = "The content-type of a call must be application/grpc, or application/grpc-web.\n";
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    } else if request.version() != Version::HTTP_2 {
        // Its status would stand in trailers, which few clients of HTTP/1 can read.
        let text = "The content-type application/grpc needs HTTP/2; over HTTP/1.1 it must be application/grpc-web.\n";
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
    } else {
        return None;
    };
    let body = if request.method() == Method::HEAD { Body::empty() } else { Body::new(text.to_owned()) };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    Some(response)
}

/// `application/grpc`, perhaps with a format for the messages, and parameters.
fn is_grpc(content_type: Option<&HeaderValue>) -> bool {
    let text = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.strip_prefix("application/grpc").is_some_and(|format| format.is_empty() || format.starts_with('+'))
}

/// Headers that are longer than this are not kept while a message is waited for.
const KEPT_HEADER_BYTES: usize = 1024;

/// What a call may have to wait for must not keep long headers, nor, as a part of them would, the socket's buffer that
/// they came in. What is needed of them was read: what is left is what the transport reads itself.
pub(super) fn forget_headers(request: &mut Request<Body>, path: &'static str) {
    if header_list_size(request) <= KEPT_HEADER_BYTES {
        return;
    }
    let mut kept = HeaderMap::new();
    kept.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    *request.headers_mut() = kept;
    *request.uri_mut() = Uri::from_static(path);
}

/// The size of the request's header list in bytes, as HTTP/2 counts it: with what became of the URI and the method.
pub(super) fn header_list_size<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let pseudo = [
        (":method", Some(request.method().as_str())),
        (":scheme", uri.scheme_str()),
        (":authority", uri.authority().map(|authority| authority.as_str())),
        (":path", Some(path)),
    ];
    let pseudo = pseudo.into_iter().filter_map(|(name, value)| Some((name.len(), value?.len())));
    let fields = request.headers().iter().map(|(name, value)| (name.as_str().len(), value.len()));
    pseudo.chain(fields).map(|(name, value)| name.saturating_add(value).saturating_add(HEADER_OVERHEAD)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked_by(version: Version, method: Method, content_type: &str) -> Option<u16> {
        let request = Request::builder().version(version).method(method).header(CONTENT_TYPE, content_type);
        refuse_plain(&request.body(()).unwrap()).map(|response| response.status().as_u16())
    }

    #[test]
    fn a_call_is_a_post_of_application_grpc_over_http_2() {
        let asked = |method: Method, content_type: &str| asked_by(Version::HTTP_2, method, content_type);
        for content_type in ["application/grpc", "application/grpc+proto", "Application/gRPC ; charset=utf-8"] {
            assert_eq!(asked(Method::POST, content_type), None, "{content_type}");
            assert_eq!(asked(Method::GET, content_type), Some(404), "{content_type}");
            assert_eq!(asked_by(Version::HTTP_11, Method::POST, content_type), Some(415), "{content_type}");
        }
        for content_type in ["application/json", "application/grpc-web", "application/grpcx", "", "text/html"] {
            assert_eq!(asked(Method::POST, content_type), Some(415), "{content_type}");
        }
    }

    #[test]
    fn a_header_list_is_counted_as_http_2_counts_it() {
        let request = Request::post("http://localhost/a?b").header("x", "yz").header("x", "").body(()).unwrap();
        let expected = (7 + 4 + 32) + (7 + 4 + 32) + (10 + 9 + 32) + (5 + 4 + 32) + (1 + 2 + 32) + (1 + 32);
        assert_eq!(header_list_size(&request), expected);
    }
}
