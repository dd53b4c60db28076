//! librdkafka's reasons for a failed connection, and what to do about each.

/// What to do about a failed connection, by librdkafka's text for it; `None` for a reason without special advice.
pub fn advice(reason: &str) -> Option<&'static str> {
    let (_, advice) = ADVICE.iter().find(|(words, _)| words.iter().any(|word| reason.contains(word)))?;
    Some(advice)
}

/// librdkafka's text when the token issuer returned none; the broker was not asked yet.
pub(crate) const NO_TOKEN: &str = "Failed to acquire SASL OAUTHBEARER token";

/// The first entry with a text that occurs in the reason counts.
const ADVICE: [(&[&str], &str); 12] = [
    (
        &[NO_TOKEN],
        "correct sasl.oauthbearer.token.endpoint.url, .client.id and .client.secret, or https.ca.location if the issuer's \
         certificate is not trusted here",
    ),
    (
        &["PLAINTEXT broker listener", "wrong version number", "packet length too long", "http request"],
        "that port does not use TLS: use the port that does, or set security.protocol to PLAINTEXT or SASL_PLAINTEXT",
    ),
    (
        &["certificate verify failed"],
        "the broker's certificate has expired, is for another host name, or is not signed by an authority in \
         ssl.ca.location: `openssl s_client -connect HOST:PORT -showcerts` shows its dates and names",
    ),
    (
        &["alert unknown ca", "alert number 48"],
        "the broker does not trust the authority that signed this client's certificate (ssl.certificate.location)",
    ),
    (
        &["alert bad certificate", "alert certificate required", "alert number 42", "alert number 116"],
        "the broker requires a client certificate that is signed by an authority it trusts: set \
         ssl.certificate.location and ssl.key.location, or ssl.keystore.location",
    ),
    (&["Unsupported SASL mechanism"], "set sasl.mechanism to one of the mechanisms that the broker names"),
    (
        &["not valid in current SASL state", "ILLEGAL_SASL_STATE", "Illegal SASL state"],
        "that port does not use SASL: use the port that does, or set security.protocol to PLAINTEXT or SSL",
    ),
    (
        &["Invalid username or password", "invalid credentials", "Authentication failed"],
        "correct sasl.username and sasl.password; docs/kafka.md says where they may be set",
    ),
    (&["Failed to resolve"], "correct the host's name in bootstrap.servers, or the names that the brokers advertise"),
    (
        &[
            "SSL listener?",
            "APIVERSION_QUERY",
            "ApiVersion",
            "Broken pipe",
            "Connection reset by peer",
            "closed by peer",
        ],
        "the broker closes the connection at the client's first request: its port may require TLS or a \
         login, see security.protocol (SSL, SASL_SSL, SASL_PLAINTEXT)",
    ),
    (&["Connection refused"], "start the broker, or correct its address in bootstrap.servers"),
    (&["timed out", "Connection setup"], "check that no firewall blocks this machine from the broker's port"),
];

/// Whether trying again cannot help, though librdkafka calls it a failure of the connection and tries for ever. It adds
/// such texts to every disconnect in a handshake, so they are final only for a broker that never answered.
pub(crate) fn is_final(reason: &str) -> bool {
    reason.contains("SSL alert number") || reason.contains("PLAINTEXT broker listener")
}

/// Whether a login failed because the connection did: librdkafka reports that as a failed login too.
pub(crate) fn is_lost_connection(reason: &str) -> bool {
    ["handshake failed: Local: ", "authentication error: Local: "].iter().any(|words| reason.contains(words))
}

/// The reason without how long it took and how often it came, which differ each time.
pub(crate) fn without_timing(reason: &str) -> &str {
    reason.split(" (after ").next().unwrap_or(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_lead_to_the_setting_to_change() {
        for (reason, setting) in [
            (
                "ssl://h:1/bootstrap: SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker certificate could not be verified",
                "ssl.ca.location",
            ),
            ("SSL handshake failed: sslv3 alert bad certificate: SSL alert number 42", "ssl.certificate.location"),
            (
                "SASL PLAIN mechanism handshake failed: Broker: Unsupported SASL mechanism: broker's supported mechanisms: SCRAM-SHA-512",
                "sasl.mechanism",
            ),
            ("Failed to acquire SASL OAUTHBEARER token: Could not connect to server", "token.endpoint.url"),
            ("SASL authentication error: Authentication failed: Invalid username or password", "sasl.password"),
            ("Failed to resolve 'nowhere:9092': Name or service not known", "bootstrap.servers"),
            (
                "Disconnected while requesting ApiVersion: might be caused by incorrect security.protocol configuration (connecting to a SSL listener?)",
                "security.protocol",
            ),
        ] {
            assert!(advice(reason).is_some_and(|advice| advice.contains(setting)), "{reason}");
        }
        assert_eq!(advice("unknown reason"), None);
    }

    #[test]
    fn what_differs_each_time_is_left_out() {
        assert_eq!(
            without_timing("h:1: refused (after 3ms in state CONNECT, 2 identical error(s) suppressed)"),
            "h:1: refused"
        );
    }
}
