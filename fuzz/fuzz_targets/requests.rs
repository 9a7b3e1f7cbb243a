//! Every request of every RPC, chosen by the first byte.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispute_service::fuzzing::requests(data));
