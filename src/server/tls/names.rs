//! What is read from a certificate: its expiry, and its names.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::config::MtlsScope;
use crate::domain::{Caller, Timestamp};

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Certificate {
    /// When it expires: the second after the last one in which it is valid.
    pub(super) expires: Timestamp,
    /// Those of its alternative names that are URIs or DNS names.
    names: Vec<Name>,
}

#[derive(PartialEq, Eq, Debug)]
enum Name {
    Uri(String),
    Dns(String),
}

/// Parses a certificate; `None` if it is malformed.
pub(super) fn read(der: &CertificateDer<'_>) -> Option<Certificate> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    // No expiry is written as the year 9999.
    let expires = certificate.validity().not_after.timestamp().saturating_add(1).saturating_mul(1_000_000);
    let names = certificate.subject_alternative_name().ok()?.map(|names| &names.value.general_names);
    let names = names.into_iter().flatten().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(Name::Uri((*uri).to_owned())),
        GeneralName::DNSName(name) => Some(Name::Dns((*name).to_owned())),
        _ => None,
    });
    Some(Certificate { expires: Timestamp::from_micros(expires).unwrap_or(Timestamp::MAX), names: names.collect() })
}

impl Certificate {
    /// The caller it belongs to. `None` if no rule names it, or if rules give it to different callers.
    pub(super) fn caller(&self, rules: &[MtlsScope]) -> Option<Caller> {
        let mut found = rules.iter().filter(|rule| self.names.iter().any(|name| name.is(&rule.name)));
        let caller = &found.next()?.caller;
        found.all(|rule| rule.caller == *caller).then(|| caller.clone())
    }
}

impl Name {
    /// Whether it is this name: a URI exactly, a DNS name whatever its case.
    fn is(&self, name: &str) -> bool {
        match self {
            Self::Uri(uri) => uri == name,
            Self::Dns(dns) => dns.eq_ignore_ascii_case(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use dispute_service_test_features::rcgen::{CertificateParams, KeyPair, SanType, date_time_ymd};

    use super::*;

    fn certificate(uris: &[&str], names: &[&str]) -> Certificate {
        let mut params = CertificateParams::default();
        let uris = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        params.subject_alt_names = uris.chain(names).collect();
        params.not_after = date_time_ymd(2027, 1, 2);
        let key = KeyPair::generate().unwrap();
        read(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn rules(texts: &[&str]) -> Vec<MtlsScope> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_certificate_is_whose_any_of_its_names_is() {
        let rules =
            rules(&["shop@spiffe://market/shop=platform", "desk.example=support", "shop@shop.example=platform"]);
        let whose = |uris: &[&str], names: &[&str]| {
            certificate(uris, names).caller(&rules).map(|caller| caller.user.as_str().to_owned())
        };
        assert_eq!(whose(&["spiffe://market/shop"], &[]).as_deref(), Some("shop"));
        assert_eq!(whose(&["spiffe://market/SHOP"], &[]), None);
        assert_eq!(whose(&["spiffe://market/shop/2"], &["other.example"]), None);
        assert_eq!(whose(&[], &["DESK.example"]).as_deref(), Some("desk.example"));
        assert_eq!(whose(&[], &["*.example"]), None);
        assert_eq!(whose(&["spiffe://market/shop"], &["shop.example"]).as_deref(), Some("shop"), "both are the same");
        assert_eq!(whose(&["spiffe://market/shop"], &["desk.example"]), None, "two callers are nobody");
        assert_eq!(whose(&[], &[]), None);
    }

    #[test]
    fn a_certificate_is_good_to_the_end_of_its_last_second() {
        assert_eq!(certificate(&[], &["a"]).expires.to_string(), "2027-01-02T00:00:01.000000Z");
    }

    #[test]
    fn what_is_no_certificate_is_none() {
        assert!(read(&CertificateDer::from(&b"\x30\x03\x02\x01\x01"[..])).is_none());
    }
}
