//! No secret leaks: not into what a verb prints, with every log on, not into the lake or what is kept next to it, and
//! not into the list of processes, where every user of the machine can see arguments.

use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine as _};
use turnstile_testkit::servers::SecuredListener;

use crate::interop::python;
use crate::scene::{PATIENCE, SQL, Scene, messages, signal, text, until};
use crate::security::{PLAIN, SECRET, Secured};
use crate::targets::{FACTS, Targets};

/// What must not be seen, of one story.
struct Canary<'a> {
    scene: &'a Scene,
    secrets: Vec<String>,
    env: Vec<(&'a str, &'a str)>,
}

impl<'a> Canary<'a> {
    /// A login over HTTP sends user and password in base64; that tells as much.
    fn new(scene: &'a Scene, secrets: &[&str]) -> Self {
        let coded = secrets.iter().map(|secret| BASE64_STANDARD.encode(format!("reader:{secret}")));
        let secrets = coded.chain(secrets.iter().map(|secret| (*secret).to_owned())).collect();
        Self { scene, secrets, env: vec![("TURNSTILE_LOG", "trace")] }
    }

    /// With something more in the environment.
    fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.env.push((name, value));
        self
    }

    fn start(&self, verb: &[&str]) -> Watched {
        let mut child = self.scene.spawn(verb, &self.env);
        let ended = Arc::new(AtomicBool::new(false));
        let (pid, stop, secrets, name) = (child.id(), ended.clone(), self.secrets.clone(), verb.join(" "));
        let watcher = std::thread::spawn(move || {
            let mut looks = 0;
            while !stop.load(Ordering::Relaxed) {
                for arguments in arguments_of(pid) {
                    assert!(shown(&secrets, &arguments).is_none(), "{name}: a secret is an argument");
                    looks += 1;
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            looks
        });
        // It is seen at least once, however quick it is: a process that has ended keeps its entry until it is awaited.
        while child.try_wait().unwrap().is_none() && arguments_of(pid).is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // What it prints must not fill the pipes.
        let output = (drain(child.stdout.take().unwrap()), drain(child.stderr.take().unwrap()));
        Watched { child, ended, watcher, output }
    }

    fn end(&self, verb: &str, mut watched: Watched) -> Output {
        let output = watched.output_at_end();
        watched.ended.store(true, Ordering::Relaxed);
        let looks = watched.watcher.join().expect("no secret is an argument");
        let all = text(&output);
        if let Some(secret) = shown(&self.secrets, all.as_bytes()) {
            panic!("{verb} shows {secret:?}: {:?}", all.lines().find(|line| line.contains(secret)));
        }
        // A verb that refuses its input may be gone before anybody looks.
        assert!(looks > 0 || output.status.code() == Some(3), "{verb}: its arguments were never seen");
        output
    }

    /// Runs each verb to its end, which is to be a good one.
    fn all(&self, verbs: &[&[&str]]) {
        for verb in verbs {
            let output = self.end(&verb.join(" "), self.start(verb));
            assert!(output.status.success(), "{verb:?}: {}", text(&output));
        }
    }

    /// Runs each verb to its end, which is to be a bad one.
    fn none(&self, verbs: &[&[&str]]) {
        for verb in verbs {
            let output = self.end(&verb.join(" "), self.start(verb));
            assert!(!output.status.success(), "{verb:?}: {}", text(&output));
        }
    }

    /// Looks through every file below `folder`, packed ones too.
    fn search(&self, folder: &Path) {
        let (mut pending, mut files) = (vec![folder.to_owned()], 0);
        while let Some(path) = pending.pop() {
            if path.is_dir() {
                pending.extend(std::fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                continue;
            }
            let is_packed = path.extension().is_some_and(|ending| ending == "gz");
            let bytes =
                if is_packed { crate::scene::unpack(&path).into_bytes() } else { std::fs::read(&path).unwrap() };
            assert!(shown(&self.secrets, &bytes).is_none(), "{} holds a secret", path.display());
            files += 1;
        }
        assert!(files > 0, "{} is empty", folder.display());
    }
}

struct Watched {
    child: Child,
    ended: Arc<AtomicBool>,
    watcher: std::thread::JoinHandle<usize>,
    /// What it prints: stdout and stderr.
    output: (Printed, Printed),
}

type Printed = Option<std::thread::JoinHandle<Vec<u8>>>;

fn drain(mut pipe: impl Read + Send + 'static) -> Printed {
    Some(std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    }))
}

