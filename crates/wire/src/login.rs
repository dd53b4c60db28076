//! Who may come in: the first messages of a connection.
//!
//! In: a client's name and proof. Out: a connection that is ready, or a refusal that says no more than it must.
//! Keeps no password, only what SCRAM makes of it. Start at [`Login::on_startup`].

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::sasl::SASLAuthStartupHandler;
use datafusion_postgres::pgwire::api::auth::sasl::scram::{
    SCRAM_ITERATIONS, ScramAuth, gen_salted_password, random_nonce,
};
use datafusion_postgres::pgwire::api::auth::{
    AuthSource, LoginInfo, Password, ServerParameterProvider, StartupHandler, finish_authentication,
    protocol_negotiation, save_startup_parameters_to_metadata,
};
use datafusion_postgres::pgwire::api::{
    ClientInfo, METADATA_USER, PgWireConnectionState, PidSecretKeyGenerator, RandomPidSecretKeyGenerator,
};
use datafusion_postgres::pgwire::error::{PgWireError, PgWireResult};
use datafusion_postgres::pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};
use futures::Sink;

use crate::settings::Credentials;
use crate::sqlstate;
use crate::statements::Statements;

/// What a server knows of the one who may come in. The password itself is not kept.
pub(crate) struct Verifier {
    user: String,
    salt: Vec<u8>,
    salted: Vec<u8>,
    /// What nobody's password is: compared with for any other name, so that names cannot be told apart.
    nobody: Vec<u8>,
}

impl Verifier {
    pub(crate) fn new(credentials: &Credentials) -> Self {
        let salt = random_nonce().into_bytes();
        let salted = gen_salted_password(&credentials.password.0, &salt, SCRAM_ITERATIONS);
        let nobody = gen_salted_password(&random_nonce(), &salt, SCRAM_ITERATIONS);
        Self { user: credentials.user.clone(), salt, salted, nobody }
    }
}

impl Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("user", &self.user).finish_non_exhaustive()
    }
}

#[async_trait]
impl AuthSource for Verifier {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let known = login.user() == Some(self.user.as_str());
        let salted = if known { &self.salted } else { &self.nobody };
        Ok(Password::new(Some(self.salt.clone()), salted.clone()))
    }
}

/// What decides whether a connection may go on.
pub(crate) struct Gate {
    pub(crate) verifier: Option<Arc<Verifier>>,
    pub(crate) certificate_pem: Option<Vec<u8>>,
    pub(crate) keys: Arc<RandomPidSecretKeyGenerator>,
}

/// The first messages of one connection.
pub(crate) struct Login {
    statements: Arc<Statements>,
    keys: Arc<RandomPidSecretKeyGenerator>,
    scram: Option<SASLAuthStartupHandler<Reported>>,
    must_encrypt: bool,
    /// The connections there may be, when there are as many already.
    pub(crate) full: Option<usize>,
}

impl Login {
    pub(crate) fn new(gate: &Gate, statements: &Arc<Statements>, full: Option<usize>) -> Self {
        let scram = gate.verifier.as_ref().map(|verifier| {
            let mut scram = ScramAuth::new(Arc::clone(verifier) as Arc<dyn AuthSource>);
            scram.set_iterations(SCRAM_ITERATIONS);
            // A certificate whose signature it does not know only means that logins are not bound to it.
            let bound = gate.certificate_pem.as_ref().map(|pem| scram.configure_certificate(pem));
            if let Some(Err(error)) = bound {
                tracing::debug!(%error, "logins are not bound to the certificate");
            }
            let keys = Arc::clone(&gate.keys) as Arc<dyn PidSecretKeyGenerator>;
            let reported = Arc::new(Reported(Arc::clone(statements)));
            SASLAuthStartupHandler::new(reported).with_scram(scram).with_pid_secret_key_generator(keys)
        });
        let must_encrypt = gate.certificate_pem.is_some();
        Self { statements: Arc::clone(statements), keys: Arc::clone(&gate.keys), scram, must_encrypt, full }
    }

    /// What a client asked for with its first message. Drivers set the zone and the style of dates there.
    fn take_wishes(&self, wishes: &HashMap<String, String>) {
        let options = wishes.get("options").map(String::as_str).unwrap_or_default();
        let options = options.split_whitespace().filter_map(|word| word.trim_start_matches("-c").split_once('='));
        let plain = wishes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in plain.chain(options) {
            // What is not known here (user, database) or not possible is the client's own affair at this point.
            let _taken_or_not = self.statements.variables().set(name.trim_start_matches("--"), Some(value));
        }
    }

    fn refusal<C: ClientInfo>(&self, client: &C) -> Option<PgWireError> {
        if let Some(limit) = self.full {
            return Some(sqlstate::too_many_connections(limit).into_error());
        }
        let open = self.must_encrypt && !client.is_secure() && !client.socket_addr().ip().is_loopback();
        open.then(|| sqlstate::tls_needed().into_error())
    }
}

#[async_trait]
impl StartupHandler for Login {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        if let PgWireFrontendMessage::Startup(startup) = &message {
            if let Some(refusal) = self.refusal(client) {
                return Err(refusal);
            }
            self.take_wishes(&startup.parameters.iter().map(|(k, v)| (k.clone(), v.clone())).collect());
        }
        if let Some(scram) = &self.scram {
            return scram.on_startup(client, message).await.map_err(|error| told(client, error));
        }
        let PgWireFrontendMessage::Startup(startup) = &message else { return Ok(()) };
        protocol_negotiation(client, startup).await?;
        save_startup_parameters_to_metadata(client, startup);
        let (pid, key) = self.keys.generate(client);
        client.set_pid_and_secret_key(pid, key);
        finish_authentication(client, &Reported(Arc::clone(&self.statements))).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }
}

/// A wrong name and a wrong password are told in the same words.
fn told<C: ClientInfo>(client: &C, error: PgWireError) -> PgWireError {
    match error {
        PgWireError::InvalidPassword(_) | PgWireError::InvalidScramMessage(_) => {
            let user = client.metadata().get(METADATA_USER).map_or("", String::as_str);
            sqlstate::wrong_password(user).into_error()
        }
        other => other,
    }
}

/// What a client is told of the server when it is in.
struct Reported(Arc<Statements>);

impl ServerParameterProvider for Reported {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let reported = self.0.variables().reported().into_iter();
        let mut all: HashMap<String, String> = reported.map(|(name, value)| (name.to_owned(), value)).collect();
        if let Some(user) = client.metadata().get(METADATA_USER) {
            all.insert("session_authorization".into(), user.clone());
        }
        Some(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings;

    #[test]
    fn neither_the_password_nor_what_scram_makes_of_it_is_shown() {
        let password = settings::Password::new("s3cret");
        let verifier = Verifier::new(&Credentials { user: "reader".into(), password });
        assert_eq!(format!("{verifier:?}"), "Verifier { user: \"reader\", .. }");
        assert_ne!(verifier.salted, verifier.nobody);
    }
}
