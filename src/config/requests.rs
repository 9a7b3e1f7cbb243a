//! Flags that limit what a request can make the service hold before it is judged.

use clap::Args;

use super::Span;

/// Limits on request messages.
#[derive(Args, Clone, Debug)]
pub struct RequestFlags {
    /// The maximum size of a request in bytes; 0 for the built-in limit of 4 MiB.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_MESSAGE_BYTES",
        value_name = "BYTES",
        default_value = "65536",
        value_parser = clap::value_parser!(u32).range(0..=4_194_304)
    )]
    pub max_message_bytes: u32,
    /// The maximum size of a batch of orders in bytes; 0 for 4 MiB.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_BATCH_BYTES",
        value_name = "BYTES",
        default_value = "1048576",
        value_parser = clap::value_parser!(u32).range(0..=4_194_304)
    )]
    pub max_batch_bytes: u32,
    /// The maximum size of a health or reflection request in bytes; 0 for 4 MiB.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_PROBE_BYTES",
        value_name = "BYTES",
        default_value = "4096",
        value_parser = clap::value_parser!(u32).range(0..=4_194_304)
    )]
    pub max_probe_bytes: u32,
    /// How long a request may take from its headers to its last byte; 0s for no limit.
    #[arg(long, global = true, env = "DISPUTES_REQUEST_TIMEOUT", value_name = "SPAN", default_value = "10s")]
    pub request_timeout: Span,
    /// How long a unary call may take in total, whatever its grpc-timeout; 0s for no limit but that.
    #[arg(long, global = true, env = "DISPUTES_CALL_TIMEOUT", value_name = "SPAN", default_value = "1m")]
    pub call_timeout: Span,
    /// The maximum number of bytes of incomplete requests, a quarter of them from one caller; 0 for no limit.
    #[arg(long, global = true, env = "DISPUTES_MAX_BYTES_IN_FLIGHT", value_name = "BYTES", default_value = "67108864")]
    pub max_bytes_in_flight: usize,
    /// The maximum number of health streams, besides one per connection; reflection streams get an eighth of it; 0 for no limit.
    #[arg(long, global = true, env = "DISPUTES_MAX_OPEN_STREAMS", value_name = "COUNT", default_value = "1024")]
    pub max_open_streams: usize,
    /// How long a reflection stream may be idle before it ends; 0s for no limit.
    #[arg(long, global = true, env = "DISPUTES_REFLECTION_IDLE", value_name = "SPAN", default_value = "1m")]
    pub reflection_idle: Span,
}
