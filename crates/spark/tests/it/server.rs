//! Spark Connect servers for these tests: one that all share, and one for a test that kills it.

use std::sync::OnceLock;
use std::time::Duration;

use turnstile_spark::{Session, SessionSettings, SparkAddress};
use turnstile_testkit::servers::{SparkHome, SparkServer};

/// The shared server's address. It ends with this process.
pub(crate) fn shared() -> SparkAddress {
    static SERVER: OnceLock<(SparkServer, tempfile::TempDir)> = OnceLock::new();
    let (server, _) = SERVER.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        (SparkServer::start(&home(), dir.path()).unwrap(), dir)
    });
    SparkAddress::parse(&server.remote()).unwrap()
}

pub(crate) fn home() -> SparkHome {
    SparkHome::at(&turnstile_testkit::spark())
}

/// A new session with a server.
pub(crate) async fn session(remote: SparkAddress) -> Session {
    Session::open(remote, patient()).await.unwrap()
}

/// The first call of a new server loads a thousand classes, and other tests run beside it.
pub(crate) fn patient() -> SessionSettings {
    SessionSettings { connect: Duration::from_secs(120), ..SessionSettings::default() }
}
