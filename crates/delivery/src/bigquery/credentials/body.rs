//! Bounded bodies of responses.

use turnstile_values::BoxError;

/// The whole body of a response of at most `most` bytes; `who` sent it.
pub(super) async fn read_body(mut response: reqwest::Response, who: &str, most: usize) -> Result<Vec<u8>, BoxError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| e.without_url())? {
        body.extend_from_slice(&chunk);
        if body.len() > most {
            return Err(format!("{who} answered more than {most} bytes").into());
        }
    }
    Ok(body)
}
