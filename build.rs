//! Compiles the protos without `protoc`: messages and clients, the servers, and the descriptor set that reflection
//! serves. Without the feature `proto` it does nothing, and needs no dependency.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    #[cfg(feature = "proto")]
    protos::compile()?;
    Ok(())
}

#[cfg(feature = "proto")]
mod protos {
    use std::env;
    use std::error::Error;
    use std::fs;
    use std::path::{Path, PathBuf};

    use prost::Message as _;

    /// All files; their imports are found from here.
    const ROOT: &str = "proto";
    const FILES: [&str; 2] = ["proto/disputes/v1/order_service.proto", "proto/disputes/v1/dispute_service.proto"];
    /// Only served by a service that is tried out, and described by it alone.
    const TESTING: &str = "proto/disputes/testing/v1/test_clock.proto";
    const ERROR_DETAILS: &str = "proto/google/rpc/error_details.proto";

    pub(super) fn compile() -> Result<(), Box<dyn Error>> {
        println!("cargo:rerun-if-changed={ROOT}");
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
        let files = protox::compile(FILES.iter().chain([&TESTING]), [ROOT])?;

        // With the error details: clients that know nothing but reflection can read them.
        describe(&out.join("disputes.v1.bin"), FILES.iter().chain([&ERROR_DETAILS]))?;
        describe(&out.join("disputes.testing.v1.bin"), [&TESTING])?;

        tonic_prost_build::configure()
            .build_server(false)
            .build_transport(false)
            .out_dir(&out)
            .compile_fds(files.clone())?;

        if cfg!(not(feature = "server")) {
            return Ok(());
        }
        // The servers send events that were encoded once, as bytes: see grpc/encoded.rs.
        let servers = out.join("server");
        fs::create_dir_all(&servers)?;
        tonic_prost_build::configure()
            .build_client(false)
            .build_transport(false)
            .codec_path("crate::grpc::codec::SmallBuffers")
            .extern_path(".disputes.v1.WatchDisputesResponse", "crate::grpc::encoded::WatchDisputesResponse")
            .extern_path(".disputes.v1.ListDisputeEventsResponse", "crate::grpc::encoded::ListDisputeEventsResponse")
            .extern_path(".disputes.v1", "crate::proto::v1")
            .extern_path(".disputes.testing.v1", "crate::proto::testing")
            .extern_path(".google.type", "crate::proto::google::r#type")
            .out_dir(servers)
            .compile_fds(files)?;
        Ok(())
    }

    /// Writes the descriptor set of these files that reflection serves.
    fn describe<'a>(path: &Path, files: impl IntoIterator<Item = &'a &'a str>) -> Result<(), Box<dyn Error>> {
        let mut description = protox::compile(files, [ROOT])?;
        for file in &mut description.file {
            // Our comments are documentation to read by reflection; those of others are in their own files.
            let is_ours = file.package().starts_with("disputes.");
            file.source_code_info.take_if(|_| !is_ours);
            if let Some(source) = &mut file.source_code_info {
                source.location.retain(|place| place.leading_comments.is_some() || place.trailing_comments.is_some());
            }
        }
        Ok(fs::write(path, description.encode_to_vec())?)
    }
}
