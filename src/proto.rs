//! The generated code and nothing else. The comments are those of the protos.

#![allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic, clippy::restriction)]

/// By package, as the generated code expects it.
pub mod disputes {
    /// The messages of `disputes.v1`, and the clients.
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/disputes.v1.rs"));
    }

    /// By package, as the generated code expects it.
    pub mod testing {
        /// The messages of `disputes.testing.v1`, and the client.
        pub mod v1 {
            include!(concat!(env!("OUT_DIR"), "/disputes.testing.v1.rs"));
        }
    }
}

/// By package, as the generated code expects it.
pub mod google {
    /// The messages of `google.type`.
    pub mod r#type {
        include!(concat!(env!("OUT_DIR"), "/google.r#type.rs"));
    }
}

/// The server of `disputes.testing.v1`.
#[cfg(feature = "server")]
pub mod testing_server {
    include!(concat!(env!("OUT_DIR"), "/server/disputes.testing.v1.rs"));
}

/// The servers of `disputes.v1`.
#[cfg(feature = "server")]
pub mod server {
    include!(concat!(env!("OUT_DIR"), "/server/disputes.v1.rs"));
}

pub use disputes::testing::v1 as testing;
pub use disputes::v1;
pub use google::r#type::Money;

/// The description of the API, as reflection serves it: an encoded `FileDescriptorSet`.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/disputes.v1.bin"));

/// The description of the clock for tests, likewise.
pub const TESTING_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/disputes.testing.v1.bin"));
