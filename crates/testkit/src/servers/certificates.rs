//! Certificates for tests, made by openssl: a private authority, what it signed, and what is wrong in one way each.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// The name in every server certificate but one, beside 127.0.0.1.
const SERVER_NAMES: &str = "IP:127.0.0.1,DNS:localhost";

/// PEM files of one folder. Keys are PKCS#8 without a password.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The private authority that signed all pairs but `stranger`.
    pub authority: PathBuf,
    /// An authority that signed nothing in use.
    pub other_authority: PathBuf,
    /// A server's, for 127.0.0.1 and localhost.
    pub server: KeyPair,
    /// The same, and no longer valid since yesterday.
    pub expired: KeyPair,
    /// A server's, for a host of another name.
    pub elsewhere: KeyPair,
    /// A client's; its common name is `reader`.
    pub client: KeyPair,
    /// A client's, signed by the other authority.
    pub stranger: KeyPair,
}

/// A certificate and its key.
#[derive(Debug, Clone)]
pub struct KeyPair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Key, certificate and authority in one file: what a Java client or broker calls a PEM keystore.
    pub keystore: PathBuf,
}

impl Certificates {
    /// Makes them in `dir`; takes less than a second.
    ///
    /// # Errors
    /// When there is no `openssl`, or it refuses.
    pub fn make(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir)?;
        let (ours, other_authority) = (authority(dir, "ca")?, authority(dir, "other-ca")?);
        let server = |name: &str, names: &str, days: &str| pair(dir, "ca", name, "broker", names, "serverAuth", days);
        Ok(Self {
            server: server("server", SERVER_NAMES, "30")?,
            expired: server("expired", SERVER_NAMES, "-1")?,
            elsewhere: server("elsewhere", "DNS:broker.elsewhere.example", "30")?,
            client: pair(dir, "ca", "client", "reader", "DNS:reader", "clientAuth", "30")?,
            stranger: pair(dir, "other-ca", "stranger", "reader", "DNS:reader", "clientAuth", "30")?,
            authority: ours,
            other_authority,
        })
    }
}

fn authority(dir: &Path, name: &str) -> Result<PathBuf> {
    let (key, certificate) = (dir.join(format!("{name}.key")), dir.join(format!("{name}.pem")));
    let mut command = openssl(&["req", "-x509", "-nodes", "-days", "30", "-subj"]);
    command.arg(format!("/CN=test-{name}")).args(NEW_KEY).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
    done(command.args(["-addext", "basicConstraints=critical,CA:TRUE"]))?;
    Ok(certificate)
}

fn pair(dir: &Path, signer: &str, name: &str, common: &str, names: &str, usage: &str, days: &str) -> Result<KeyPair> {
    let file = |ending: &str| dir.join(format!("{name}.{ending}"));
    let (key, request, extensions, certificate) = (file("key"), file("csr"), file("ext"), file("pem"));
    let mut ask = openssl(&["req", "-new", "-nodes", "-subj", &format!("/CN={common}")]);
    done(ask.args(NEW_KEY).arg("-keyout").arg(&key).arg("-out").arg(&request))?;
    fs::write(&extensions, format!("subjectAltName={names}\nextendedKeyUsage={usage}\n"))?;
    let authority = dir.join(format!("{signer}.pem"));
    let mut sign = openssl(&["x509", "-req", "-CAcreateserial", "-days", days, "-in"]);
    sign.arg(&request).arg("-CA").arg(&authority).arg("-CAkey").arg(dir.join(format!("{signer}.key")));
    done(sign.arg("-extfile").arg(&extensions).arg("-out").arg(&certificate))?;
    let parts = [&key, &certificate, &authority].map(fs::read_to_string).into_iter().collect::<Result<Vec<_>, _>>()?;
    let keystore = file("keystore.pem");
    fs::write(&keystore, parts.concat())?;
    Ok(KeyPair { certificate, key, keystore })
}

/// An elliptic key is made at once, one for RSA takes a while.
const NEW_KEY: [&str; 4] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];

fn openssl(arguments: &[&str]) -> Command {
    let mut command = Command::new("openssl");
    command.args(arguments);
    command
}

fn done(command: &mut Command) -> Result<()> {
    let out = command.output().context("cannot start `openssl`")?;
    ensure!(out.status.success(), "openssl refused: {}", String::from_utf8_lossy(&out.stderr));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifies(authority: &Path, pair: &KeyPair) -> bool {
        let mut verify = openssl(&["verify", "-CAfile"]);
        verify.arg(authority).arg(&pair.certificate).output().unwrap().status.success()
    }

    #[test]
    #[ignore = "needs servers: cargo xtask test"]
    fn each_certificate_is_wrong_in_the_way_its_name_says() {
        let dir = tempfile::tempdir().unwrap();
        let made = Certificates::make(dir.path()).unwrap();
        for good in [&made.server, &made.elsewhere, &made.client] {
            assert!(verifies(&made.authority, good), "{good:?}");
            assert!(!verifies(&made.other_authority, good), "{good:?}");
        }
        assert!(!verifies(&made.authority, &made.expired) && !verifies(&made.authority, &made.stranger));
        assert!(verifies(&made.other_authority, &made.stranger));
    }
}