impl Watched {
    /// Waits for its end; what it has printed.
    fn output_at_end(&mut self) -> Output {
        let began = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if began.elapsed() > PATIENCE {
                self.child.kill().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let printed = |printed: &mut Printed| printed.take().unwrap().join().unwrap();
        Output { status, stdout: printed(&mut self.output.0), stderr: printed(&mut self.output.1) }
    }
}

/// The arguments of a process and of those that it has started; of none that has ended.
fn arguments_of(pid: u32) -> Vec<Vec<u8>> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let all = children.split_whitespace().filter_map(|pid| pid.parse().ok()).chain([pid]);
    all.filter_map(|pid: u32| std::fs::read(format!("/proc/{pid}/cmdline")).ok())
        .filter(|all| !all.is_empty())
        .collect()
}

fn shown<'s>(secrets: &'s [String], bytes: &[u8]) -> Option<&'s str> {
    let held = |secret: &&String| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
    secrets.iter().find(held).map(String::as_str)
}

/// The first published file's name below the lake.
fn a_file(scene: &Scene) -> String {
    let file = crate::scene::data_files(&scene.lake()).remove(0);
    file.strip_prefix(scene.lake()).unwrap().to_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_password_stays_hidden_by_every_verb() {
    let secured = Secured::start();
    secured.broker.allow("reader", "All", &["--topic", "t", "--topic", "dead", "--group", "g"]).unwrap();
    // librdkafka tells all it knows.
    let lines = format!("{PLAIN}{SECRET}\ngroup.id=g\ndebug=all");
    let properties = secured.properties(&secured.broker.at(SecuredListener::Sasl), &lines);
    let pipeline = secured.pipeline(&properties, "dead_letter_topic = \"dead\"");
    let (config, pipeline) = (properties.to_str().unwrap(), pipeline.to_str().unwrap());
    // Something for the dead letters.
    secured.scene.send([&b"broken"[..]]);
    let canary = Canary::new(&secured.scene, &[SECRET]);
    canary.all(&[&["run", pipeline, "--drain"]]);
    let file = a_file(&secured.scene);
    canary.all(&[
        &["check", pipeline],
        &["check", pipeline, "--connect"],
        &["check", pipeline, "--connect", "--json"],
        &["produce", "--topic", "t", "--count", "1", "--every", "1ms", "--config", config],
        &["consume", "--topic", "t", "--until-end", "--config", config],
        &["consume", "--topic", "t", "--until-end", "--config", config, "--pipeline", pipeline],
        &["consume", "--topic", "t", "--groupid", "g", "--until-end", "--config", config],
        &["stream", "--topic", "t", "--group", "g", "--config", config, "--until-end"],
        &["stream", "--topic", "t", "--group", "g", "--config", config, "--print-pipeline"],
        &["topic", "list", "--config", config],
        &["topic", "describe", "t", "--config", config],
        &["lag", pipeline],
        &["lag", "--group", "g", "--topic", "t", "--config", config],
        &["status", pipeline],
        &["audit", pipeline],
        &["explain", &file, pipeline],
        &["replay", &file, pipeline, "--to", "again"],
        &["sql", "--pipeline", pipeline, "SHOW TABLES"],
        &["deadletter", "list", pipeline],
        &["deadletter", "show", pipeline],
        &["deadletter", "requeue", pipeline],
    ]);
    canary.search(&secured.scene.lake());
    canary.search(&secured.scene.dir.path().join("turnstile-data"));
    canary.search(&secured.scene.dir.path().join("again"));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn secrets_of_the_environment_and_of_files_stay_hidden() {
    let secured = Secured::start();
    secured.broker.allow("reader", "All", &["--topic", "t", "--group", "*"]).unwrap();
    let lines = PLAIN.replace("sasl.password=", "debug=all");
    let properties = secured.properties(&secured.broker.at(SecuredListener::Sasl), &lines);
    let (config, pipeline) = (properties.to_str().unwrap(), secured.pipeline(&properties, ""));
    let verbs: &[&[&str]] = &[
        &["run", pipeline.to_str().unwrap(), "--until-end"],
        &["check", pipeline.to_str().unwrap(), "--connect"],
        &["consume", "--topic", "t", "--until-end", "--config", config],
    ];
    Canary::new(&secured.scene, &[SECRET]).with("TURNSTILE_KAFKA_SASL_PASSWORD", SECRET).all(verbs);
    let held = secured.scene.dir.path().join("held");
    std::fs::write(&held, SECRET).unwrap();
    let held = held.to_str().unwrap();
    Canary::new(&secured.scene, &[SECRET]).with("TURNSTILE_KAFKA_SASL_PASSWORD_FILE", held).all(verbs);
    Canary::new(&secured.scene, &["hush-hush"]).with("TURNSTILE_KAFKA_SASL_PASSWORD", "hush-hush").none(verbs);
    std::fs::remove_file(held).unwrap();
    let canary = Canary::new(&secured.scene, &[SECRET]);
    canary.search(&secured.scene.lake());
    // `up` has its own broker, and no use for this; what it keeps next to its data must not contain it either.
    let canary = Canary::new(&secured.scene, &["hush-hush"]).with("TURNSTILE_KAFKA_SASL_PASSWORD", "hush-hush");
    let running = canary.start(&["up", "--dir", "data", "--port", "0", "--speed", "600", "--stations", "2"]);
    let up = secured.scene.dir.path().join("data");
    until("something is published", || !crate::scene::data_files(&up.join("lake")).is_empty());
    signal(&running.child, "INT");
    assert!(canary.end("up", running).status.success());
    canary.search(&up);
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn passwords_of_keys_and_stores_and_secrets_for_tokens_stay_hidden() {
    let secured = Secured::start();
    secured.broker.allow("reader", "All", &["--topic", "t", "--group", "*"]).unwrap();
    let made = secured.broker.certificates();
    let authority = made.authority.display();
    let [store, key] = ["client.p12", "client.locked.key"].map(|name| secured.scene.dir.path().join(name));
    locked(&["pkcs12", "-export", "-inkey"], &made.client.key, "-in", &made.client.certificate, "store-pw", &store);
    locked(&["pkcs8", "-topk8", "-v2", "aes256", "-in"], &made.client.key, "-inform", Path::new("PEM"), "key-pw", &key);
    let tls = format!("security.protocol=SSL\nssl.ca.location={authority}\ndebug=all\n");
    let by_store =
        |password: &str| format!("{tls}ssl.keystore.location={}\nssl.keystore.password={password}", store.display());
    let by_key = |password: &str| {
        let (certificate, key) = (made.client.certificate.display(), key.display());
        format!("{tls}ssl.certificate.location={certificate}\nssl.key.location={key}\nssl.key.password={password}")
    };
    let by_token = |secret: &str| {
        format!(
            "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\nsasl.oauthbearer.method=oidc\ndebug=all\n\
             sasl.oauthbearer.token.endpoint.url={}\nsasl.oauthbearer.client.id=reader\n\
             sasl.oauthbearer.client.secret={secret}",
            secured.broker.token_endpoint()
        )
    };
    let (mutual, open_id) = (SecuredListener::MutualTls, SecuredListener::OpenId);
    for (listener, lines, wrong, secrets) in [
        (mutual, by_store("store-pw"), by_store("hush-hush"), ["store-pw", "hush-hush"]),
        (mutual, by_key("key-pw"), by_key("hush-hush"), ["key-pw", "hush-hush"]),
        (open_id, by_token(SECRET), by_token("hush-hush"), [SECRET, "hush-hush"]),
    ] {
        let canary = Canary::new(&secured.scene, &secrets);
        let properties = secured.properties(&secured.broker.at(listener), &lines);
        let (config, pipeline) = (properties.to_str().unwrap(), secured.pipeline(&properties, ""));
        let verbs: &[&[&str]] = &[
            &["run", pipeline.to_str().unwrap(), "--until-end"],
            &["check", pipeline.to_str().unwrap(), "--connect"],
            &["consume", "--topic", "t", "--until-end", "--config", config],
            &["produce", "--topic", "t", "--count", "1", "--every", "1ms", "--config", config],
            &["topic", "describe", "t", "--config", config],
        ];
        canary.all(verbs);
        secured.properties(&secured.broker.at(listener), &wrong);
        canary.none(verbs);
        canary.search(&secured.scene.lake());
    }
}

fn locked(how: &[&str], key: &Path, with: &str, value: &Path, password: &str, to: &Path) {
    let mut openssl = Command::new("openssl");
    openssl.args(how).arg(key).arg(with).arg(value).args(["-passout", &format!("pass:{password}"), "-out"]).arg(to);
    let out = openssl.output().unwrap();
    assert!(out.status.success(), "{}", text(&out));
}

/// The pipeline at `path` with messages that name their schema in a registry, which wants a password.
fn with_registry(path: &Path) {
    let registry = format!(
        "format = \"avro\"\nregistry = {{ url = \"{}\", user = \"reader\", password_env = \"REGISTRY_PASSWORD\" }}",
        turnstile_testkit::registry()
    );
    let text = std::fs::read_to_string(path).unwrap().replace("format = \"csv\"", &registry);
    assert!(text.contains("REGISTRY_PASSWORD"), "{text}");
    std::fs::write(path, text).unwrap();
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn passwords_of_the_registry_and_of_a_database_stay_hidden() {
    let scene = Scene::apache("canary-registry", 1);
    python("sender.py", &scene, &["avro", &turnstile_testkit::registry(), "400"], &messages(400));
    let targets = Targets::make("canary", false);
    let pipeline: PathBuf = scene.pipeline_with("", &targets.settings("1 minute", 100_000), FACTS);
    with_registry(&pipeline);
    let file = pipeline.to_str().unwrap();
    let [(variable, password)] = targets.environment();
    let mut canary = Canary::new(&scene, &[password, "registry-pw"]).with("REGISTRY_PASSWORD", "registry-pw");
    let consume = ["consume", "--topic", &scene.topic, "--bootstrap", &scene.servers, "--until-end"];
    canary.env.push((variable, password));
    canary.all(&[&["run", file, "--drain"]]);
    let window = a_file(&scene);
    canary.all(&[
        &["check", file, "--connect"],
        &[&consume[..], &["--pipeline", file]].concat(),
        &["models", "check", file],
        &["warehouse", "run", "--once", file],
        &["warehouse", "status", file],
        &["models", "test", file],
        &["replay", &window, file, "--to", "again"],
        &["sql", "--pipeline", file, "SELECT station, sum(entries) FROM fact_turnstile GROUP BY 1"],
    ]);
    canary.search(&scene.lake());
    let mut wrong = Canary::new(&scene, &["hush-hush"]).with("REGISTRY_PASSWORD", "hush-hush");
    wrong.env.push((variable, "hush-hush"));
    scene.send(messages(500).iter().map(String::as_bytes));
    wrong.none(&[&["warehouse", "run", "--once", file, "--set", "warehouse.retry_for=\"1 second\""]]);
    wrong.search(&scene.lake());
}

/// A port of this machine at which nothing listens.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn secrets_of_reports_and_of_the_console_are_in_no_page_metric_spool_or_store() {
    let scene = Scene::embedded(1);
    scene.send(messages(300).iter().map(String::as_bytes).chain([b"nonsense".as_slice(), b"more of it"]));
    // Nothing takes the reports: what is to be delivered later waits on disk.
    let (away, port) = (free_port(), free_port());
    let settings = format!(
        "[warehouse]\ntable = \"ext_story\"\nschedule = \"1 minute\"\n\
         [console]\nlisten = \"127.0.0.1:{port}\"\ntoken_env = \"CONSOLE\"\n\
         [alerts]\nwebhook_env = \"HOOK\"\ndead_letters_per_minute = 1\nfor = \"0 s\"\n\
         [track.prefect]\napi = \"http://127.0.0.1:{away}/api\"\nkey_env = \"PREFECT\"\n\
         [track.lineage]\nurl = \"http://127.0.0.1:{away}/lineage\"\nkey_env = \"LINEAGE\"\n\
         [track.otlp]\nendpoint = \"http://127.0.0.1:{away}\"\nheader_env = \"OTLP\"\n"
    );
    let pipeline = scene.pipeline_with("commit = \"100 ms\"", &settings, SQL);
    let (file, hook) = (pipeline.to_str().unwrap(), format!("http://127.0.0.1:{away}/hook-hush-hush"));
    let secrets = ["console-hush-hush", "hook-hush-hush", "prefect-hush-hush", "lineage-hush-hush", "otlp-hush-hush"];
    let canary = Canary::new(&scene, &secrets)
        .with("CONSOLE", "console-hush-hush")
        .with("HOOK", &hook)
        .with("PREFECT", "prefect-hush-hush")
        .with("LINEAGE", "lineage-hush-hush")
        .with("OTLP", "x-key: otlp-hush-hush");
    let running = canary.start(&["run", file]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::new();
    let get = |path: &str| {
        runtime.block_on(async {
            let request = client.get(format!("http://127.0.0.1:{port}{path}")).bearer_auth("console-hush-hush");
            let answer = request.send().await.ok()?;
            let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
            Some((status, headers + &answer.text().await.ok()?))
        })
    };
    until("all is read", || get("/metrics").is_some_and(|(_, text)| text.contains("fate=\"dead_lettered\"} 2")));
    until("an alert was raised", || get("/p/story").is_some_and(|(_, page)| page.contains("dead_letters_per_minute")));
    let listed = scene.turnstile(&["runs", "list", file, "--json"]);
    let run: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let window = "/windows/2026-08-01T00:00:00Z".to_owned();
    let own = ["", "/windows", "/partitions", "/dead-letters", "/stations", "/runs", "/sql", "/pipeline", "/nosuch"];
    let of_pipeline =
        own.map(str::to_owned).into_iter().chain([window, format!("/runs/{}", run["id"].as_str().unwrap())]);
    let pages = of_pipeline.map(|path| format!("/p/story{path}"));
    for path in pages.chain(["/metrics", "/healthz", "/readyz", "/login"].map(str::to_owned)) {
        let (status, page) = get(&path).unwrap();
        assert!(status == 200 || path.ends_with("nosuch"), "{path}: {status} {page}");
        if let Some(secret) = shown(&canary.secrets, page.as_bytes()) {
            panic!("{path} shows {secret:?}");
        }
    }
    signal(&running.child, "INT");
    let ended = canary.end("run", running);
    assert!(ended.status.success(), "{}", text(&ended));
    canary.search(&scene.lake());
    let data = scene.dir.path().join("turnstile-data");
    assert!(data.join("runs.sqlite").exists() && data.join("prefect").exists(), "{}", data.display());
    canary.search(&data);
}
