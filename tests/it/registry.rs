//! Messages whose schema is in a registry: Confluent's serializers, Apicurio Registry, and what is wrong with them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::interop::{publishes, python, what_became_of_messages};
use crate::scene::{PATIENCE, Scene, data_files, expected, finish, messages, signal, text, unpack};

/// The stories' pipeline with messages of `format`, and `registry` as its `[source] registry`.
pub(crate) fn pipeline(scene: &Scene, format: &str, registry: &str) -> PathBuf {
    let path = scene.pipeline("");
    let source = format!("format = \"{format}\"\nregistry = {{ {registry} }}");
    let text = std::fs::read_to_string(&path).unwrap().replace("format = \"csv\"", &source);
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn at(url: &str) -> String {
    format!("url = \"{url}\"")
}

/// The dead letters as text, all files together.
fn dead_letters(scene: &Scene) -> String {
    let folder = scene.lake().join("_dead_letters");
    let mut pending = vec![folder];
    let mut all = String::new();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|e| e == "gz") {
            all += &unpack(&path);
        } else {
            all += &std::fs::read_to_string(&path).unwrap();
        }
    }
    all
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn avro_of_confluents_serializer_becomes_windows_and_what_cannot_is_kept_with_its_schema_id() {
    let scene = Scene::apache("registry-avro", 3);
    let url = turnstile_testkit::registry();
    let rows = messages(1_000);
    python("sender.py", &scene, &["avro", &url, "0"], &rows);
    let file = pipeline(&scene, "avro", &at(&url));
    let became = publishes(&scene, &file, &rows);
    assert!(became.starts_with("1005 read = 1000 aggregated"), "{became}");
    assert!(became.contains("+ 4 dead_lettered") && became.ends_with("1 tombstones"), "{became}");
    // A person sees the same fields, and why a message has none.
    let shown =
        ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--pipeline", file.to_str().unwrap()];
    let shown = scene.turnstile(&[&shown[..], &["--until-end", "--json"]].concat());
    assert!(shown.status.success(), "{}", text(&shown));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert_eq!(shown.lines().count(), 1_005);
    let stations = shown.lines().filter(|line| line.contains("\"STATION\":\"STATION 1\"")).count();
    assert_eq!((stations, shown.matches("does not know schema 4711000").count()), (250, 1));

    let letters = dead_letters(&scene);
    for reason in [
        "schema: the registry does not know schema 4711000",
        "wire-format: the value is 4 bytes long, too short for a schema id",
        "wire-format: the value begins with byte 110, not with 0 and a schema id",
        "avro: the message ends too early (schema ",
    ] {
        assert!(letters.contains(reason), "{reason} is not in {letters}");
    }
    let window = data_files(&scene.lake()).remove(0);
    let name = window.strip_prefix(scene.lake()).unwrap().to_str().unwrap().to_owned();
    let replay = scene.turnstile(&["replay", &name, file.to_str().unwrap(), "--to", "again"]);
    assert!(text(&replay).contains("the same, byte for byte"), "{}", text(&replay));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn json_of_confluents_json_schema_serializer_becomes_windows() {
    let scene = Scene::apache("registry-json", 1);
    let url = turnstile_testkit::registry();
    let rows = messages(300);
    python("sender.py", &scene, &["json-schema", &url], &rows);
    let became = publishes(&scene, &pipeline(&scene, "json-schema", &at(&url)), &rows);
    assert!(became.starts_with("301 read = 300 aggregated") && became.contains("+ 1 dead_lettered"), "{became}");
    assert!(dead_letters(&scene).contains("the registry does not know schema 4711000"));
}

/// Stands before the registry: while it is not `up`, connections are closed as soon as they are made.
struct Front {
    address: String,
    up: Arc<AtomicBool>,
    refused: Arc<AtomicU32>,
}

impl Front {
    fn before(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = url.split('/').nth(2).unwrap().to_owned();
        let address = url.replace(&to, &listener.local_addr().unwrap().to_string());
        let front = Self { address, up: Arc::default(), refused: Arc::default() };
        let (up, refused) = (Arc::clone(&front.up), Arc::clone(&front.refused));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut near = stream.unwrap();
                if !up.load(Ordering::SeqCst) {
                    refused.fetch_add(1, Ordering::SeqCst);
                    continue;
                }
                let mut far = TcpStream::connect(&to).unwrap();
                let (mut near_in, mut far_in) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                // Either side may end the connection first.
                std::thread::spawn(move || drop(std::io::copy(&mut near_in, &mut far)));
                std::thread::spawn(move || drop(std::io::copy(&mut far_in, &mut near)));
            }
        });
        front
    }

    /// Waits until it was asked in vain for the `count`th time.
    fn was_refused(&self, count: u32) {
        let began = Instant::now();
        while self.refused.load(Ordering::SeqCst) < count {
            assert!(began.elapsed() < PATIENCE, "the registry was not asked {count} times");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_registry_that_is_away_is_waited_for_and_nothing_is_lost() {
    let scene = Scene::apache("registry-away", 1);
    let url = turnstile_testkit::registry();
    let rows = messages(900);
    let (known, unknown) = rows.split_at(400);
    let front = Front::before(&url);
    let file = pipeline(&scene, "avro", &at(&front.address));
    let run = || scene.spawn(&["run", file.to_str().unwrap()], &[]);
    let send = |rows, first| python("sender.py", &scene, &["avro", &url, first], rows);

    send(known, "400");
    front.up.store(true, Ordering::SeqCst);
    let drained = scene.turnstile(&["run", file.to_str().unwrap(), "--until-end"]);
    assert!(drained.status.success(), "{}", text(&drained));
    assert!(what_became_of_messages(&scene, &file).starts_with("400 read = 400 aggregated"));

    // The first of these messages have a schema that this run has learned; the others wait, and when it is stopped
    // then, it commits nothing of what it holds back.
    let child = run();
    send(&unknown[..100], "100");
    eventually("the messages of the first writer are read", || {
        what_became_of_messages(&scene, &file).starts_with("500 read = 500 aggregated")
    });
    front.up.store(false, Ordering::SeqCst);
    send(&unknown[100..], "0");
    front.was_refused(3);
    signal(&child, "INT");
    let output = finish(child);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("is not available") && text(&output).contains("trying again in 0.4 s"));
    let became = what_became_of_messages(&scene, &file);
    // The first of them has the known schema, and may have come alone.
    let well = ["500 read = 500 aggregated", "501 read = 501 aggregated"].iter().any(|well| became.starts_with(well));
    assert!(well, "{became}\n{}", text(&output));

    let child = scene.spawn(&["run", file.to_str().unwrap(), "--drain"], &[]);
    front.was_refused(front.refused.load(Ordering::SeqCst) + 2);
    front.up.store(true, Ordering::SeqCst);
    let output = finish(child);
    assert!(output.status.success(), "{}", text(&output));
    assert!(text(&output).contains("the schema registry answers again"), "{}", text(&output));
    assert_eq!(scene.rows(), expected(&rows));
    let became = what_became_of_messages(&scene, &file);
    assert!(became.starts_with("905 read = 900 aggregated"), "{became}");
    assert!(scene.audit(&file).contains("all is well"));
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A double: answers every request with `status` and an empty object.
fn answers(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let read = stream.read(&mut request).unwrap();
            assert!(read > 0);
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    url
}

#[test]
fn a_registry_that_refuses_ends_the_run_and_no_password_is_shown() {
    let scene = Scene::embedded(1);
    scene.send([&[0u8, 0, 0, 0, 1, 2][..]]);
    let canary = "hush-canary-17";
    for (status, said) in [
        ("401 Unauthorized", "rejects this user: it answered 401"),
        (
            "404 Not Found",
            "returns no schemas: it answered 404, which is not a registry's answer for an unknown schema",
        ),
    ] {
        let settings = format!("{}, user = \"joe\", password_env = \"REGISTRY_PASSWORD\"", at(&answers(status)));
        let file = pipeline(&scene, "avro", &settings);
        let began = Instant::now();
        let child = scene.spawn(&["run", file.to_str().unwrap(), "--drain"], &[("REGISTRY_PASSWORD", canary)]);
        let output = finish(child);
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        assert!(text(&output).contains(said) && text(&output).contains("hint:"), "{}", text(&output));
        assert!(!text(&output).contains(canary), "{}", text(&output));
        assert!(began.elapsed() < PATIENCE);
        let check = scene.turnstile(&["check", file.to_str().unwrap()]);
        assert!(text(&check).contains("(password of $REGISTRY_PASSWORD)"), "{}", text(&check));
    }
}

#[test]
fn a_password_that_is_not_there_is_named_before_anything_is_read() {
    let scene = Scene::embedded(1);
    for (source, said) in [
        ("password_env = \"NO_SUCH_VARIABLE\"", "the environment variable NO_SUCH_VARIABLE is not set"),
        ("password_file = \"no-such-file\"", "no-such-file cannot be read\ncause: "),
    ] {
        let file = pipeline(&scene, "avro", &format!("url = \"http://127.0.0.1:1\", user = \"joe\", {source}"));
        let output = scene.drain(&file);
        assert_eq!(output.status.code(), Some(3), "{}", text(&output));
        assert!(text(&output).contains(said), "{}", text(&output));
    }
}
