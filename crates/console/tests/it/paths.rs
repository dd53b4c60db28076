//! Paths that no page has: nothing of them reaches a file.

use crate::browser::Console;
use crate::demo_data::DemoMood;

#[tokio::test]
async fn paths_that_lead_elsewhere_are_refused() {
    let console = Console::start(DemoMood::Full).await;
    for (path, status) in [
        ("/../etc/passwd", 400),
        ("/assets/../../Cargo.toml", 400),
        ("/assets/%2e%2e/Cargo.toml", 400),
        ("/assets/..%2fCargo.toml", 400),
        ("/assets/%2e%2e%5cCargo.toml", 400),
        ("/assets/%252e%252e", 400),
        ("/p/..%2f..%2fetc", 400),
        ("/p/mta-turnstile/windows/..%2f", 400),
        ("/p/mta-turnstile/./windows", 400),
        ("/p//windows", 400),
        ("/p/mta-turnstile%00", 400),
        ("/p/mta-turnstile\\..\\x", 400),
        ("/assets/Cargo.toml", 404),
        ("/assets/", 404),
        ("/p/.hidden", 404),
        ("/p/mta-turnstile/runs/a.b", 404),
        ("/live/p/mta-turnstile/sql", 404),
        ("/live/p/mta-turnstile/windows/x", 404),
    ] {
        let answer = console.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(!answer.body.contains("[package]") && !answer.body.contains("root:"), "{path}");
    }
}

#[tokio::test]
async fn requests_that_are_not_http_are_refused_and_the_next_ones_are_served() {
    let console = Console::start(DemoMood::Full).await;
    for request in [
        "GET / HTTP/9.9\r\n\r\n".to_owned(),
        "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "y".repeat(64 << 10)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "a: b\r\n".repeat(1_000)),
        "POST /p/mta-turnstile/sql HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"
            .to_owned(),
    ] {
        let answer = console.send(&request).await;
        assert!((400..500).contains(&answer.status) || answer.status == 431, "{} for {:.40}", answer.status, request);
    }
    assert_eq!(console.get("/p/mta-turnstile").await.status, 200);
}
