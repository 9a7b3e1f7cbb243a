//! The header `traceparent`.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| dispute_service::fuzzing::traceparent(data));
