#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    ureq_auth::fuzzing::callback(input, &ureq_auth_fuzz::YARDSTICK);
});
