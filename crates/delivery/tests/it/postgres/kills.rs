//! kill -9 of the deliverer at random moments: no window is missing, none is doubled, none is half.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use turnstile_delivery::Target;

use super::test_database::TestDatabase;

const KILLS: u32 = 20;
/// What `examples/postgres_windows.rs` makes.
const ROWS: i64 = 3_000;
const FEWER: i64 = 7;

/// The example, built with the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(|deps| deps.parent()).unwrap().join("examples/postgres_windows");
    assert!(program.is_file(), "{} is not built: cargo build --examples", program.display());
    program
}

fn start(database: &TestDatabase) -> (Child, BufReader<ChildStdout>) {
    let mut command = Command::new(program());
    let (server, name) = (&database.server, &database.name);
    command.arg(format!("postgres://{}@{}:{}/{name}", server.user, server.host, server.port));
    command.env("PGPASSWORD", database.server.password).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs servers: cargo xtask test"]
async fn twenty_kills_in_mid_load_leave_every_window_whole() {
    let database = TestDatabase::new().await;
    let mut last_load = 0;
    // A fixed seed: which moments are tried is the same in each run, what happens in them is not.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for kill in 0..KILLS {
        let (mut child, mut out) = start(&database);
        let mut line = String::new();
        for _ in 0..kill % 3 {
            line.clear();
            out.read_line(&mut line).unwrap();
        }
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        sleep(Duration::from_micros((random >> 33) % 80_000));
        child.kill().unwrap();
        child.wait().unwrap();

        let position = database.target().position().await.unwrap();
        let load = position.map_or(0, |position| position.load);
        assert!(load >= last_load, "the position went back from {last_load} to {load}");
        let reported = line.strip_prefix("load ").and_then(|rest| rest.split(':').next()?.parse().ok()).unwrap_or(0);
        assert!(load >= reported, "load {reported} was reported as committed, but the position is {load}");
        last_load = load;
        if load > 0 {
            assert_eq!(windows_in(&database).await, expected(load as i64), "after kill {kill}");
        }
    }
    assert!(last_load > 5, "only {last_load} loads in {KILLS} runs: the kills came too early to prove anything");
}

/// Window, rows, sum.
async fn windows_in(database: &TestDatabase) -> Vec<String> {
    let sql = "SELECT (extract(epoch FROM start_at) / 300)::bigint, count(*), sum(entries) FROM turnstile.entries \
               GROUP BY 1 ORDER BY 1";
    database.sql(sql).await
}

/// The same by arithmetic: all windows but the last are corrected.
fn expected(load: i64) -> Vec<String> {
    let window = |window: i64| {
        let (count, more) = if window < load { (ROWS - FEWER, 1) } else { (ROWS, 0) };
        format!("{window}|{count}|{}", window * count * (count - 1) / 2 + more * count)
    };
    (1..=load).map(window).collect()
}
