//! Authentication: the first messages of a connection.
//!
//! In: a client's name and proof. Out: a connection that is ready, or an error that reveals no more than it must.
//! Keeps no password, only what SCRAM derives from it. Start at [`Login::on_startup`].

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

use crate::handler::QueryHandler;
use crate::settings::WireCredentials;
use crate::sqlstate;

/// What a server keeps of the user who may log in. The password itself is not kept.
pub(crate) struct ScramVerifier {
    user: String,
    salt: Vec<u8>,
    salted: Vec<u8>,
    /// A mock password, compared with for any other name, so that responses do not reveal which names exist.
    mock: Vec<u8>,
}

impl ScramVerifier {
    pub(crate) fn new(credentials: &WireCredentials) -> Self {
        let salt = random_nonce().into_bytes();
        let salted = gen_salted_password(&credentials.password.0, &salt, SCRAM_ITERATIONS);
        let mock = gen_salted_password(&random_nonce(), &salt, SCRAM_ITERATIONS);
        Self { user: credentials.user.clone(), salt, salted, mock }
    }
}

impl Debug for ScramVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramVerifier").field("user", &self.user).finish_non_exhaustive()
    }
}

#[async_trait]
impl AuthSource for ScramVerifier {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let known = login.user() == Some(self.user.as_str());
        let salted = if known { &self.salted } else { &self.mock };
        Ok(Password::new(Some(self.salt.clone()), salted.clone()))
    }
}

/// What a client needs to log in.
pub(crate) struct LoginPolicy {
    pub(crate) verifier: Option<Arc<ScramVerifier>>,
    pub(crate) certificate_pem: Option<Vec<u8>>,
    pub(crate) keys: Arc<RandomPidSecretKeyGenerator>,
}

/// The first messages of one connection.
pub(crate) struct Login {
    handler: Arc<QueryHandler>,
    keys: Arc<RandomPidSecretKeyGenerator>,
    scram: Option<SASLAuthStartupHandler<ReportedParameters>>,
    must_encrypt: bool,
    /// The limit of connections, if it is reached.
    pub(crate) full: Option<usize>,
}

impl Login {
    pub(crate) fn new(policy: &LoginPolicy, handler: &Arc<QueryHandler>, full: Option<usize>) -> Self {
        let scram = policy.verifier.as_ref().map(|verifier| {
            let mut scram = ScramAuth::new(Arc::clone(verifier) as Arc<dyn AuthSource>);
            scram.set_iterations(SCRAM_ITERATIONS);
            // With a certificate whose signature algorithm it does not know, logins are only not bound to it.
            let bound = policy.certificate_pem.as_ref().map(|pem| scram.configure_certificate(pem));
            if let Some(Err(error)) = bound {
                tracing::debug!(%error, "logins do not use channel binding");
            }
            let keys = Arc::clone(&policy.keys) as Arc<dyn PidSecretKeyGenerator>;
            let reported = Arc::new(ReportedParameters(Arc::clone(handler)));
            SASLAuthStartupHandler::new(reported).with_scram(scram).with_pid_secret_key_generator(keys)
        });
        let must_encrypt = policy.certificate_pem.is_some();
        Self { handler: Arc::clone(handler), keys: Arc::clone(&policy.keys), scram, must_encrypt, full }
    }

    /// Applies the parameters of a client's first message. Drivers set the time zone and the style of dates there.
    fn apply_startup_parameters(&self, parameters: &HashMap<String, String>) {
        let options = parameters.get("options").map(String::as_str).unwrap_or_default();
        let options = options.split_whitespace().filter_map(|word| word.trim_start_matches("-c").split_once('='));
        let plain = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in plain.chain(options) {
            // Parameters that are unknown here (user, database) or invalid are ignored at this point.
            let _set_or_ignored = self.handler.variables().set(name.trim_start_matches("--"), Some(value));
        }
    }

    fn refuse<C: ClientInfo>(&self, client: &C) -> Option<PgWireError> {
        if let Some(limit) = self.full {
            return Some(sqlstate::too_many_connections(limit).into_error());
        }
        let unencrypted = self.must_encrypt && !client.is_secure() && !client.socket_addr().ip().is_loopback();
        unencrypted.then(|| sqlstate::tls_needed().into_error())
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
            if let Some(refusal) = self.refuse(client) {
                return Err(refusal);
            }
            self.apply_startup_parameters(&startup.parameters.iter().map(|(k, v)| (k.clone(), v.clone())).collect());
        }
        if let Some(scram) = &self.scram {
            return scram.on_startup(client, message).await.map_err(|error| authentication_error(client, error));
        }
        let PgWireFrontendMessage::Startup(startup) = &message else { return Ok(()) };
        protocol_negotiation(client, startup).await?;
        save_startup_parameters_to_metadata(client, startup);
        let (pid, key) = self.keys.generate(client);
        client.set_pid_and_secret_key(pid, key);
        finish_authentication(client, &ReportedParameters(Arc::clone(&self.handler))).await?;
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }
}

/// A wrong name and a wrong password give the same error.
fn authentication_error<C: ClientInfo>(client: &C, error: PgWireError) -> PgWireError {
    match error {
        PgWireError::InvalidPassword(_) | PgWireError::InvalidScramMessage(_) => {
            let user = client.metadata().get(METADATA_USER).map_or("", String::as_str);
            sqlstate::wrong_password(user).into_error()
        }
        other => other,
    }
}

/// The parameters that a client is sent when it has logged in.
struct ReportedParameters(Arc<QueryHandler>);

impl ServerParameterProvider for ReportedParameters {
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
    fn neither_the_password_nor_what_scram_derives_from_it_is_shown() {
        let password = settings::WirePassword::new("s3cret");
        let verifier = ScramVerifier::new(&WireCredentials { user: "reader".into(), password });
        assert_eq!(format!("{verifier:?}"), "ScramVerifier { user: \"reader\", .. }");
        assert_ne!(verifier.salted, verifier.mock);
    }
}
