//! Who sends a request: a token in a header, a cookie that was given for it, or a user whom a proxy names.

use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use tokio::sync::Semaphore;
use turnstile_values::{SECOND_US, Secret};

use super::cookies::{cookie, set_cookie};
use super::keys::ProcessKeys;
use crate::settings::ConsoleSettings;

/// The cookie that shows that its browser has given the token.
pub(crate) const LOGIN_COOKIE: &str = "turnstile_login";

/// How long a browser need not give the token again.
const LOGIN_SECS: i64 = 12 * 3600;

/// Time between two wrong tokens, of all clients together: three a second are no way to guess 16 characters.
const WRONG_TOKEN_PAUSE: Duration = Duration::from_millis(300);

/// Wrong tokens that wait at once; more are refused without being compared.
const WAITING_TOKENS: usize = 16;

/// Decides who may ask.
pub(crate) struct LoginGate {
    token: Option<Secret>,
    user_header: Option<HeaderName>,
    secure: bool,
    keys: Arc<ProcessKeys>,
    turn: Semaphore,
    waiting: Semaphore,
}

impl LoginGate {
    pub(crate) fn new(settings: &ConsoleSettings, keys: Arc<ProcessKeys>) -> Self {
        Self {
            token: settings.token.clone(),
            user_header: settings.proxy_user_header.as_deref().and_then(|name| HeaderName::try_from(name).ok()),
            secure: settings.is_https(),
            keys,
            turn: Semaphore::new(1),
            waiting: Semaphore::new(WAITING_TOKENS),
        }
    }

    /// Whether a person can log in with a token.
    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether this request may see pages.
    pub(crate) fn admits(&self, headers: &HeaderMap, now_us: i64) -> bool {
        if let Some(name) = &self.user_header
            && headers.get(name).is_none_or(|user| user.is_empty())
        {
            return false;
        }
        let Some(token) = &self.token else { return true };
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer =
            bearer.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        bearer.is_some_and(|(_, presented)| self.keys.equal(presented.trim(), token.expose()))
            || cookie(headers, LOGIN_COOKIE).is_some_and(|value| self.is_current(value, now_us))
    }

    /// The cookie for a browser that gave the right token. A wrong one costs time; `None`.
    pub(crate) async fn log_in(&self, presented: &str, now_us: i64) -> Option<HeaderValue> {
        let token = self.token.as_ref()?;
        let _place = self.waiting.try_acquire().ok()?;
        let _turn = self.turn.acquire().await.ok()?;
        if !self.keys.equal(presented, token.expose()) {
            tokio::time::sleep(WRONG_TOKEN_PAUSE).await;
            return None;
        }
        let until = now_us / SECOND_US + LOGIN_SECS;
        let value = format!("{until}.{}", self.keys.sign("login", &until.to_string()));
        set_cookie(LOGIN_COOKIE, &value, LOGIN_SECS, self.secure)
    }

    fn is_current(&self, value: &str, now_us: i64) -> bool {
        let Some((until, signature)) = value.split_once('.') else { return false };
        let in_time = until.parse::<i64>().is_ok_and(|until| until > now_us / SECOND_US);
        in_time && self.keys.equal(signature, &self.keys.sign("login", until))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> LoginGate {
        let token = Some(Secret::new("correct horse battery"));
        let settings = ConsoleSettings { token, ..ConsoleSettings::default() };
        LoginGate::new(&settings, Arc::new(ProcessKeys::draw().unwrap()))
    }

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn the_token_admits_and_a_wrong_one_does_not() {
        let gate = gate();
        assert!(gate.admits(&with(header::AUTHORIZATION, "Bearer correct horse battery"), 0));
        assert!(gate.admits(&with(header::AUTHORIZATION, "bearer correct horse battery"), 0));
        for wrong in ["Bearer correct horse batterY", "Bearer ", "Basic correct horse battery", "correct horse battery"]
        {
            assert!(!gate.admits(&with(header::AUTHORIZATION, wrong), 0), "{wrong}");
        }
        assert!(!gate.admits(&HeaderMap::new(), 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_login_ends_after_twelve_hours() {
        let gate = gate();
        assert!(gate.log_in("wrong horse battery!", 0).await.is_none());
        let cookie = gate.log_in("correct horse battery", 0).await.unwrap();
        let value = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let headers = with(header::COOKIE, &value);
        assert!(gate.admits(&headers, 0) && gate.admits(&headers, 11 * 3600 * SECOND_US));
        assert!(!gate.admits(&headers, 12 * 3600 * SECOND_US));
    }

    #[tokio::test]
    async fn a_login_cannot_be_prolonged_by_its_bearer() {
        let gate = gate();
        let cookie = gate.log_in("correct horse battery", 0).await.unwrap();
        let value = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let longer = value.replacen("turnstile_login=4", "turnstile_login=9", 1);
        assert_ne!(longer, value);
        assert!(!gate.admits(&with(header::COOKIE, &longer), 0));
    }
}
