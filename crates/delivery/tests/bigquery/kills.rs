//! A deliverer that is killed at any moment loses no window and doubles none.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::emulator::Dataset;
use crate::scene::{START, STEP};

const KILLS: usize = 20;
/// As many loads at first, and as many more whenever a deliverer came to its end unharmed: there is always something to
/// interrupt, however fast the machine.
const LOADS: i64 = 20;

/// The example `deliver_bigquery`, which cargo builds beside the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("examples/deliver_bigquery");
    assert!(path.exists(), "{} is not built: run `cargo test -p turnstile-delivery`", path.display());
    path
}

fn deliverer(dataset: &Dataset, loads: i64) -> Child {
    let mut command = Command::new(program());
    command.arg(&dataset.server.endpoint).arg(&dataset.server.storage).arg(&dataset.name).arg(loads.to_string());
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

/// A moment between nothing and a whole delivery, in milliseconds: a linear congruential generator, so that a run can
/// be repeated as far as a kill can.
fn moments() -> impl Iterator<Item = Duration> {
    let mut state = 20_261_123_u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Duration::from_millis(20 + (state >> 33) % 1_200)
    })
}

#[tokio::test]
#[ignore = "needs servers: cargo xtask test"]
async fn a_deliverer_killed_at_twenty_moments_loses_no_window_and_doubles_none() {
    let dataset = Dataset::new("kills");
    let (mut killed, mut loads, mut moments) = (0, LOADS, moments());
    while killed < KILLS {
        let mut child = deliverer(&dataset, loads);
        tokio::time::sleep(moments.next().unwrap()).await;
        match child.try_wait().unwrap() {
            Some(status) => {
                assert!(status.success());
                loads += LOADS;
            }
            None => {
                child.kill().unwrap();
                child.wait().unwrap();
                killed += 1;
            }
        }
    }
    let last = deliverer(&dataset, loads).wait_with_output().unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    let mut expected = vec![];
    for window in 0..=loads {
        // Window n comes with load n and is corrected by load n+1.
        let (a, b) = if window < loads { (window + 1_001, window + 2_001) } else { (window, window * 2) };
        let start = START + window * STEP;
        expected.push(vec!["A".to_owned(), start.to_string(), a.to_string()]);
        expected.push(vec!["B".to_owned(), start.to_string(), b.to_string()]);
    }
    let facts = "SELECT station, UNIX_MICROS(start_at), entries FROM {fact_turnstile} ORDER BY 2, 1";
    assert_eq!(dataset.rows(facts).await, expected);
    let stations = dataset.rows("SELECT station_id FROM {dim_station} ORDER BY 1").await;
    assert_eq!(stations, [["0"], ["1"], ["2"], ["3"]]);
    assert_eq!(dataset.rows("SELECT station_id FROM {all_stations}").await, [[loads.to_string()]]);
    assert_eq!(dataset.rows("SELECT `load` FROM {turnstile_position}").await, [[loads.to_string()]]);
}
