//! Reads a block of a Prefect server as plain values: where a lake is, and the keys to it.
//!
//! In: a block's type and name. Out: its values; secrets as [`Secret`]s. Builds no store. Source: Prefect 3.8,
//! `GET /block_types/slug/{type}/block_documents/name/{name}?include_secrets=true`; a block that another refers to
//! comes with it.

use std::fmt;

use serde_json::Value;
use turnstile_values::Secret;

use super::client::PrefectClient;
use super::error::PrefectError;

/// What Prefect shows instead of a secret that the key may not read.
const OBSCURED: &str = "********";
/// The types that are understood.
const TYPES: [&str; 6] = [
    "gcs-bucket",
    "gcp-credentials",
    "s3-bucket",
    "aws-credentials",
    "azure-blob-storage-credentials",
    "azure-blob-storage-container",
];

/// A block: its type and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRef {
    slug: &'static str,
    name: String,
}

/// What a block holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockValues {
    /// The bucket or container, for the types that have one.
    pub bucket: Option<String>,
    /// A folder in it, without slashes at its ends.
    pub folder: Option<String>,
    /// The keys.
    pub credentials: BlockCredentials,
}

/// The keys of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlockCredentials {
    /// None were given: the machine's own are meant, which the caller must be asked for.
    Ambient,
    /// Of Google Cloud.
    Google {
        /// The service account's JSON.
        service_account: Option<Secret>,
        /// A file with it, on the machine that runs.
        file: Option<String>,
        /// The project, if it is named.
        project: Option<String>,
    },
    /// Of S3, or a store that speaks its protocol.
    Aws {
        /// The key's id.
        access_key_id: Option<String>,
        /// The key.
        secret_access_key: Option<Secret>,
        /// The token of a session, for keys that expire.
        session_token: Option<Secret>,
        /// The region.
        region: Option<String>,
        /// The address, when it is not Amazon's.
        endpoint: Option<String>,
    },
    /// Of Azure.
    Azure {
        /// The account.
        account: Option<String>,
        /// Its key, base64.
        account_key: Option<Secret>,
        /// A shared access signature, without the question mark.
        shared_access_signature: Option<Secret>,
        /// The address of blobs, when it is not the account's usual one.
        endpoint: Option<String>,
    },
}

impl BlockRef {
    /// Reads `TYPE/NAME`, such as `gcs-bucket/lake`.
    ///
    /// # Errors
    /// A sentence that names the types.
    pub fn parse(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(slug, name)| {
            let slug = TYPES.into_iter().find(|known| *known == slug)?;
            // It goes into an address as it is: Prefect's own rule for the names of blocks.
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            (!name.is_empty() && name.chars().all(plain)).then(|| Self { slug, name: name.to_owned() })
        });
        parts.ok_or_else(|| format!("{text:?} is no block: TYPE/NAME, where TYPE is one of {}", TYPES.join(", ")))
    }
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.slug, self.name)
    }
}

/// Reads a block with its secrets. Nothing is cached: a key that was changed there is read at the next call.
///
/// # Errors
/// `Block`: it is not there, its secrets are obscured, or a value is missing; `Key`; `Away`, `Busy`: try again.
/// `Settings`: the connection is open, and secrets would come over it. No error repeats what the server said: it could
/// be a secret.
pub async fn read_block(client: &PrefectClient, block: &BlockRef) -> Result<BlockValues, PrefectError> {
    if !client.is_private() {
        let reason = format!("{} is neither https nor on loopback, and secrets would come from it", client.api());
        return Err(PrefectError::Settings(reason));
    }
    let fault = |reason: String| PrefectError::Block { block: block.to_string(), reason };
    let path = format!("/block_types/slug/{}/block_documents/name/{}?include_secrets=true", block.slug, block.name);
    let document = match client.get(&path).await {
        Ok(document) => document,
        Err(PrefectError::Refused { status: 404, .. }) => return Err(fault("is not there".into())),
        Err(PrefectError::Refused { status, .. }) => return Err(fault(format!("was answered with {status}"))),
        Err(PrefectError::Key { status, .. }) => return Err(PrefectError::Key { status, detail: String::new() }),
        Err(other) => return Err(other),
    };
    values(block.slug, &document["data"]).map_err(fault)
}

