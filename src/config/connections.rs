//! Flags that limit connections.

use clap::Args;

use super::Span;

/// Limits on connections and on what clients do on them.
#[derive(Args, Clone, Debug)]
pub struct ConnectionFlags {
    /// The maximum number of client connections; 0 for no limit.
    #[arg(long, global = true, env = "DISPUTES_MAX_CONNECTIONS", value_name = "COUNT", default_value = "10000")]
    pub max_connections: usize,
    /// The maximum number of client connections per address; 0 for no limit.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "COUNT",
        default_value = "0"
    )]
    pub max_connections_per_address: usize,
    /// The maximum number of streams per connection that may be reset because of client errors; 0 for no limit.
    #[arg(long, global = true, env = "DISPUTES_MAX_ERROR_RESETS", value_name = "COUNT", default_value = "1024")]
    pub max_error_resets: u32,
    /// How long a client may take to read a unary response before its stream is reset, or over HTTP/1.1 its connection closed; 0s for no limit.
    #[arg(long, global = true, env = "DISPUTES_ANSWER_TIMEOUT", value_name = "SPAN", default_value = "30s")]
    pub answer_timeout: Span,
    /// The maximum number of bytes of unread unary responses per connection; 0 for no limit.
    #[arg(long, global = true, env = "DISPUTES_MAX_ANSWER_BYTES", value_name = "BYTES", default_value = "16777216")]
    pub max_answer_bytes: u32,
}
