//! Policy files.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispute_service::fuzzing::policy_file(data));
