//! The settings of a lake's store, with the credentials of a Prefect block where the pipeline names one.

use std::time::Duration;

use turnstile_lake::StoreOptions;
use turnstile_pipeline::Pipeline;
use turnstile_track::{BlockCredentials, BlockRef, PrefectClient, read_block};

use super::secret::prefect_key;
use super::settings::store_options;
use crate::exit::Exit;
use crate::report::Failure;

/// The environment variable of Prefect's own clients that says where the API is.
const API: &str = "PREFECT_API_URL";

/// How long Prefect may take to give a block.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The store options of a pipeline's lake. What `[lake] options` says goes before what the block says.
///
/// # Errors
/// The block cannot be read; no server is named.
pub(crate) async fn lake_options(pipeline: &Pipeline) -> anyhow::Result<StoreOptions> {
    let options = store_options(pipeline);
    let Some(text) = &pipeline.lake.prefect_block else { return Ok(options) };
    let failed = |error: anyhow::Error| {
        Failure::new(Exit::Lake, format!("the lake's credentials cannot be read from Prefect's block {text}"))
            .cause(error)
    };
    let block = BlockRef::parse(text).map_err(|error| failed(anyhow::anyhow!(error)))?;
    let section = pipeline.track.prefect.as_ref();
    let api = section.map(|section| section.api.clone()).or_else(|| std::env::var(API).ok());
    let Some(api) = api.filter(|api| !api.is_empty()) else {
        let cause = anyhow::anyhow!("no Prefect server is named");
        return Err(failed(cause).hint(format!("set api in [track.prefect], or {API}")).into());
    };
    let key = prefect_key(section.and_then(|section| section.key.as_ref()))?;
    let client = PrefectClient::connect(&api, key, TIMEOUT).map_err(|error| failed(error.into()))?;
    let values = read_block(&client, &block).await.map_err(|error| failed(error.into()))?;
    let mut from_block = StoreOptions::default();
    for (key, value) in store_keys(values.credentials) {
        from_block = from_block.set(key, value);
    }
    for (key, value) in &pipeline.lake.options {
        from_block = from_block.set(key, value);
    }
    Ok(from_block)
}

/// A block's credentials by the names of the store's settings.
fn store_keys(credentials: BlockCredentials) -> Vec<(&'static str, String)> {
    let exposed = |secret: turnstile_values::Secret| secret.expose().to_owned();
    let mut keys = Vec::new();
    let mut set = |key, value: Option<String>| keys.extend(value.map(|value| (key, value)));
    // Only an address that the block itself gives without TLS is taken without.
    let open = |endpoint: &Option<String>| {
        endpoint.as_ref().filter(|endpoint| endpoint.starts_with("http://")).map(|_| "true".to_owned())
    };
    match credentials {
        BlockCredentials::Ambient => {}
        BlockCredentials::Google { service_account, file, project: _ } => {
            set("google_service_account_key", service_account.map(exposed));
            set("google_service_account", file);
        }
        BlockCredentials::Aws { access_key_id, secret_access_key, session_token, region, endpoint } => {
            set("aws_access_key_id", access_key_id);
            set("aws_secret_access_key", secret_access_key.map(exposed));
            set("aws_session_token", session_token.map(exposed));
            set("aws_region", region);
            set("allow_http", open(&endpoint));
            set("aws_endpoint", endpoint);
        }
        BlockCredentials::Azure { account, account_key, shared_access_signature, endpoint } => {
            set("azure_storage_account_name", account);
            set("azure_storage_account_key", account_key.map(exposed));
            set("azure_storage_sas_key", shared_access_signature.map(exposed));
            set("allow_http", open(&endpoint));
            set("azure_storage_endpoint", endpoint);
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use turnstile_values::Secret;

    use super::*;

    #[test]
    fn a_block_of_each_kind_becomes_the_settings_of_its_store() {
        let text = |text: &str| Some(text.to_owned());
        let aws = BlockCredentials::Aws {
            access_key_id: text("id"),
            secret_access_key: Some(Secret::new("key")),
            session_token: None,
            region: text("us-east-1"),
            endpoint: text("http://127.0.0.1:7070"),
        };
        let expected = [
            ("aws_access_key_id", "id"),
            ("aws_secret_access_key", "key"),
            ("aws_region", "us-east-1"),
            ("allow_http", "true"),
            ("aws_endpoint", "http://127.0.0.1:7070"),
        ];
        assert_eq!(store_keys(aws), expected.map(|(key, value)| (key, value.to_owned())));
        let google =
            BlockCredentials::Google { service_account: Some(Secret::new("{}")), file: None, project: text("p") };
        assert_eq!(store_keys(google), [("google_service_account_key", "{}".to_owned())]);
        let azure = BlockCredentials::Azure {
            account: text("a"),
            account_key: Some(Secret::new("k")),
            shared_access_signature: None,
            endpoint: None,
        };
        assert_eq!(store_keys(azure).len(), 2);
        assert_eq!(store_keys(BlockCredentials::Ambient), []);
    }
}
