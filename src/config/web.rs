//! The origins of web pages that may call.

use std::str::FromStr;

use http::uri::Authority;
use http::{HeaderValue, Uri};

/// The origin of a web page, as browsers write it in the header `origin`: `https://shop.example`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WebOrigin(HeaderValue);

/// Why a text is not an origin.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum InvalidWebOrigin {
    /// Every page could call, with whatever its reader is trusted for.
    #[error("each origin has to be named: there is no origin that stands for all")]
    Any,
    /// It has another form; no browser would send it.
    #[error("expected SCHEME://HOST or SCHEME://HOST:PORT, without a path, such as https://shop.example")]
    Malformed,
}

impl WebOrigin {
    /// This origin, which is one.
    pub(super) fn from_static(origin: &'static str) -> Self {
        Self(HeaderValue::from_static(origin))
    }

    /// The header's value.
    pub fn as_header(&self) -> &HeaderValue {
        &self.0
    }
}

impl FromStr for WebOrigin {
    type Err = InvalidWebOrigin;

    /// Browsers write schemes and hosts in lower case and leave out the scheme's own port: so does this.
    fn from_str(text: &str) -> Result<Self, InvalidWebOrigin> {
        if ["*", "null"].contains(&text) {
            return Err(InvalidWebOrigin::Any);
        }
        let text = text.to_ascii_lowercase();
        let parts = text.split_once("://").filter(|(scheme, _)| !scheme.is_empty());
        let (scheme, authority) = parts.ok_or(InvalidWebOrigin::Malformed)?;
        let port = match scheme {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let origin = format!("{scheme}://{}", authority.strip_suffix(port).unwrap_or(authority));
        let uri = Uri::from_str(&origin).map_err(|_| InvalidWebOrigin::Malformed)?;
        let is_of_browsers = |named: &&Authority| {
            let has_port = named.as_str().len() > named.host().len();
            !named.as_str().contains(['@', '*']) && (!has_port || named.port_u16().is_some())
        };
        let host = uri.authority().filter(is_of_browsers).map(Authority::as_str);
        // What was parsed is all of it: a path, a query or a name of a user would be missing.
        if host.is_none_or(|host| origin != format!("{scheme}://{host}")) {
            return Err(InvalidWebOrigin::Malformed);
        }
        HeaderValue::from_str(&origin).map(Self).map_err(|_| InvalidWebOrigin::Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_port_as_browsers_write_them() {
        for (text, origin) in [
            ("http://localhost:5173", "http://localhost:5173"),
            ("https://Shop.Example", "https://shop.example"),
            ("HTTPS://shop.example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("http://shop.example:443", "http://shop.example:443"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(text.parse::<WebOrigin>().unwrap().as_header(), origin, "{text}");
        }
        for text in ["*", "null"] {
            assert_eq!(text.parse::<WebOrigin>(), Err(InvalidWebOrigin::Any), "{text}");
        }
        for text in [
            "",
            "shop.example",
            "https://",
            "https://shop.example/",
            "https://shop.example/path",
            "https://shop.example?query",
            "https://ann@shop.example",
            "https://*.shop.example",
            "https://shop.example:port",
            "https://a b",
            "https://shop.example,https://other.example",
            "://shop.example",
        ] {
            assert_eq!(text.parse::<WebOrigin>(), Err(InvalidWebOrigin::Malformed), "{text}");
        }
    }
}
