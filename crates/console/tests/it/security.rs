//! Who may ask for what.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use turnstile_console::{ConsoleServer, ConsoleSettings, ConsoleStartError, server_tls};
use turnstile_testkit::servers::Certificates;
use turnstile_values::Secret;

use crate::browser::{Console, FORM, read_answer, request};
use crate::demo_data::{DemoConsole, DemoMood};

/// Who sends it, its headers, the form's key, the expected status.
type OriginCase<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, u16);

const TOKEN: &str = "correct horse battery staple";

fn everywhere() -> ConsoleSettings {
    ConsoleSettings { listen: SocketAddr::from(([0, 0, 0, 0], 0)), ..ConsoleSettings::default() }
}

async fn guarded() -> Console {
    Console::with(DemoMood::Full, 10, |settings| settings.token = Some(Secret::new(TOKEN))).await
}

#[tokio::test]
async fn beyond_loopback_it_starts_with_a_token_and_tls_only() {
    let token = || Some(Secret::new(TOKEN));
    let refused = [
        (everywhere(), "a token and TLS"),
        (ConsoleSettings { token: token(), ..everywhere() }, "TLS"),
        (ConsoleSettings { behind_proxy: true, ..everywhere() }, "a token"),
    ];
    for (settings, expected) in refused {
        let data = Arc::new(DemoConsole::new(DemoMood::Full, 1));
        match ConsoleServer::start(settings, data, None).await {
            Err(ConsoleStartError::Exposed { missing, .. }) => assert_eq!(missing, expected),
            other => panic!("{expected}: {:?}", other.err()),
        }
    }
    for settings in [
        ConsoleSettings { token: token(), behind_proxy: true, ..everywhere() },
        ConsoleSettings { proxy_user_header: Some("x-user".to_owned()), behind_proxy: true, ..everywhere() },
    ] {
        let data = Arc::new(DemoConsole::new(DemoMood::Full, 1));
        ConsoleServer::start(settings, data, None).await.unwrap().stop().await;
    }
}

