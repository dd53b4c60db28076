//! A broker that advertises a name which this machine cannot resolve: the verbs name it and end.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::scene::{Scene, text};

/// As long as the address that it replaces.
const ADDRESS: &[u8] = b"127.0.0.1";
const NAME: &[u8] = b"x.invalid";

/// Forwards connections to `broker`, and replaces the address in its responses. Ends with the process.
fn renaming_proxy(broker: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let broker = broker.to_owned();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&broker).unwrap());
            let (mut requests, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut requests, &mut to_server));
            std::thread::spawn(move || while forward_response(&mut server, &mut client).is_ok() {});
        }
    });
    address
}

/// One response: its length in four bytes, then so many bytes.
fn forward_response(from: &mut TcpStream, to: &mut TcpStream) -> std::io::Result<()> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
    from.read_exact(&mut bytes)?;
    for at in 0..bytes.len().saturating_sub(ADDRESS.len() - 1) {
        if bytes[at..].starts_with(ADDRESS) {
            bytes[at..at + NAME.len()].copy_from_slice(NAME);
        }
    }
    to.write_all(&[&length[..], &bytes].concat())
}

/// Case C4.
#[test]
fn a_name_that_a_broker_advertises_and_that_does_not_resolve_is_named() {
    let scene = Scene::embedded(1);
    scene.send([&b"x"[..]]);
    let pipeline = scene.pipeline("");
    let pipeline = pipeline.to_str().unwrap();
    let servers = renaming_proxy(&scene.servers);
    let set = format!("source.kafka={{ \"bootstrap.servers\" = \"{servers}\" }}");
    for verb in [
        &["run", pipeline, "--until-end", "--set", &set][..],
        &["check", pipeline, "--connect", "--set", &set],
        &["consume", "--topic", &scene.topic, "--until-end", "--bootstrap", &servers],
    ] {
        let output = scene.turnstile(&[verb, &["--connect-timeout", "3"]].concat());
        assert_eq!(output.status.code(), Some(4), "{verb:?}: {}", text(&output));
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(stderr.contains("x.invalid"), "{verb:?}: {}", text(&output));
        assert!(
            stderr.contains("hint:") && stderr.contains("the names that the brokers advertise"),
            "{verb:?}: {stderr}"
        );
    }
}
