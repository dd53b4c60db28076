//! What goes wrong around a run on a cluster: the lake refuses, the query fails again and again, the token expires.

use std::time::{Duration, Instant};

use crate::disk::Disk;
use crate::prefect::{PrefectAnswers, newest};
use crate::scene::{SQL, Scene, expected, messages, published_rows, signal, text, until};
use crate::spark_scene::{
    CLUSTER_PATIENCE, STREAM, closing, finish_slowly, home, lake_setting, listen, send, server, server_of, spark_lake,
    stop,
};

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_lake_that_refuses_while_the_query_goes_on_gets_everything_later() {
    let scene = Scene::apache("spark-refused", 2);
    let server = server(&scene);
    let pipeline = scene.pipeline(STREAM);
    let all = messages(1_000);
    // The lake is a disk that is full at once; the cluster's folder in it is on another one, where the cluster sees it.
    let cluster_lake = scene.dir.path().join("cluster-lake");
    let of_query = "_turnstile/story/spark";
    std::fs::create_dir_all(cluster_lake.join(of_query)).unwrap();
    let disk = Disk::mount(&spark_lake(&scene), "size=64k");
    std::fs::create_dir_all(disk.path().join(of_query)).unwrap();
    let mut mount = disk.command("mount");
    mount.arg("--bind").arg(cluster_lake.join(of_query)).arg(spark_lake(&scene).join(of_query));
    assert!(mount.status().unwrap().success());
    let (lake, remote) = (lake_setting(&scene), server.remote());
    let for_cluster = format!("spark.lake=file:{}", cluster_lake.display());
    let arguments = ["run", pipeline.to_str().unwrap(), "--engine", "spark", "--remote", &remote, "--set", &lake];
    let arguments = [&arguments[..], &["--set", &for_cluster]].concat();
    let mut run = scene.spawn_on(&disk, &arguments);
    let said = listen(&mut run);
    scene.send(all[..600].iter().map(String::as_bytes));
    until("the lake refuses", || said.lock().contains("No space left"));
    let log = server.process().log().to_owned();
    let batches = || std::fs::read_to_string(&log).unwrap().matches("Committed").count();
    let before = batches();
    scene.send(all[600..].iter().map(String::as_bytes));
    send(&scene, &closing());
    let began = Instant::now();
    while batches() < before + 2 {
        assert!(began.elapsed() < CLUSTER_PATIENCE, "the query waits for the lake");
        std::thread::sleep(Duration::from_millis(100));
    }
    disk.remount("size=64m");
    let lake = disk.path();
    let began = Instant::now();
    while published_rows(&lake) != expected(&all) {
        let rows = published_rows(&lake).len();
        assert!(began.elapsed() < CLUSTER_PATIENCE, "{rows} rows\n{}", said.lock());
        std::thread::sleep(Duration::from_millis(200));
    }
    signal(&run, "INT");
    assert!(run.wait().unwrap().success(), "{}", said.lock());
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_query_that_fails_again_and_again_fails_the_run_here_and_in_prefect() {
    let scene = Scene::apache("spark-fails", 1);
    let server = server(&scene);
    let api = turnstile_testkit::prefect();
    let settings = format!("[track.prefect]\napi = \"{api}\"\nrequests_per_minute = 6000\n");
    let pipeline = scene.pipeline_with(STREAM, &settings, SQL);
    let pipeline = pipeline.to_str().unwrap();
    // Two readings whose sum does not fit 64 bits.
    let most =
        |at: usize| messages(60)[at].replace(&format!("REGULAR,{},", at % 17), &format!("REGULAR,{},", i64::MAX));
    send(&scene, &[most(0).into_bytes(), most(12).into_bytes()]);
    send(&scene, &closing());
    let remote = server.remote();
    let run = scene.spawn(&["run", pipeline, "--engine", "spark", "--remote", &remote], &[]);
    let output = finish_slowly(run);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).contains("ARITHMETIC_OVERFLOW"), "{}", text(&output));
    assert!(!text(&output).contains("at org.apache.spark"), "{}", text(&output));

    let newest = newest(&scene, pipeline).unwrap();
    assert_eq!(newest["state"], "FAILED", "{newest}");
    let flow_run = PrefectAnswers::of(&api).flow_run_in(newest["id"].as_str().unwrap(), "FAILED");
    assert!(flow_run["state"]["message"].to_string().contains("ARITHMETIC_OVERFLOW"), "{flow_run}");
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_token_that_expires_ends_the_run_with_what_to_renew() {
    let scene = Scene::apache("spark-token", 1);
    let token = "spark.connect.authenticate.token";
    let mut server = server_of(&scene, &home().property(token, "canary-token-91c2"));
    let pipeline = scene.pipeline(STREAM);
    let address = format!("{}/;use_ssl=false;token=canary-token-91c2", server.remote());
    let environment = [("SPARK_REMOTE", address.as_str())];
    let lake = lake_setting(&scene);
    let arguments = ["run", pipeline.to_str().unwrap(), "--engine", "spark", "--set", &lake];
    let all = messages(200);
    scene.send(all.iter().map(String::as_bytes));
    send(&scene, &closing());
    let run = scene.spawn(&arguments, &environment);
    let began = Instant::now();
    while published_rows(&spark_lake(&scene)) != expected(&all) {
        assert!(began.elapsed() < CLUSTER_PATIENCE, "{}", text(&stop(run)));
        std::thread::sleep(Duration::from_millis(200));
    }
    // The server has another one from now on.
    server.restart_with(token, "canary-token-5b77").unwrap();
    let output = finish_slowly(run);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
    let said = text(&output);
    assert!(said.contains("refuses access") && said.contains("renew the token"), "{said}");
    assert!(!said.contains("canary-token"), "{said}");
}