#[tokio::test]
async fn settings_that_cannot_be_meant_are_refused_by_name() {
    for (settings, expected) in [
        (ConsoleSettings { token: Some(Secret::new("short")), ..ConsoleSettings::default() }, "token"),
        (ConsoleSettings { proxy_user_header: Some("x-user".into()), ..ConsoleSettings::default() }, "user_header"),
        (
            ConsoleSettings {
                proxy_user_header: Some("x user".into()),
                behind_proxy: true,
                ..ConsoleSettings::default()
            },
            "user_header",
        ),
    ] {
        match settings.check() {
            Err(ConsoleStartError::Setting { key, .. }) => assert_eq!(key, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn hosts_that_are_not_allowed_are_refused() {
    let console =
        Console::with(DemoMood::Full, 10, |settings| settings.allowed_hosts = vec!["console.example".to_owned()]).await;
    let port = console.address.port();
    for (host, status) in [
        (format!("127.0.0.1:{port}"), 200),
        ("localhost".to_owned(), 200),
        (format!("LOCALHOST:{port}"), 200),
        ("[::1]:80".to_owned(), 200),
        ("console.example".to_owned(), 200),
        ("evil.example".to_owned(), 421),
        ("localhost.evil.example".to_owned(), 421),
        ("127.0.0.1.evil.example".to_owned(), 421),
        ("".to_owned(), 421),
    ] {
        let answer = console.ask("GET", "/p/mta-turnstile", &[("Host", &host)], "").await;
        assert_eq!(answer.status, status, "{host}");
        let metrics = console.ask("GET", "/metrics", &[("Host", &host)], "").await;
        assert_eq!(metrics.status, status, "{host}");
        let health = console.ask("GET", "/healthz", &[("Host", &host)], "").await;
        assert_eq!(health.status, 200, "an orchestrator asks by any name: {host}");
    }
    let none = console.send("GET / HTTP/1.1\r\nConnection: close\r\n\r\n").await;
    let two =
        console.send("GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nConnection: close\r\n\r\n").await;
    let absolute =
        console.send("GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert_eq!((none.status, two.status, absolute.status), (400, 400, 421));
}

#[tokio::test]
async fn a_post_needs_our_origin_and_our_form_of_this_browser() {
    let console = Console::start(DemoMood::Full).await;
    let ours = format!("http://{}", console.address);
    let (page, other) = (console.get("/p/mta-turnstile/sql").await, console.get("/p/mta-turnstile/sql").await);
    let (cookie, key, foreign) = (page.cookies(), page.form_key(), other.form_key());
    let cases: [OriginCase<'_>; 10] = [
        ("a browser", &[("Cookie", &cookie), ("Origin", &ours), ("Sec-Fetch-Site", "same-origin")], key, 200),
        ("a program with our form", &[("Cookie", &cookie)], key, 200),
        ("another site", &[("Cookie", &cookie), ("Origin", "https://evil.example")], key, 403),
        ("a sandbox", &[("Cookie", &cookie), ("Origin", "null")], key, 403),
        ("another port", &[("Cookie", &cookie), ("Origin", "http://127.0.0.1:1")], key, 403),
        ("another site by its fetch", &[("Cookie", &cookie), ("Sec-Fetch-Site", "cross-site")], key, 403),
        ("the same site, another host", &[("Cookie", &cookie), ("Sec-Fetch-Site", "same-site")], key, 403),
        ("no cookie", &[], key, 403),
        ("another browser's form", &[("Cookie", &cookie)], foreign, 403),
        ("a guess", &[("Cookie", &cookie)], "0", 403),
    ];
    for (who, headers, key, status) in cases {
        let headers: Vec<_> = headers.iter().copied().chain([("Content-Type", FORM)]).collect();
        for path in ["/p/mta-turnstile/sql", "/p/mta-turnstile/sql.csv", "/p/mta-turnstile/dead-letters/requeue"] {
            let body = format!("key={key}&query=SELECT+1&reason=type");
            let answer = console.ask("POST", path, &headers, &body).await;
            let expected = if status == 200 && path.ends_with("requeue") { 303 } else { status };
            assert_eq!(answer.status, expected, "{who}: {path}");
        }
    }
}

#[tokio::test]
async fn get_never_runs_sql_and_never_acts() {
    let console = Console::start(DemoMood::Full).await;
    let asked = console.get("/p/mta-turnstile/sql?query=SELECT+station+FROM+ext_turnstile").await;
    assert_eq!(asked.status, 200);
    assert!(!asked.body.contains("SELECT station") && !asked.body.contains("PENN STA"));
    for path in ["/p/mta-turnstile/sql.csv?query=SELECT+1", "/p/mta-turnstile/dead-letters/requeue?reason=type"] {
        assert!(matches!(console.get(path).await.status, 404 | 405), "{path}");
    }
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"] {
        let target = if method == "CONNECT" { "localhost:80" } else { "/p/mta-turnstile" };
        let answer = console.ask(method, target, &[], "").await;
        assert!(matches!(answer.status, 400 | 405), "{method}: {}", answer.status);
    }
    assert_eq!(console.data.requeued.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_safe() {
    let console = Console::start(DemoMood::Full).await;
    for path in ["/p/mta-turnstile", "/none", "/../x", "/metrics", "/login"] {
        let answer = console.get(path).await;
        let policy = answer.header("content-security-policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ] {
            assert!(policy.contains(part), "{part} for {path}");
        }
        assert!(!policy.contains("unsafe"), "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
    }
}

#[tokio::test]
async fn a_token_is_asked_for_and_opens_everything() {
    let console = guarded().await;
    let bearer = format!("Bearer {TOKEN}");
    for path in ["/", "/p/mta-turnstile", "/live/p/mta-turnstile", "/metrics", "/p/mta-turnstile/sql", "/none"] {
        assert_eq!(console.get(path).await.status, 401, "{path}");
        assert_eq!(console.ask("GET", path, &[("Authorization", "Bearer wrong")], "").await.status, 401, "{path}");
        let person = console.ask("GET", path, &[("Accept", "text/html")], "").await;
        assert_eq!((person.status, person.header("location")), (303, "/login"), "{path}");
    }
    for path in ["/p/mta-turnstile", "/metrics"] {
        assert_eq!(console.ask("GET", path, &[("Authorization", &bearer)], "").await.status, 200, "{path}");
    }
    for path in ["/healthz", "/readyz", "/login"] {
        assert_eq!(console.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_person_logs_in_with_the_token_and_logs_out() {
    let console = guarded().await;
    let form = console.get("/login").await;
    let wrong = console.submit(&form, "/login", "token=wrong").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("That is not the token."));
    let right = console.submit(&form, "/login", "token=correct+horse+battery+staple").await;
    assert_eq!((right.status, right.header("location")), (303, "/"));
    let cookie = right.header("set-cookie");
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict") && !cookie.contains("horse"), "{cookie}");
    let cookies = format!("{}; {}", form.cookies(), right.cookies());
    let page = console.ask("GET", "/p/mta-turnstile", &[("Cookie", &cookies)], "").await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("Log out"));
    assert!(!page.body.contains(TOKEN));
    let forged = cookies.replace("turnstile_login=", "turnstile_login=9");
    assert_eq!(console.ask("GET", "/p/mta-turnstile", &[("Cookie", &forged)], "").await.status, 401);
    let headers = [("Cookie", cookies.as_str()), ("Content-Type", FORM)];
    let out = console.ask("POST", "/logout", &headers, &format!("key={}", page.form_key())).await;
    assert!(out.header("set-cookie").contains("turnstile_login=; Path=/; Max-Age=0"));
}

#[tokio::test]
async fn behind_a_proxy_requests_without_its_user_are_refused() {
    let console = Console::with(DemoMood::Full, 10, |settings| {
        settings.behind_proxy = true;
        settings.proxy_user_header = Some("x-forwarded-user".to_owned());
    })
    .await;
    assert_eq!(console.get("/p/mta-turnstile").await.status, 401);
    assert_eq!(console.ask("GET", "/p/mta-turnstile", &[("X-Forwarded-User", "")], "").await.status, 401);
    let page = console.ask("GET", "/p/mta-turnstile", &[("X-Forwarded-User", "ada")], "").await;
    assert_eq!(page.status, 200);
    assert!(page.header("set-cookie").contains("; Secure"));
}

#[tokio::test]
async fn over_tls_it_answers_those_who_trust_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let certificates = Certificates::make(folder.path()).unwrap();
    let tls = server_tls(&certificates.server.certificate, &certificates.server.key).unwrap();
    let console = Console::with(DemoMood::Full, 10, |settings| {
        settings.listen = everywhere().listen;
        settings.token = Some(Secret::new(TOKEN));
        settings.tls = Some(tls);
        settings.allowed_hosts = vec!["localhost".to_owned()];
    })
    .await;
    assert!(console.server.url().starts_with("https://"));
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&certificates.authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(console.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    let bearer = format!("Bearer {TOKEN}");
    let text = request("localhost", "GET", "/p/mta-turnstile", &[("Authorization", &bearer)], "");
    stream.write_all(text.as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.header("set-cookie").contains("; Secure"));

    let missing = server_tls(&folder.path().join("none.pem"), &certificates.server.key);
    assert!(matches!(missing, Err(ConsoleStartError::Tls { path, .. }) if path.ends_with("none.pem")));
}

#[tokio::test]
async fn probes_answer_by_their_callbacks_and_say_why_only_to_those_who_may_see() {
    let console = Console::with(DemoMood::Full, 10, |settings| {
        settings.token = Some(Secret::new(TOKEN));
        settings.probes.metrics = Arc::new(|| "turnstile_up 1\n# EOF\n".to_owned());
        settings.probes.ready = Arc::new(|| Err("the broker db-7 is away".to_owned()));
    })
    .await;
    let bearer = format!("Bearer {TOKEN}");
    let metrics = console.ask("GET", "/metrics", &[("Authorization", &bearer)], "").await;
    assert_eq!(
        (metrics.body.as_str(), metrics.header("content-type")),
        ("turnstile_up 1\n# EOF\n", "application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    let ready = console.get("/readyz").await;
    assert_eq!((ready.status, ready.body.as_str()), (503, "not ready\n"));
    let known = console.ask("GET", "/readyz", &[("Authorization", &bearer)], "").await;
    assert_eq!((known.status, known.body.as_str()), (503, "the broker db-7 is away\n"));
    assert_eq!(console.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn routes_of_the_caller_pass_the_same_checks() {
    let settings = ConsoleSettings {
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        token: Some(Secret::new(TOKEN)),
        ..ConsoleSettings::default()
    };
    let data = Arc::new(DemoConsole::new(DemoMood::Full, 1));
    let extra = axum::Router::new().route("/extra", axum::routing::get(|| async { "more" }));
    let server = ConsoleServer::start(settings, data.clone(), Some(extra)).await.unwrap();
    let console = Console { address: server.address(), server, data };
    let bearer = format!("Bearer {TOKEN}");
    let allowed = console.ask("GET", "/extra", &[("Authorization", &bearer)], "").await;
    assert_eq!((allowed.status, allowed.body.as_str()), (200, "more"));
    assert!(allowed.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(console.get("/extra").await.status, 401);
    let headers = [("Authorization", bearer.as_str()), ("Host", "evil.example")];
    assert_eq!(console.ask("GET", "/extra", &headers, "").await.status, 421);
}
