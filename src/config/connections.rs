//! The flags that bound what comes over connections.

use clap::Args;

use super::Span;

/// The bounds of connections and of what clients do on them.
#[derive(Args, Clone, Debug)]
pub struct ConnectionFlags {
    /// How many connections of clients there can be; 0 for any number.
    #[arg(long, global = true, env = "DISPUTES_MAX_CONNECTIONS", value_name = "COUNT", default_value = "10000")]
    pub max_connections: usize,
    /// How many of them one address can have; 0 for any number.
    #[arg(
        long,
        global = true,
        env = "DISPUTES_MAX_CONNECTIONS_PER_ADDRESS",
        value_name = "COUNT",
        default_value = "0"
    )]
    pub max_connections_per_address: usize,
    /// How many streams of one connection the errors of its client may reset; 0 for any number.
    #[arg(long, global = true, env = "DISPUTES_MAX_ERROR_RESETS", value_name = "COUNT", default_value = "1024")]
    pub max_error_resets: u32,
    /// How long a client may take over the answer of a unary RPC before its stream is reset; 0s for ever.
    #[arg(long, global = true, env = "DISPUTES_ANSWER_TIMEOUT", value_name = "SPAN", default_value = "30s")]
    pub answer_timeout: Span,
    /// How many bytes of such answers, built and not taken, one connection can hold; 0 for any number.
    #[arg(long, global = true, env = "DISPUTES_MAX_ANSWER_BYTES", value_name = "BYTES", default_value = "16777216")]
    pub max_answer_bytes: u32,
}
