//! Applies made-up deliveries to a BigQuery emulator, from where the target stands up to the last one: what a test kills
//! at any moment and starts again.
//!
//!     deliver_bigquery ENDPOINT STORAGE DATASET LOADS

#[path = "../tests/bigquery/scene.rs"]
mod scene;

use std::process::ExitCode;

use turnstile_delivery::bigquery::{BigQueryCredentials, BigQuerySettings, BigQueryTarget};
use turnstile_delivery::{Delivery, Scope, TableKind, Target, TargetError};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [endpoint, storage, dataset, loads] = arguments.as_slice() else {
        eprintln!("usage: deliver_bigquery ENDPOINT STORAGE DATASET LOADS");
        return ExitCode::from(2);
    };
    let settings = BigQuerySettings {
        endpoint: endpoint.clone(),
        credentials: BigQueryCredentials::None,
        stage: Some(format!("gs://{dataset}/stage")),
        storage_root: Some(storage.into()),
        part_bytes: 1,
        ..BigQuerySettings::new("test", dataset)
    };
    match deliver(settings, loads.parse().unwrap_or(0)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:?}");
            ExitCode::FAILURE
        }
    }
}

async fn deliver(settings: BigQuerySettings, loads: u64) -> anyhow::Result<()> {
    let mut target = BigQueryTarget::new(settings)?;
    loop {
        let at = target.position().await?.map_or(0, |position| position.load);
        if at >= loads {
            return Ok(());
        }
        match target.apply(&load(at + 1)).await {
            // What a killed predecessor had asked for came through after all.
            Ok(_) | Err(TargetError::Moved { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Load `n` brings window `n`, corrects the one before, and touches both kinds of dimension.
fn load(n: u64) -> Delivery {
    let number = n.cast_signed();
    let mut rows = vec![("A", number, number), ("B", number, number * 2)];
    rows.extend([("A", number - 1, number + 1_000), ("B", number - 1, number + 2_000)]);
    let mut changes = vec![scene::fact_change(&[number - 1, number], &rows)];
    changes.push(scene::station_change(TableKind::Dimension, Scope::Keys, &[(number % 4, "one of four")]));
    changes.push(scene::station_change(TableKind::Table, Scope::Everything, &[(number, "the last one")]));
    scene::delivery(n - 1, n, changes)
}
