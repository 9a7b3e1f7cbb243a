//! TLS on the port, client certificates, and the bounds that hold over TLS as they do without.

mod bounds;
mod handshake;
mod mtls;
mod swapping;
mod with_tokens;
