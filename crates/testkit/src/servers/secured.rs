//! Apache Kafka with one listener for each way to log in, and one for each way to be refused.
//!
//! Users `reader` (password `reader-pw`) and `admin` (`admin-pw`) exist for PLAIN and both SCRAM mechanisms. `admin` may
//! do everything, as may an anonymous client; `reader` may do what [`SecuredKafka::allow`] said. The
//! issuer of tokens knows `reader` by the same password.

use std::net::TcpStream;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use super::certificates::Certificates;
use super::kafka::KafkaServer;
use super::kafka_config::{KafkaConfig, NodePlace};
use super::kafka_home::KafkaHome;
use super::port::{free_port, with_free_ports};
use super::token_issuer::TokenIssuer;

/// How long after its first listener the last one may open.
const LISTENING_WITHIN: Duration = Duration::from_secs(30);

/// A door of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecuredListener {
    /// No encryption, no login.
    Plaintext,
    /// PLAIN, SCRAM-SHA-256 and SCRAM-SHA-512 without encryption.
    Sasl,
    /// TLS with a certificate of the private authority.
    Tls,
    /// TLS that wants the client's certificate too; its common name is the user.
    MutualTls,
    /// PLAIN and both SCRAMs over TLS.
    SaslTls,
    /// OAUTHBEARER with unsecured tokens, without encryption.
    OAuth,
    /// OAUTHBEARER with tokens of the issuer (OpenID Connect), without encryption.
    OpenId,
    /// SCRAM-SHA-512 alone, without encryption: PLAIN is not enabled there.
    ScramOnly,
    /// TLS with a certificate that has expired.
    Expired,
    /// TLS with a certificate for a host of another name.
    Elsewhere,
}

