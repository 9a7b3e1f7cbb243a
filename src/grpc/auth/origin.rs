//! Keeps web pages from acting through a service on their reader's machine that trusts its callers. A browser names the
//! page in `Origin`; and if an attacker lets a domain name resolve to a loopback address (DNS rebinding), the host of the
//! request is that name.

use std::net::IpAddr;

use http::Request;
use http::header::{HOST, ORIGIN};
use http::uri::Authority;

use crate::grpc::status::Failure;

/// Refuses a request that comes from a web page, or that was sent to a host name other than this machine's loopback.
pub(super) fn refuse_pages<B>(request: &Request<B>) -> Result<(), Failure> {
    // No origin is allowed so far.
    if request.headers().contains_key(ORIGIN) {
        return Err(Failure::origin_not_allowed("web pages may not call this service"));
    }
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

    fn is_refused(uri: &str, headers: &[(&str, &str)]) -> bool {
        let mut request = Request::post(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        refuse_pages(&request.body(()).unwrap()).is_err()
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
    fn no_page_is_allowed_whatever_its_origin() {
        for origin in ["https://evil.example", "http://localhost:5173", "null", ""] {
            assert!(is_refused("http://localhost/p", &[("origin", origin)]), "{origin}");
        }
    }
}
