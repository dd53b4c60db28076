//! A double that stands in front of fake-gcs-server: it turns the XML API's `PUT` into the JSON API's
//! upload, which that server does not do, and passes everything else on as it came.
//!
//! It is no test of Google's own XML API; that the create-if-absent is honoured is the server's doing.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) struct GcsFrontDouble;

impl GcsFrontDouble {
    /// Listens on a free loopback port until the test ends, and returns the URL.
    pub(crate) async fn start(server: &str) -> String {
        let server = server.trim_start_matches("http://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = server.clone();
                tokio::spawn(async move {
                    if let Err(error) = pass_on(client, &server).await {
                        eprintln!("the front of fake-gcs-server: {error}");
                    }
                });
            }
        });
        url
    }
}

/// One request a connection: simple, and the client opens another.
async fn pass_on(mut client: TcpStream, server: &str) -> std::io::Result<()> {
    let mut received = Vec::new();
    let head_end = loop {
        if let Some(at) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        if client.read_buf(&mut received).await? == 0 {
            return Ok(());
        }
    };
    let head = String::from_utf8_lossy(&received[..head_end]).into_owned();
    let header = |name: &str| {
        let mut lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let length = header("content-length").map_or(0, |length| length.parse().unwrap_or(0));
    let mut body = received.split_off(head_end + 4);
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Ok(());
        }
    }
    let mut words = head.split(' ');
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let (bucket, key) = target.trim_start_matches('/').split_once('/').unwrap_or((target, ""));
    let is_upload = method == "PUT" && !key.contains('?');
    let request = if is_upload {
        let condition =
            header("x-goog-if-generation-match").map_or(String::new(), |g| format!("&ifGenerationMatch={g}"));
        let key = key.replace('=', "%3D");
        format!("POST /upload/storage/v1/b/{bucket}/o?uploadType=media&name={key}{condition} HTTP/1.1")
    } else {
        format!("{method} {target} HTTP/1.1")
    };
    let range = header("range").map_or(String::new(), |range| format!("Range: {range}\r\n"));
    let request =
        format!("{request}\r\nHost: {server}\r\nConnection: close\r\n{range}Content-Length: {length}\r\n\r\n");
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(request.as_bytes()).await?;
    upstream.write_all(&body).await?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer).await?;
    if is_upload {
        // The JSON answer holds no ETag header, without which `object_store` takes the upload for failed.
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).unwrap_or("500").to_owned();
        let etag = "ETag: \"double\"\r\nx-goog-generation: 1\r\n";
        answer = format!("HTTP/1.1 {status} -\r\n{etag}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes();
    }
    client.write_all(&answer).await?;
    client.shutdown().await
}
