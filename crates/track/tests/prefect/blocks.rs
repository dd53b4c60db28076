use serde_json::{Value, json};
use turnstile_track::{BlockCredentials, BlockRef, BlockValues, PrefectError, read_block};

use crate::server::ServerView;
use crate::story::unique;

/// Creates a block of a type that the server knows; its id.
fn create(server: &ServerView, slug: &str, name: &str, data: Value) -> String {
    let kind = server.get(&format!("/block_types/slug/{slug}"))["id"].clone();
    let filter = json!({"block_schemas": {"block_type_id": {"any_": [kind]}}});
    let schema = server.post("/block_schemas/filter", &filter)[0]["id"].clone();
    let body = json!({"name": name, "block_type_id": kind, "block_schema_id": schema, "data": data});
    server.post("/block_documents/", &body)["id"].as_str().unwrap().to_owned()
}

fn read(server: &ServerView, block: &str) -> Result<BlockValues, PrefectError> {
    server.block_on(read_block(&server.client, &BlockRef::parse(block).unwrap()))
}

fn reference(id: &str) -> Value {
    json!({"$ref": {"block_document_id": id}})
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn the_five_types_of_blocks_are_read_with_their_secrets() {
    let server = ServerView::of(&turnstile_testkit::prefect());
    let name = unique("lake");
    let info = json!({"type": "service_account", "private_key": "FAKE-NOT-A-KEY", "client_email": "x@y"});
    let google = create(&server, "gcp-credentials", &name, json!({"service_account_info": info, "project": "p"}));
    let bucket = json!({"bucket": "b", "bucket_folder": "raw/", "gcp_credentials": reference(&google)});
    create(&server, "gcs-bucket", &name, bucket);
    let keys = json!({"aws_access_key_id": "AKIAFAKE", "aws_secret_access_key": "fakesecret", "region_name": "eu-west-1",
                      "aws_client_parameters": {"endpoint_url": "http://127.0.0.1:9000"}});
    let aws = create(&server, "aws-credentials", &name, keys);
    create(
        &server,
        "s3-bucket",
        &name,
        json!({"bucket_name": "b", "bucket_folder": "raw", "credentials": reference(&aws)}),
    );
    let connection = "DefaultEndpointsProtocol=https;AccountName=me;AccountKey=a2V5;EndpointSuffix=core.windows.net";
    create(&server, "azure-blob-storage-credentials", &name, json!({"connection_string": connection}));

    for (block, place) in [("gcp-credentials", (None, None)), ("gcs-bucket", (Some("b"), Some("raw")))] {
        let values = read(&server, &format!("{block}/{name}")).unwrap();
        assert!(!format!("{values:?}").contains("FAKE-NOT-A-KEY"));
        assert_eq!((values.bucket.as_deref(), values.folder.as_deref()), place);
        let BlockCredentials::Google { service_account, file, project } = values.credentials else { panic!("{block}") };
        let found: Value = serde_json::from_str(service_account.unwrap().expose()).unwrap();
        assert_eq!((found, file, project.as_deref()), (info.clone(), None, Some("p")));
    }
    for (block, place) in [("aws-credentials", (None, None)), ("s3-bucket", (Some("b"), Some("raw")))] {
        let values = read(&server, &format!("{block}/{name}")).unwrap();
        assert_eq!((values.bucket.as_deref(), values.folder.as_deref()), place);
        let BlockCredentials::Aws { access_key_id, secret_access_key, session_token, region, endpoint } =
            values.credentials
        else {
            panic!("{block}")
        };
        assert_eq!((access_key_id.as_deref(), secret_access_key.unwrap().expose()), (Some("AKIAFAKE"), "fakesecret"));
        assert_eq!((session_token, region.as_deref()), (None, Some("eu-west-1")));
        assert_eq!(endpoint.as_deref(), Some("http://127.0.0.1:9000"));
    }
    let values = read(&server, &format!("azure-blob-storage-credentials/{name}")).unwrap();
    let BlockCredentials::Azure { account, account_key, shared_access_signature, endpoint } = values.credentials else {
        panic!("{values:?}")
    };
    assert_eq!((account.as_deref(), account_key.unwrap().expose()), (Some("me"), "a2V5"));
    assert_eq!((shared_access_signature, endpoint), (None, None));
}

#[test]
#[ignore = "needs servers: cargo xtask test"]
fn a_block_that_is_not_there_is_named() {
    let server = ServerView::of(&turnstile_testkit::prefect());
    let error = read(&server, "s3-bucket/no-such-lake").unwrap_err();
    assert_eq!(error.to_string(), "block s3-bucket/no-such-lake of the Prefect server is not there");
}
