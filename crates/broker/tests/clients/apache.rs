//! The reference answers the same questions in the same way.

use std::process::Command;

use crate::target::ON;

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn apache_kafka_passes_the_same_suite() {
    let suite = std::env::current_exe().unwrap();
    let output = Command::new(suite)
        .args(["--skip", "embedded", "--skip", "apache", "--skip", "others"])
        .env(ON, turnstile_testkit::kafka())
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("test result: ok.") && !text.contains("running 0 tests"), "{text}");
}
