//! Who can log in, and the errors for the others.

use turnstile_wire::{WireCredentials, WirePassword};

use crate::scene::{Scene, connect, server_error, text};

async fn guarded() -> Scene {
    let credentials = WireCredentials { user: "reader".into(), password: WirePassword::new("s3cret, naïve") };
    Scene::with(|settings| settings.credentials = Some(credentials)).await
}

#[tokio::test]
async fn the_right_password_logs_in_by_scram() {
    let scene = guarded().await;
    let client = connect(scene.config().password("s3cret, naïve")).await.unwrap();
    assert_eq!(text(&client, "SELECT 1").await, "1");
}

#[tokio::test]
async fn a_wrong_password_and_a_wrong_name_give_the_same_error() {
    let scene = guarded().await;
    let wrong_password = server_error(connect(scene.config().password("guess")).await);
    let wrong_name = server_error(connect(scene.config().user("root").password("s3cret, naïve")).await);
    assert_eq!(wrong_password.code().code(), "28P01");
    assert_eq!(wrong_password.message(), "password authentication failed for user \"reader\"");
    assert_eq!(wrong_name.code().code(), "28P01");
    assert_eq!(wrong_name.message(), "password authentication failed for user \"root\"");
}

#[tokio::test]
async fn a_client_above_the_limit_gets_an_error_and_a_cancel_request_still_works() {
    let scene = Scene::with(|settings| settings.max_connections = 1).await;
    let first = scene.client().await;
    let refused = server_error(connect(&scene.config()).await);
    assert_eq!(refused.code().code(), "53300");
    assert!(refused.message().contains("1 clients"), "{refused:?}");
    first.cancel_token().cancel_query(tokio_postgres::NoTls).await.unwrap();
    assert_eq!(text(&first, "SELECT 1").await, "1");
}

#[tokio::test]
async fn startup_parameters_of_a_driver_are_applied() {
    let scene = Scene::start().await;
    let mut config = scene.config();
    config.application_name("a test").options("-c statement_timeout=1500 -c TimeZone=Europe/Paris");
    let client = connect(&config).await.unwrap();
    assert_eq!(text(&client, "SHOW application_name").await, "a test");
    assert_eq!(text(&client, "SHOW statement_timeout").await, "1500ms");
    assert_eq!(text(&client, "SHOW TIME ZONE").await, "Europe/Paris");
}
