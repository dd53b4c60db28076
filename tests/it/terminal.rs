//! A run on a terminal: the live line.
//!
//! The terminal is a pseudo-terminal of rustix, whose other parts the workspace uses already; so the story needs no program
//! such as `script`.

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::scene::{Scene, finish, messages, signal, until};

/// A terminal of so many columns: the end that a person sees, and the one for a program.
fn terminal(columns: u16) -> (File, OwnedFd) {
    let screen = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let name = ptsname(&screen, Vec::new()).unwrap();
    let program = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    tcsetwinsize(&program, Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    (File::from(screen), program)
}

/// What a run on a terminal of `columns` prints, until it has shown several live lines.
fn screen_of_a_run(scene: &Scene, columns: u16, env: &[(&str, &str)]) -> String {
    let pipeline = scene.pipeline("commit = \"100 ms\"");
    let (mut screen, program) = terminal(columns);
    let mut command = Command::new(env!("CARGO_BIN_EXE_turnstile"));
    command.args(["run", pipeline.to_str().unwrap()]).current_dir(scene.dir.path());
    command.env_remove("NO_COLOR").env("TERM", "xterm-256color").envs(env.iter().copied());
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(program).spawn().unwrap();
    // The command holds its end of the terminal, which would never close.
    drop(command);
    let seen = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
    let reading = std::thread::spawn({
        let seen = std::sync::Arc::clone(&seen);
        move || {
            let mut bytes = [0; 4096];
            // A terminal whose program has ended is an error to read from.
            while let Ok(count @ 1..) = screen.read(&mut bytes) {
                seen.lock().extend_from_slice(&bytes[..count]);
            }
        }
    });
    let lines = || String::from_utf8_lossy(&seen.lock()).matches("\x1b[2K").count();
    until("the live line is redrawn", || lines() >= 4);
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, "INT");
    let mut child = child;
    child.stderr = None;
    let status = child.wait().unwrap();
    assert!(status.success(), "{status}");
    reading.join().unwrap();
    String::from_utf8(seen.lock().clone()).unwrap()
}

/// `text` without colours.
fn plain(text: &str) -> String {
    ["\x1b[2m", "\x1b[33m", "\x1b[1;31m", "\x1b[0m"].iter().fold(text.to_owned(), |text, code| text.replace(code, ""))
}

#[test]
fn the_live_line_is_redrawn_in_place_and_never_wraps() {
    for columns in [80, 60, 40] {
        let scene = Scene::embedded(1);
        let good = messages(400);
        scene.send(good.iter().map(String::as_bytes).chain([&b"no reading"[..]; 3]));
        let screen = screen_of_a_run(&scene, columns, &[]);
        assert!(screen.contains("\x1b[2min\x1b[0m "), "labels are dimmed: {screen:?}");
        let screen = plain(&screen);
        let mut live = 0;
        for drawn in screen.split("\r\x1b[2K").skip(1) {
            let Some(rest) = drawn.strip_prefix("in ") else { continue };
            live += 1;
            // Whatever follows begins with a redraw of the row.
            assert!(!rest.contains('\n'), "a live line was left behind at {columns} columns: {drawn:?}");
            assert!(drawn.len() < usize::from(columns), "{} of {columns} columns: {drawn:?}", drawn.len());
        }
        assert!(live >= 3, "{screen:?}");
        let last = screen.split("\r\x1b[2K").filter(|drawn| drawn.starts_with("in ")).last().unwrap();
        assert!(last.starts_with("in 403 ("), "{last:?}");
        if columns == 80 {
            assert!(last.ends_with("dead letters 3"), "{last:?}");
        }
    }
}

#[test]
fn no_color_means_none_and_a_pipe_has_none() {
    let scene = Scene::embedded(1);
    scene.send(messages(50).iter().map(String::as_bytes));
    let screen = screen_of_a_run(&scene, 80, &[("NO_COLOR", "1")]);
    assert_eq!(screen.replace("\r\x1b[2K", "").matches('\x1b').count(), 0, "{screen:?}");
    let piped = finish(scene.spawn(&["run", "nosuch.toml"], &[]));
    assert!(!piped.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&piped.stderr));
    let wrong = finish(scene.spawn(&["run", "--nosuch"], &[]));
    assert!(!wrong.stderr.contains(&0x1b), "{}", String::from_utf8_lossy(&wrong.stderr));
}
