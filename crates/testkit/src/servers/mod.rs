//! Servers on loopback: start, ready, stop, kill.
//!
//! Each runs in its own process group, writes to a log file, is awaited for a named time, and is
//! ended by the id of its group when its value is dropped, or when the process that started it dies.

mod azure;
mod bigquery;
mod certificates;
mod cluster;
mod gcs;
mod guard;
mod http;
mod http_server;
mod kafka;
mod kafka_config;
mod kafka_home;
mod port;
mod postgres;
mod prefect;
mod process;
mod registry;
mod s3;
mod secured;
mod spark;
mod token_issuer;

pub use azure::{Azurite, start_azurite};
pub use bigquery::{BigQueryEmulator, BigQueryHome};
pub use certificates::{Certificates, KeyPair};
pub use cluster::KafkaCluster;
pub use gcs::start_fake_gcs;
pub use http_server::HttpServer;
pub use kafka::KafkaServer;
pub use kafka_config::KafkaConfig;
pub use kafka_home::{KafkaHome, kafka_home};
pub use port::free_port;
pub use postgres::PostgresServer;
pub use prefect::{PrefectHome, PrefectServer};
pub use process::{ServerProcess, tail};
pub use registry::RegistryServer;
pub use s3::start_versity;
pub use secured::{SecuredKafka, SecuredListener};
pub use spark::{SparkCluster, SparkHome, SparkServer};

#[cfg(test)]
mod tests {
    use super::http::status;

    fn get(endpoint: &str, path: &str) -> u16 {
        let port = endpoint.rsplit(':').next().unwrap().parse().unwrap();
        status(port, "GET", path, "").unwrap()
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn the_shared_object_stores_answer() {
        let (s3, gcs, azure) = (crate::s3(), crate::gcs(), crate::azure());
        // Without a signature the first is refused rather than not found: the bucket is there.
        assert_eq!(get(&s3.endpoint, &format!("/{}", s3.bucket)), 403);
        assert_eq!(get(&gcs.endpoint, &format!("/storage/v1/b/{}", gcs.bucket)), 200);
        assert_eq!(get(&azure.endpoint, &format!("/{}/{}?restype=container", azure.account, azure.container)), 403);
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn the_shared_prefect_server_answers() {
        let api = crate::prefect();
        assert_eq!(get(api.strip_suffix("/api").unwrap(), "/api/health"), 200);
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn the_shared_emulator_of_bigquery_answers() {
        let bigquery = crate::bigquery();
        assert_eq!(get(&bigquery.endpoint, &format!("/bigquery/v2/projects/{}/datasets", bigquery.project)), 200);
        assert!(bigquery.storage.is_dir());
    }
}
