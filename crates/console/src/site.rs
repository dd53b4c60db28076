//! What all routes share: the data, the settings, the keys, the live pages.

use std::collections::HashSet;
use std::sync::Arc;

use axum::http::HeaderMap;
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::address::PageAddress;
use crate::data::ConsoleData;
use crate::guard::{AllowedHosts, LoginGate, ProcessKeys, cookie};
use crate::live::{LivePages, RenderPage};
use crate::outcomes::ActionOutcomes;
use crate::render::PageRenderer;
use crate::settings::{ConsoleLimits, ConsoleProbes, ConsoleSettings};
use crate::start_error::ConsoleStartError;

/// The cookie to which a browser's forms are bound.
pub(crate) const BROWSER_COOKIE: &str = "turnstile_browser";

/// What all routes share.
pub(crate) struct Site {
    pub(crate) data: Arc<dyn ConsoleData>,
    pub(crate) limits: ConsoleLimits,
    pub(crate) probes: ConsoleProbes,
    pub(crate) hosts: AllowedHosts,
    pub(crate) gate: LoginGate,
    pub(crate) keys: Arc<ProcessKeys>,
    pub(crate) live: LivePages,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) renderer: Arc<PageRenderer>,
    pub(crate) outcomes: ActionOutcomes,
    /// Actions that are being carried out; no more than requests in progress.
    pub(crate) actions: Mutex<HashSet<String>>,
    pub(crate) stop: CancellationToken,
    pub(crate) secure_cookies: bool,
}

impl Site {
    /// `settings` with the address that is really listened on.
    ///
    /// # Errors
    /// `Random`: the system gives no random bytes.
    pub(crate) fn new(
        settings: &ConsoleSettings,
        data: Arc<dyn ConsoleData>,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, ConsoleStartError> {
        let keys = Arc::new(ProcessKeys::draw()?);
        let limits = settings.limits;
        let renderer = Arc::new(PageRenderer::new(Arc::clone(&data), settings));
        let render: RenderPage = {
            let renderer = Arc::clone(&renderer);
            Arc::new(move |address: PageAddress| {
                let renderer = Arc::clone(&renderer);
                async move { renderer.render(&address).await.fragments }.boxed()
            })
        };
        Ok(Arc::new(Self {
            live: LivePages::new(data.changes(), render, stop.clone(), limits.live_pages),
            data,
            limits,
            probes: settings.probes.clone(),
            hosts: AllowedHosts::new(settings.listen, &settings.allowed_hosts),
            gate: LoginGate::new(settings, Arc::clone(&keys)),
            keys,
            streams: Arc::new(Semaphore::new(limits.live_streams)),
            outcomes: ActionOutcomes::default(),
            actions: Mutex::default(),
            stop,
            secure_cookies: settings.is_https(),
            renderer,
        }))
    }

    /// The wall clock.
    pub(crate) fn now_us(&self) -> i64 {
        self.renderer.now_us()
    }

    /// Whether the request may see pages.
    pub(crate) fn admits(&self, headers: &HeaderMap) -> bool {
        self.gate.admits(headers, self.now_us())
    }

    /// The id of the request's browser, if it has one that we can have given it.
    pub(crate) fn browser(headers: &HeaderMap) -> Option<&str> {
        let hex = |id: &&str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        cookie(headers, BROWSER_COOKIE).filter(hex)
    }

    /// The value that a form of this browser has to carry.
    pub(crate) fn form_key(&self, browser: &str) -> String {
        self.keys.sign("form", browser)
    }

    /// Whether `key` is the value of a form that this browser was given.
    pub(crate) fn is_own_form(&self, headers: &HeaderMap, key: &str) -> bool {
        Self::browser(headers).is_some_and(|browser| self.keys.equal(key, &self.form_key(browser)))
    }
}
