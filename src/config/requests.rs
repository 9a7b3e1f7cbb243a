//! The flags that bound what a request can make the service hold before it is judged.

use clap::Args;

use super::Span;

/// What bounds the messages of requests.
#[derive(Args, Clone, Debug)]
pub struct RequestFlags {
    /// The largest request in bytes; 0 for the 4 MiB that are read in any case.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_MESSAGE_BYTES",
        value_name = "BYTES",
        default_value = "65536",
        value_parser = clap::value_parser!(u32).range(0..=4_194_304)
    )]
    pub max_message_bytes: u32,
    /// The largest batch of orders in bytes; 0 for 4 MiB.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_BATCH_BYTES",
        value_name = "BYTES",
        default_value = "1048576",
        value_parser = clap::value_parser!(u32).range(0..=4_194_304)
    )]
    pub max_batch_bytes: u32,
    /// The largest request to health and reflection in bytes; 0 for 4 MiB.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_PROBE_BYTES",
        value_name = "BYTES",
        default_value = "4096",
        value_parser = clap::value_parser!(u32).range(0..=4_194_304)
    )]
    pub max_probe_bytes: u32,
    /// How long a request may take from its headers to its last byte; 0s for ever.
    #[arg(long, global = true, env = "DISPUTES_REQUEST_TIMEOUT", value_name = "SPAN", default_value = "10s")]
    pub request_timeout: Span,
    /// How many bytes of requests may have arrived whose rest is waited for, a quarter of them of one caller; 0 for any number.
    #[arg(long, global = true, env = "DISPUTES_MAX_BYTES_IN_FLIGHT", value_name = "BYTES", default_value = "67108864")]
    pub max_bytes_in_flight: usize,
    /// How many streams of health there can be, beside one on each connection, and an eighth as many of reflection; 0 for any number.
    #[arg(long, global = true, env = "DISPUTES_MAX_OPEN_STREAMS", value_name = "COUNT", default_value = "1024")]
    pub max_open_streams: usize,
    /// How long a stream of reflection may ask nothing before it ends; 0s for ever.
    #[arg(long, global = true, env = "DISPUTES_REFLECTION_IDLE", value_name = "SPAN", default_value = "1m")]
    pub reflection_idle: Span,
}
