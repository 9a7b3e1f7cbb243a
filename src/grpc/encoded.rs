//! The two responses that carry events. An event is encoded once, when it is committed, and from then on
//! travels as bytes: on the wire these are the generated messages of the same names.

use bytes::Bytes;

use crate::proto::v1;

/// `disputes.v1.WatchDisputesResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WatchDisputesResponse {
    /// Encoded `disputes.v1.DisputeEvent`s.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub events: Vec<Bytes>,
    /// How the stream is doing.
    #[prost(message, optional, tag = "2")]
    pub checkpoint: Option<v1::Checkpoint>,
    /// Covers everything up to and including this message.
    #[prost(string, tag = "3")]
    pub resume_token: String,
}

/// `disputes.v1.ListDisputeEventsResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ListDisputeEventsResponse {
    /// Encoded `disputes.v1.DisputeEvent`s.
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub events: Vec<Bytes>,
    /// Covers everything up to here.
    #[prost(string, tag = "2")]
    pub resume_token: String,
    /// Whether there is more to read now.
    #[prost(bool, tag = "3")]
    pub more: bool,
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn on_the_wire_these_are_the_generated_messages() {
        let event = v1::DisputeEvent { event_id: "e".to_owned(), revision: 7, ..v1::DisputeEvent::default() };
        let bytes = Bytes::from(event.encode_to_vec());
        let checkpoint = v1::Checkpoint { subscribed: true, ..v1::Checkpoint::default() };

        let watch = WatchDisputesResponse {
            events: vec![bytes.clone(), Bytes::new()],
            checkpoint: Some(checkpoint),
            resume_token: "t".to_owned(),
        };
        let generated = v1::WatchDisputesResponse {
            events: vec![event.clone(), v1::DisputeEvent::default()],
            checkpoint: Some(checkpoint),
            resume_token: "t".to_owned(),
        };
        assert_eq!(watch.encode_to_vec(), generated.encode_to_vec());

        let list = ListDisputeEventsResponse { events: vec![bytes], resume_token: "t".to_owned(), more: true };
        let generated = v1::ListDisputeEventsResponse { events: vec![event], resume_token: "t".to_owned(), more: true };
        assert_eq!(list.encode_to_vec(), generated.encode_to_vec());
    }
}
