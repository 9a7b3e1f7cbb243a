//! JSON as proto3 maps it, and as other tools of gRPC print it: names in lowerCamelCase, enumerations by name, 64-bit integers as
//! texts, instants in RFC 3339.

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};

use super::error::CtlError;
use crate::proto::DESCRIPTOR_SET;
use crate::stderr::visible;

/// Turns messages of `disputes.v1` into JSON.
pub(super) struct Json(DescriptorPool);

impl Json {
    pub(super) fn new() -> Result<Self, CtlError> {
        DescriptorPool::decode(DESCRIPTOR_SET).map(Self).map_err(internal)
    }

    /// A message of this name on one line, whose characters can all be seen.
    pub(super) fn line(&self, name: &str, message: &impl Message) -> Result<String, CtlError> {
        let descriptor = self.0.get_message_by_name(&format!("disputes.v1.{name}"));
        let descriptor = descriptor.ok_or_else(|| internal(format!("there is no message {name}")))?;
        let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(internal)?;
        let mut line = serde_json::Serializer::new(Vec::new());
        dynamic.serialize_with_options(&mut line, &SerializeOptions::new()).map_err(internal)?;
        let line = String::from_utf8(line.into_inner()).map_err(internal)?;
        Ok(visible(&line).into_owned())
    }
}

/// The description of the messages is part of this program: only a mistake in it gets here.
fn internal(why: impl ToString) -> CtlError {
    CtlError::Local(format!("this cannot be printed as JSON: {}", why.to_string()))
}
