//! Which web pages may call: a browser names the page's origin in `Origin`.
//!
//! Above all this keeps pages from acting through a service on their reader's machine that trusts its callers. If an
//! attacker lets a domain name resolve to a loopback address (DNS rebinding), the host of the request is that name.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Request};

use crate::config::WebOrigin;
use crate::grpc::status::Failure;

/// The origins whose pages may call. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Origins(Arc<[WebOrigin]>);

impl Origins {
    /// Pages of these origins may call, and no others.
    pub fn new(allowed: &[WebOrigin]) -> Self {
        Self(allowed.into())
    }

    /// Whether a request with these headers may be made: it comes from no page, or from a page that may call.
    pub(in crate::grpc) fn allow(&self, headers: &HeaderMap) -> bool {
        headers.get_all(ORIGIN).iter().all(|origin| self.0.iter().any(|allowed| allowed.as_header() == origin))
    }

    /// Refuses a request of a page that may not call.
    pub(super) fn refuse_foreign<B>(&self, request: &Request<B>) -> Result<(), Failure> {
        if self.allow(request.headers()) {
            return Ok(());
        }
        Err(Failure::origin_not_allowed("web pages of this origin may not call this service (--web-origin)"))
    }
}

/// Refuses a request that was sent to a host name other than this machine's loopback.
pub(super) fn refuse_other_hosts<B>(request: &Request<B>) -> Result<(), Failure> {
    let named_by_header = request.headers().get_all(HOST).iter().map(|host| Authority::try_from(host.as_bytes()).ok());
    let mut named = request.uri().authority().cloned().map(Some).into_iter().chain(named_by_header).peekable();
    let is_named = named.peek().is_some();
    if is_named && named.all(|host| host.is_some_and(|host| is_loopback(host.host()))) {
        return Ok(());
    }
    Err(Failure::origin_not_allowed(
        "with --auth dev the host of a request (:authority) must be localhost or a loopback address",
    ))
}

/// Whether a host, without its port, is this machine, whatever DNS says.
fn is_loopback(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost")
        || address.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(uri: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap()
    }

    fn is_refused(uri: &str, headers: &[(&str, &str)]) -> bool {
        refuse_other_hosts(&request(uri, headers)).is_err()
    }

    #[test]
    fn a_host_is_this_machine_by_its_name_or_a_loopback_address() {
        for host in
            ["localhost", "LOCALHOST:1", "127.0.0.1", "127.9.9.9:50051", "[::1]", "[::1]:50051", "[::ffff:127.0.0.1]:1"]
        {
            assert!(!is_refused(&format!("http://{host}/p"), &[]), "{host}");
            assert!(!is_refused("/p", &[("host", host)]), "{host}");
        }
        for host in [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "10.0.0.1",
            "[::2]",
            "localhost.",
            "0.0.0.0",
            "2130706433",
        ] {
            assert!(is_refused(&format!("http://{host}:50051/p"), &[]), "{host}");
            assert!(is_refused("/p", &[("host", host)]), "{host}");
            assert!(is_refused("http://localhost/p", &[("host", host)]), "both count: {host}");
        }
        assert!(is_refused("/p", &[]), "no host at all");
        assert!(is_refused("/p", &[("host", "not a host")]));
        assert!(is_refused("/p", &[("host", "localhost"), ("host", "evil.example")]));
    }

    #[test]
    fn a_page_may_call_if_its_origin_is_named_and_only_as_it_is_named() {
        let named = ["http://localhost:5173", "https://shop.example"].map(|origin| origin.parse().unwrap());
        let allow = |allowed: &[WebOrigin], origins: &[&str]| {
            let headers: Vec<_> = origins.iter().map(|origin| ("origin", *origin)).collect();
            Origins::new(allowed).refuse_foreign(&request("http://localhost/p", &headers)).is_ok()
        };
        assert!(allow(&[], &[]) && allow(&named, &[]), "it comes from no page");
        for origin in ["http://localhost:5173", "https://shop.example"] {
            assert!(allow(&named, &[origin]) && !allow(&[], &[origin]), "{origin}");
            assert!(!allow(&named, &[origin, "https://evil.example"]), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "http://shop.example",
            "https://shop.example:444",
            "https://shop.example.evil.example",
            "https://evil.example#https://shop.example",
            "https://SHOP.example",
            "http://localhost",
            "http://localhost:51730",
            "http://127.0.0.1:5173",
            "null",
            "",
        ] {
            assert!(!allow(&named, &[origin]), "{origin}");
        }
    }
}