/// The values of a block's `data`, or what is wrong with it.
fn values(slug: &str, data: &Value) -> Result<BlockValues, String> {
    let alone = |credentials| BlockValues { bucket: None, folder: None, credentials };
    let within = |bucket: &str, folder: &str, credentials| {
        let name = text(data, bucket)?.ok_or_else(|| format!("has no {bucket}"))?;
        let folder = text(data, folder)?.map(|folder| folder.trim_matches('/').to_owned());
        let folder = folder.filter(|folder| !folder.is_empty());
        Ok(BlockValues { bucket: Some(name), folder, credentials })
    };
    match slug {
        "gcp-credentials" => Ok(alone(google(data)?)),
        "aws-credentials" => Ok(alone(aws(data)?)),
        "azure-blob-storage-credentials" => Ok(alone(azure(data)?)),
        "gcs-bucket" => within("bucket", "bucket_folder", google(&data["gcp_credentials"])?),
        "s3-bucket" => within("bucket_name", "bucket_folder", aws(&data["credentials"])?),
        _ => within("container_name", "base_folder", azure(&data["credentials"])?),
    }
}

fn google(data: &Value) -> Result<BlockCredentials, String> {
    let service_account = match &data["service_account_info"] {
        Value::Object(info) if info.values().any(|value| value.as_str() == Some(OBSCURED)) => return Err(obscured()),
        info @ Value::Object(_) => Some(Secret::new(info.to_string())),
        // Some clients stored the file's text.
        Value::String(_) => secret(data, "service_account_info")?,
        _ => None,
    };
    let (file, project) = (text(data, "service_account_file")?, text(data, "project")?);
    if service_account.is_none() && file.is_none() {
        return Ok(BlockCredentials::Ambient);
    }
    Ok(BlockCredentials::Google { service_account, file, project })
}

fn aws(data: &Value) -> Result<BlockCredentials, String> {
    // A bucket of MinIO has its own type of keys.
    let either = |name: &str, other: &str| Ok::<_, String>(text(data, name)?.or(text(data, other)?));
    let access_key_id = either("aws_access_key_id", "minio_root_user")?;
    let secret_access_key = either("aws_secret_access_key", "minio_root_password")?.map(Secret::new);
    let session_token = secret(data, "aws_session_token")?;
    if text(data, "profile_name")?.is_some() && secret_access_key.is_none() {
        return Err("names a profile of a file, which is not read: give the keys themselves".into());
    }
    let region = text(data, "region_name")?;
    let endpoint = text(&data["aws_client_parameters"], "endpoint_url")?;
    if access_key_id.is_none() && secret_access_key.is_none() && region.is_none() && endpoint.is_none() {
        return Ok(BlockCredentials::Ambient);
    }
    Ok(BlockCredentials::Aws { access_key_id, secret_access_key, session_token, region, endpoint })
}

