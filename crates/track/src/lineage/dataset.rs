//! Datasets by OpenLineage's naming conventions, so that other tools' events about the same topic, folder or table meet ours.
//!
//! Source: OpenLineage, "Dataset naming" (Kafka, Google Cloud Storage, S3, ABFSS, local file system, BigQuery, PostgreSQL).

use reqwest::Url;

/// A dataset of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineageDataset {
    /// Which system holds it, such as `kafka://host:9092`.
    pub namespace: String,
    /// Its name there, such as the topic.
    pub name: String,
    /// Names and types of its columns, where they are known.
    pub schema: Option<Vec<(String, String)>>,
}

impl LineageDataset {
    fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into(), schema: None }
    }

    /// The same with its columns: names and types, in order.
    #[must_use]
    pub fn with_schema(self, columns: Vec<(String, String)>) -> Self {
        Self { schema: Some(columns), ..self }
    }

    /// A topic. `bootstrap` is the client's setting `bootstrap.servers`; its first server names the cluster.
    pub fn topic(bootstrap: &str, topic: &str) -> Self {
        let first = bootstrap.split(',').next().unwrap_or_default().trim();
        let first = first.rsplit_once("://").map_or(first, |(_, address)| address);
        let has_port = first.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Self::new(if has_port { format!("kafka://{first}") } else { format!("kafka://{first}:9092") }, topic)
    }

    /// A folder of files, by the lake's URL; a local path has to be absolute. `azure_account` is the account of an `az://` URL.
    /// A user or password in the URL is left out.
    pub fn folder(url: &str, azure_account: Option<&str>) -> Self {
        if let Some(path) = url.strip_prefix("file:") {
            return Self::new("file", path.strip_prefix("//").unwrap_or(path).trim_end_matches('/'));
        }
        let Ok(parsed) = Url::parse(url) else { return Self::new("file", url) };
        let (bucket, path) = (parsed.host_str().unwrap_or_default(), parsed.path().trim_matches('/'));
        let path = if path.is_empty() { "/" } else { path };
        match (parsed.scheme(), azure_account) {
            ("az" | "abfs" | "abfss", Some(account)) => {
                Self::new(format!("abfss://{bucket}@{account}.dfs.core.windows.net"), path)
            }
            ("gs" | "s3", _) => Self::new(format!("{}://{bucket}", parsed.scheme()), path),
            ("s3a", _) => Self::new(format!("s3://{bucket}"), path),
            (scheme, _) => Self::new(format!("{scheme}://{bucket}"), path),
        }
    }

    /// A table of the embedded warehouse, whose files are below the lake's URL.
    pub fn embedded_table(lake: &LineageDataset, table: &str) -> Self {
        Self::new(lake.namespace.clone(), format!("{}/{table}", lake.name.trim_end_matches('/')))
    }

    /// A table in PostgreSQL.
    pub fn postgres_table(host: &str, port: u16, database: &str, schema: &str, table: &str) -> Self {
        Self::new(format!("postgres://{host}:{port}"), format!("{database}.{schema}.{table}"))
    }

    /// A table in BigQuery.
    pub fn bigquery_table(project: &str, dataset: &str, table: &str) -> Self {
        Self::new("bigquery", format!("{project}.{dataset}.{table}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(url: &str) -> (String, String) {
        let dataset = LineageDataset::folder(url, Some("account"));
        (dataset.namespace, dataset.name)
    }

    #[test]
    fn names_follow_the_conventions() {
        let pair = |namespace: &str, name: &str| (namespace.to_owned(), name.to_owned());
        assert_eq!(folder("gs://lake/turnstile/"), pair("gs://lake", "turnstile"));
        assert_eq!(folder("s3a://lake"), pair("s3://lake", "/"));
        assert_eq!(folder("s3://key:hush-hush@lake/a/b"), pair("s3://lake", "a/b"));
        assert_eq!(folder("az://files/a"), pair("abfss://files@account.dfs.core.windows.net", "a"));
        assert_eq!(folder("file:///srv/lake/"), pair("file", "/srv/lake"));
        assert_eq!(folder("file:/srv/lake"), pair("file", "/srv/lake"));

        let topic = LineageDataset::topic("SASL_SSL://broker-1:9093, broker-2:9093", "mta");
        assert_eq!((topic.namespace.as_str(), topic.name.as_str()), ("kafka://broker-1:9093", "mta"));
        assert_eq!(LineageDataset::topic("broker", "mta").namespace, "kafka://broker:9092");
        assert_eq!(LineageDataset::postgres_table("db", 5432, "d", "public", "t").name, "d.public.t");
        assert_eq!(LineageDataset::bigquery_table("p", "d", "t").namespace, "bigquery");
    }
}