/// All of them with their name, security protocol and SASL mechanisms.
const LISTENERS: [(SecuredListener, &str, &str, &str); 10] = [
    (SecuredListener::Plaintext, "PLAINTEXT", "PLAINTEXT", ""),
    (SecuredListener::Sasl, "SASL", "SASL_PLAINTEXT", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
    (SecuredListener::Tls, "TLS", "SSL", ""),
    (SecuredListener::MutualTls, "MTLS", "SSL", ""),
    (SecuredListener::SaslTls, "SASLTLS", "SASL_SSL", "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512"),
    (SecuredListener::OAuth, "OAUTH", "SASL_PLAINTEXT", "OAUTHBEARER"),
    (SecuredListener::OpenId, "OPENID", "SASL_PLAINTEXT", "OAUTHBEARER"),
    (SecuredListener::ScramOnly, "SCRAM", "SASL_PLAINTEXT", "SCRAM-SHA-512"),
    (SecuredListener::Expired, "EXPIRED", "SSL", ""),
    (SecuredListener::Elsewhere, "ELSEWHERE", "SSL", ""),
];

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule required \
    user_reader=\"reader-pw\" user_admin=\"admin-pw\";";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule required;";
const OAUTH: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required \
    unsecuredLoginStringClaim_sub=\"broker\";";

const OPEN_ID: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;";
const TOKEN_CHECK: &str = "org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler";
/// Which issuers a broker may ask; none by default.
const ALLOWED_ISSUERS: &str = "org.apache.kafka.sasl.oauthbearer.allowed.urls";

/// A running broker with every [`SecuredListener`]. Dropping it kills it.
#[derive(Debug)]
pub struct SecuredKafka {
    server: KafkaServer,
    home: KafkaHome,
    ports: [u16; LISTENERS.len()],
    certificates: Certificates,
    issuer: TokenIssuer,
    _tls: TempDir,
}

impl SecuredKafka {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// When there is no `openssl`, or the broker does not come up; the message holds the end of its log.
    pub fn start(home: &KafkaHome) -> Result<Self> {
        let tls = tempfile::tempdir()?;
        let certificates = Certificates::make(tls.path())?;
        let issuer = TokenIssuer::start(tls.path(), "reader", "reader-pw")?;
        let (server, ports) = with_free_ports(|| {
            let mut ports = [0; LISTENERS.len()];
            for port in &mut ports {
                *port = free_port()?;
            }
            let place = NodePlace { node: 1, port: ports[0], controllers: [free_port()?, 0, 0] };
            let config = config(&ports, place.controllers[0], &certificates, &issuer);
            Ok((KafkaServer::start_at(home, config, place)?, ports))
        })?;
        // It serves as soon as its first listener is open; the others follow.
        let began = Instant::now();
        for port in ports {
            while TcpStream::connect(("127.0.0.1", port)).is_err() {
                ensure!(began.elapsed() < LISTENING_WITHIN, "the listener on port {port} does not open");
                sleep(Duration::from_millis(20));
            }
        }
        Ok(Self { server, home: home.clone(), ports, certificates, issuer, _tls: tls })
    }

    /// `127.0.0.1:port` of a listener.
    pub fn at(&self, listener: SecuredListener) -> String {
        let nth = LISTENERS.iter().position(|(known, ..)| *known == listener).unwrap_or_default();
        format!("127.0.0.1:{}", self.ports[nth])
    }

    /// The certificates that listeners and clients use.
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Where the issuer of tokens is asked for one.
    pub fn token_endpoint(&self) -> String {
        self.issuer.tokens()
    }

    /// The broker.
    pub fn server(&self) -> &KafkaServer {
        &self.server
    }

    /// The broker, to be killed and started again.
    pub fn server_mut(&mut self) -> &mut KafkaServer {
        &mut self.server
    }

    /// Allows `user` an operation (`Read`, `Write`, `Describe`, …) on what `resource` names: `["--topic", "t"]`,
    /// `["--group", "g"]`, several of them, or `["--cluster"]`. Takes a second or two.
    ///
    /// # Errors
    /// When Kafka's tool refuses.
    pub fn allow(&self, user: &str, operation: &str, resource: &[&str]) -> Result<()> {
        self.acl("--add", user, operation, resource)
    }

    /// Takes back what [`SecuredKafka::allow`] gave.
    ///
    /// # Errors
    /// When Kafka's tool refuses.
    pub fn forbid(&self, user: &str, operation: &str, resource: &[&str]) -> Result<()> {
        self.acl("--remove", user, operation, resource)
    }

    fn acl(&self, verb: &str, user: &str, operation: &str, resource: &[&str]) -> Result<()> {
        let mut tool = self.home.tool("AclCommand")?;
        tool.args(["--bootstrap-server", &self.at(SecuredListener::Plaintext), verb, "--force"]);
        tool.args(["--allow-principal", &format!("User:{user}"), "--operation", operation]).args(resource);
        let out = tool.output().context("cannot start `java`")?;
        let said = [&out.stdout[..], &out.stderr].map(String::from_utf8_lossy).concat();
        // The tool ends with 0 even when it could not do it.
        ensure!(out.status.success() && !said.contains("Error while executing"), "AclCommand: {said}");
        Ok(())
    }
}

fn config(
    ports: &[u16; LISTENERS.len()],
    controller: u16,
    certificates: &Certificates,
    issuer: &TokenIssuer,
) -> KafkaConfig {
    let named = |nth: usize| format!("{}://127.0.0.1:{}", LISTENERS[nth].1, ports[nth]);
    let all: Vec<String> = (0..LISTENERS.len()).map(named).collect();
    let protocols: Vec<String> = LISTENERS.iter().map(|(_, name, protocol, _)| format!("{name}:{protocol}")).collect();
    let mut config = KafkaConfig::default()
        .heap_mb(128)
        .property("listeners", format!("{},CONTROLLER://127.0.0.1:{controller}", all.join(",")))
        .property("advertised.listeners", all.join(","))
        .property("listener.security.protocol.map", format!("{},CONTROLLER:PLAINTEXT", protocols.join(",")))
        .property("inter.broker.listener.name", "PLAINTEXT")
        .property("listener.name.mtls.ssl.client.auth", "required")
        .property("listener.name.openid.oauthbearer.sasl.server.callback.handler.class", TOKEN_CHECK)
        .property("sasl.oauthbearer.jwks.endpoint.url", issuer.keys())
        // A client whose token has expired is let go, unless it has shown another one.
        .property("listener.name.openid.oauthbearer.connections.max.reauth.ms", 3_600_000)
        .property("ssl.principal.mapping.rules", "RULE:^CN=([^,]+).*$/$1/,DEFAULT")
        .property("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer")
        // Clients without a login are the test's own tools, and the broker itself.
        .property("super.users", "User:ANONYMOUS;User:admin");
    for (listener, name, protocol, mechanisms) in LISTENERS {
        let prefix = format!("listener.name.{}", name.to_lowercase());
        if !mechanisms.is_empty() {
            config = config.property(&format!("{prefix}.sasl.enabled.mechanisms"), mechanisms);
        }
        for mechanism in mechanisms.split(',').filter(|mechanism| !mechanism.is_empty()) {
            let login = match mechanism {
                "PLAIN" => PLAIN,
                "OAUTHBEARER" if listener == SecuredListener::OpenId => OPEN_ID,
                "OAUTHBEARER" => OAUTH,
                _ => SCRAM,
            };
            config = config.property(&format!("{prefix}.{}.sasl.jaas.config", mechanism.to_lowercase()), login);
        }
        if protocol.ends_with("SSL") {
            let pair = match listener {
                SecuredListener::Expired => &certificates.expired,
                SecuredListener::Elsewhere => &certificates.elsewhere,
                _ => &certificates.server,
            };
            config = store(config, &format!("{prefix}.ssl.keystore"), &pair.keystore);
            config = store(config, &format!("{prefix}.ssl.truststore"), &certificates.authority);
        }
    }
    config.java.push(format!("{ALLOWED_ISSUERS}={}", issuer.keys()));
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for user in ["reader", "admin"] {
            config.users.push(format!("{mechanism}=[name={user},password={user}-pw]"));
        }
    }
    config
}

fn store(config: KafkaConfig, prefix: &str, file: &Path) -> KafkaConfig {
    config.property(&format!("{prefix}.type"), "PEM").property(&format!("{prefix}.location"), file.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn every_listener_is_open_and_permissions_come_and_go() {
        let broker = SecuredKafka::start(&crate::kafka_home()).unwrap();
        for (listener, ..) in LISTENERS {
            TcpStream::connect(broker.at(listener)).unwrap();
        }
        broker.allow("reader", "Read", &["--topic", "t", "--group", "g"]).unwrap();
        let list = || {
            let mut tool = crate::kafka_home().tool("AclCommand").unwrap();
            let out =
                tool.args(["--bootstrap-server", &broker.at(SecuredListener::Plaintext), "--list"]).output().unwrap();
            String::from_utf8_lossy(&out.stdout).into_owned()
        };
        assert_eq!(list().matches("principal=User:reader").count(), 2);
        broker.forbid("reader", "Read", &["--topic", "t", "--group", "g"]).unwrap();
        assert_eq!(list().matches("principal=User:reader").count(), 0);
    }
}