fn azure(data: &Value) -> Result<BlockCredentials, String> {
    let Some(connection) = secret(data, "connection_string")? else {
        let url = text(data, "account_url")?;
        return Ok(match url {
            None => BlockCredentials::Ambient,
            Some(url) => {
                let (account, endpoint) = (account_of(&url), Some(url));
                BlockCredentials::Azure { account, account_key: None, shared_access_signature: None, endpoint }
            }
        });
    };
    // Source: Microsoft's documentation of Azure Storage's connection strings.
    let parts = connection.expose().split(';').filter_map(|part| part.trim().split_once('='));
    let parts: Vec<_> = parts.collect();
    let part = |name: &str| {
        let found = parts.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let endpoint = part("BlobEndpoint").or_else(|| {
        let suffix = part("EndpointSuffix").filter(|suffix| suffix != "core.windows.net")?;
        let protocol = part("DefaultEndpointsProtocol").unwrap_or_else(|| "https".into());
        Some(format!("{protocol}://{}.blob.{suffix}", part("AccountName")?))
    });
    let account = part("AccountName").or_else(|| account_of(endpoint.as_deref()?));
    if account.is_none() {
        return Err("has a connection string without an account".into());
    }
    let account_key = part("AccountKey").map(Secret::new);
    let signature = part("SharedAccessSignature").map(|text| Secret::new(text.trim_start_matches('?')));
    if account_key.is_none() && signature.is_none() {
        return Err("has a connection string without a key or a signature".into());
    }
    Ok(BlockCredentials::Azure { account, account_key, shared_access_signature: signature, endpoint })
}

/// The account of `https://account.blob.core.windows.net`.
fn account_of(url: &str) -> Option<String> {
    let host = url.split_once("://")?.1;
    let (account, rest) = host.split_once('.')?;
    rest.starts_with("blob.").then(|| account.to_owned())
}

/// A value that is text, not empty and not obscured.
fn text(data: &Value, name: &str) -> Result<Option<String>, String> {
    match &data[name] {
        Value::Null => Ok(None),
        Value::String(text) if text == OBSCURED => Err(obscured()),
        Value::String(text) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
        _ => Err(format!("has a {name} that is no text")),
    }
}

fn secret(data: &Value, name: &str) -> Result<Option<Secret>, String> {
    Ok(text(data, name)?.map(Secret::new))
}

fn obscured() -> String {
    "has obscured secrets: the key may not read them".into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_block_is_named_by_a_known_type_and_a_plain_name() {
        assert_eq!(BlockRef::parse("s3-bucket/lake-1").unwrap().to_string(), "s3-bucket/lake-1");
        for text in ["lake", "s3/lake", "gcs-bucket/", "gcs-bucket/../x", "gcs-bucket/a?b", "gcs-bucket/Lake"] {
            let error = BlockRef::parse(text).unwrap_err();
            assert!(error.contains("azure-blob-storage-credentials"), "{error}");
        }
    }

    #[test]
    fn a_connection_string_of_azure_gives_account_key_and_address() {
        let azure =
            |connection: &str| values("azure-blob-storage-credentials", &json!({"connection_string": connection}));
        let usual =
            azure("DefaultEndpointsProtocol=https;AccountName=me;AccountKey=a2V5==;EndpointSuffix=core.windows.net");
        let credentials = usual.unwrap().credentials;
        let BlockCredentials::Azure { account, account_key, endpoint, .. } = credentials else { panic!() };
        assert_eq!((account.as_deref(), account_key.unwrap().expose(), endpoint), (Some("me"), "a2V5==", None));
        let signed = azure("BlobEndpoint=https://me.blob.core.windows.net;SharedAccessSignature=?sv=1&sig=x").unwrap();
        let BlockCredentials::Azure { account, shared_access_signature, .. } = signed.credentials else { panic!() };
        assert_eq!((account.as_deref(), shared_access_signature.unwrap().expose()), (Some("me"), "sv=1&sig=x"));
        let local = azure("AccountName=dev;AccountKey=aw==;BlobEndpoint=http://127.0.0.1:10000/dev").unwrap();
        let BlockCredentials::Azure { endpoint, .. } = local.credentials else { panic!() };
        assert_eq!(endpoint.as_deref(), Some("http://127.0.0.1:10000/dev"));
        for wrong in ["nonsense-hunter2", "AccountName=me", "AccountKey=hunter2"] {
            let error = azure(wrong).unwrap_err();
            assert!(error.contains("connection string without") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn what_is_obscured_missing_or_meant_for_another_machine_is_said_without_a_secret() {
        for (slug, data, expected) in [
            ("aws-credentials", json!({"aws_access_key_id": "A", "aws_secret_access_key": OBSCURED}), "may not read"),
            (
                "gcs-bucket",
                json!({"bucket": "b", "gcp_credentials": {"service_account_info": {"k": OBSCURED}}}),
                "may not read",
            ),
            ("s3-bucket", json!({"credentials": {"aws_secret_access_key": "hunter2"}}), "has no bucket_name"),
            ("aws-credentials", json!({"profile_name": "p"}), "names a profile"),
        ] {
            let error = values(slug, &data).unwrap_err();
            assert!(error.contains(expected) && !error.contains("hunter2"), "{error}");
        }
        let none = values("gcs-bucket", &json!({"bucket": "b", "bucket_folder": "/raw/"})).unwrap();
        assert_eq!(none.credentials, BlockCredentials::Ambient);
        assert_eq!((none.bucket.as_deref(), none.folder.as_deref()), (Some("b"), Some("raw")));
    }
}
