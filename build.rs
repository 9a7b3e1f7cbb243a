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
    use std::path::PathBuf;

    use prost::Message as _;

    /// All files; their imports are found from here.
    const ROOT: &str = "proto";
    const FILES: [&str; 2] = ["proto/disputes/v1/order_service.proto", "proto/disputes/v1/dispute_service.proto"];
    const ERROR_DETAILS: &str = "proto/google/rpc/error_details.proto";

    pub(super) fn compile() -> Result<(), Box<dyn Error>> {
        println!("cargo:rerun-if-changed={ROOT}");
        let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
        let files = protox::compile(FILES, [ROOT])?;

        // Includes the error details: clients that know nothing but reflection can read them.
        let mut description = protox::compile(FILES.iter().chain([&ERROR_DETAILS]), [ROOT])?;
        for file in &mut description.file {
            // Our comments are documentation to read by reflection; those of others are in their own files.
            let is_ours = file.package().starts_with("disputes.");
            file.source_code_info.take_if(|_| !is_ours);
            if let Some(source) = &mut file.source_code_info {
                source.location.retain(|place| place.leading_comments.is_some() || place.trailing_comments.is_some());
            }
        }
        fs::write(out.join("disputes.v1.bin"), description.encode_to_vec())?;

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
            .extern_path(".google.type", "crate::proto::google::r#type")
            .out_dir(servers)
            .compile_fds(files)?;
        Ok(())
    }
}
