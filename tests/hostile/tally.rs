//! What an attacker got for its efforts.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// The codes with which a server resets streams that is no error of the client: none, refused, cancelled.
const INNOCENT: [u32; 3] = [0, 7, 8];

/// Counts of what was sent and of what came back.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Calls that were begun.
    pub calls: usize,
    /// Connections that were made.
    pub connections: usize,
    /// Connections that could not be made, or that the server ended.
    pub ended: usize,
    /// The answers to calls, by their reason: `OK`, the reason of an error, or an HTTP status.
    pub answers: BTreeMap<String, usize>,
    /// Streams that the server reset, by the code of HTTP/2.
    pub resets: BTreeMap<u32, usize>,
    /// Connections that the server ended with a GOAWAY, by the code of HTTP/2.
    pub goaways: BTreeMap<u32, usize>,
    /// The most streams that the server reset on one connection for an error of the client.
    pub most_errors: usize,
    /// Bytes of answers.
    pub bytes: usize,
}

impl Tally {
    /// Adds what another connection got.
    pub fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.connections += other.connections;
        self.ended += other.ended;
        self.bytes += other.bytes;
        let errors = other.resets.iter().filter(|(code, _)| !INNOCENT.contains(code)).map(|(_, count)| count).sum();
        self.most_errors = self.most_errors.max(errors).max(other.most_errors);
        merge(&mut self.answers, &other.answers);
        merge(&mut self.resets, &other.resets);
        merge(&mut self.goaways, &other.goaways);
    }

    /// Notes the headers or the trailers of an answer, if they tell what came of the call.
    pub fn note_headers(&mut self, fields: Vec<(String, String)>) {
        self.note(what_came_of_it(fields));
    }

    /// Notes what came of something, if that is known.
    pub fn note(&mut self, what: Option<String>) {
        if let Some(what) = what {
            *self.answers.entry(what).or_default() += 1;
        }
    }

    /// How many calls were answered so.
    pub fn answered(&self, reason: &str) -> usize {
        self.answers.get(reason).copied().unwrap_or_default()
    }
}

/// What the headers or the trailers of an answer tell of the call.
fn what_came_of_it(fields: Vec<(String, String)>) -> Option<String> {
    let http = fields.iter().find(|(name, value)| name == ":status" && value != "200").map(|(_, value)| value.clone());
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    match (Status::from_header_map(&headers), http) {
        (Some(status), _) if status.code() == Code::Ok => Some("OK".to_owned()),
        (Some(status), _) => {
            let details = status.get_error_details();
            let reason = details.error_info().map(|info| info.reason.clone());
            Some(reason.unwrap_or_else(|| format!("untyped {:?}", status.code())))
        }
        (None, http) => http.map(|http| format!("HTTP {http}")),
    }
}

fn merge<K: Ord + Clone>(into: &mut BTreeMap<K, usize>, other: &BTreeMap<K, usize>) {
    for (key, count) in other {
        *into.entry(key.clone()).or_default() += count;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} calls, {} connections ({} ended)", self.calls, self.connections, self.ended)?;
        for (reason, count) in &self.answers {
            write!(formatter, ", {reason} {count}")?;
        }
        for (code, count) in &self.resets {
            write!(formatter, ", RST_STREAM({code}) {count}")?;
        }
        for (code, count) in &self.goaways {
            write!(formatter, ", GOAWAY({code}) {count}")?;
        }
        Ok(())
    }
}
