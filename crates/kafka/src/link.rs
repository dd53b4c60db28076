//! The state of the link to the brokers, as librdkafka's callbacks tell it.
//!
//! librdkafka retries for ever and treats no failure to connect as fatal; it reports the cause beside the calls that
//! fail. Here causes become a state, and each change of state is logged once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Statistics, TopicPartitionList};

use crate::advice::{is_final, is_local, without_timing};
use crate::leaders::Leaders;

/// How long brokers that once let this client in may refuse it before that is believed. One that restarts, or that a load
/// balancer stands in for, hangs up in the midst of a handshake, and librdkafka tells that as a refusal.
const BELIEVED_AFTER: Duration = Duration::from_secs(30);

/// Whether brokers can be reached. librdkafka keeps trying in every state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkState {
    /// No answer yet.
    Connecting,
    /// A broker answered, and nothing has gone wrong since.
    Up,
    /// No broker can be reached.
    Down {
        /// librdkafka's last reason.
        reason: String,
    },
}

pub(crate) struct Link {
    servers: String,
    inner: Mutex<Inner>,
    /// Mirror `inner` for the reading threads, which look at it once a batch.
    down: AtomicBool,
    /// Whether an answer of a broker would be news.
    unsettled: AtomicBool,
    leaders: Leaders,
}

struct Inner {
    state: LinkState,
    reason: String,
    refusal: Option<Refusal>,
    /// Whether a broker ever let this client in.
    was_up: bool,
}

/// Credentials or certificates that were refused.
struct Refusal {
    reason: String,
    since: Instant,
    told: bool,
}

impl Link {
    pub(crate) fn new(servers: &str) -> Self {
        let reason = "no connection was made yet".to_owned();
        let inner = Inner { state: LinkState::Connecting, reason, refusal: None, was_up: false };
        Self {
            servers: servers.to_owned(),
            inner: Mutex::new(inner),
            down: AtomicBool::new(false),
            unsettled: AtomicBool::new(true),
            leaders: Leaders::default(),
        }
    }

    pub(crate) fn leaders(&self) -> &Leaders {
        &self.leaders
    }

    pub(crate) fn state(&self) -> LinkState {
        self.lock().state.clone()
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    /// librdkafka's last reason for a failed connection.
    pub(crate) fn reason(&self) -> String {
        self.lock().reason.clone()
    }

    /// The reason why credentials or certificates were refused since the last call. Of brokers that once let this client
    /// in only when all of them are away and it has lasted.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.take_refusal_at(Instant::now())
    }

    fn take_refusal_at(&self, now: Instant) -> Option<String> {
        let mut inner = self.lock();
        let is_down = matches!(inner.state, LinkState::Down { .. });
        let was_up = inner.was_up;
        let refusal = inner.refusal.as_mut().filter(|refusal| !refusal.told)?;
        if was_up && !(is_down && now.duration_since(refusal.since) >= BELIEVED_AFTER) {
            return None;
        }
        refusal.told = true;
        Some(refusal.reason.clone())
    }

    /// Whether an answer of a broker would be news: cheap enough to ask once a batch.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Relaxed)
    }

    /// A broker answered.
    pub(crate) fn up(&self) {
        let mut inner = self.lock();
        if let LinkState::Down { .. } = inner.state {
            tracing::info!(servers = self.servers, "the Kafka broker answers again");
        }
        inner.state = LinkState::Up;
        inner.refusal = None;
        inner.was_up = true;
        self.down.store(false, Ordering::Relaxed);
        self.unsettled.store(false, Ordering::Relaxed);
    }

    /// No broker can be reached.
    pub(crate) fn lost(&self) {
        let mut inner = self.lock();
        let reason = inner.reason.clone();
        // A refusal is told to the caller as an error; trying again will not help it.
        let refused = inner.refusal.is_some() && !inner.was_up;
        if !matches!(inner.state, LinkState::Down { .. }) && !refused {
            tracing::warn!(
                servers = self.servers,
                reason,
                "no Kafka broker can be reached; trying again until one answers"
            );
        }
        inner.state = LinkState::Down { reason };
        self.down.store(true, Ordering::Relaxed);
        self.unsettled.store(true, Ordering::Relaxed);
    }

    fn on_error(&self, code: Option<RDKafkaErrorCode>, reason: &str) {
        use RDKafkaErrorCode as Code;
        let reason = without_timing(reason);
        match code {
            // A connection that broke in the midst of a login is told as a login that failed.
            Some(Code::Authentication) if is_local(reason) => self.lock().reason = reason.to_owned(),
            // librdkafka would try again for ever, with the same certificate.
            Some(Code::BrokerTransportFailure) if is_final(reason) => self.refused(reason),
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) => self.refused(reason),
            Some(Code::BrokerTransportFailure | Code::Resolve) => self.lock().reason = reason.to_owned(),
            Some(Code::AllBrokersDown) => self.lost(),
            _ => tracing::debug!(target: "librdkafka", servers = self.servers, ?code, reason),
        }
    }

    fn refused(&self, reason: &str) {
        let mut inner = self.lock();
        inner.reason = reason.to_owned();
        let since = inner.refusal.as_ref().map_or_else(Instant::now, |refusal| refusal.since);
        inner.refusal = Some(Refusal { reason: reason.to_owned(), since, told: false });
        self.unsettled.store(true, Ordering::Relaxed);
    }

    fn on_log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == "FAIL" {
            // A plaintext client at a TLS port is told apart by this line alone: no error callback names it.
            let mut inner = self.lock();
            if !matches!(inner.state, LinkState::Up) && inner.refusal.is_none() {
                // The line begins with the name of librdkafka's thread.
                let words = line.strip_prefix("[thrd:").and_then(|rest| rest.split_once("]: "));
                inner.reason = without_timing(words.map_or(line, |(_, words)| words)).to_owned();
            }
        }
        match level {
            RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
                tracing::error!(target: "librdkafka", facility, "{line}");
            }
            _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // The state is whole after each assignment, so a panic elsewhere cannot have left it half written.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What librdkafka calls back, for clients that only need their link watched.
#[derive(Clone)]
pub(crate) struct LinkContext(pub(crate) Arc<Link>);

impl ClientContext for LinkContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        self.0.on_log(level, facility, line);
    }

    fn stats(&self, statistics: Statistics) {
        self.0.leaders.observe(&statistics, Instant::now());
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.on_error(error.rdkafka_error_code(), reason);
    }
}

impl ConsumerContext for LinkContext {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "group offsets were not committed; they serve lag tools only");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_link_keeps_the_reason_and_an_answer_ends_it() {
        let link = Link::new("h:1");
        assert_eq!(link.state(), LinkState::Connecting);
        link.on_error(Some(RDKafkaErrorCode::BrokerTransportFailure), "h:1: connection refused");
        assert_eq!(link.state(), LinkState::Connecting);
        link.on_error(Some(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(link.state(), LinkState::Down { reason: "h:1: connection refused".into() });
        assert!(link.is_down());
        link.up();
        assert_eq!((link.state(), link.is_down()), (LinkState::Up, false));
    }

    #[test]
    fn a_refusal_is_told_once() {
        let link = Link::new("h:1");
        link.on_error(Some(RDKafkaErrorCode::Authentication), "invalid credentials");
        assert_eq!(link.take_refusal().as_deref(), Some("invalid credentials"));
        assert_eq!(link.take_refusal(), None);
    }

    #[test]
    fn a_broker_that_once_let_us_in_is_believed_to_refuse_when_it_lasts() {
        let hangs_up = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?";
        let link = Link::new("h:1");
        link.up();
        link.on_error(Some(RDKafkaErrorCode::BrokerTransportFailure), hangs_up);
        let later = Instant::now() + BELIEVED_AFTER;
        assert_eq!(link.take_refusal_at(later), None, "other brokers are there");
        link.on_error(Some(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(link.take_refusal(), None, "it may be starting again");
        link.on_error(Some(RDKafkaErrorCode::BrokerTransportFailure), hangs_up);
        assert_eq!(link.take_refusal_at(later).as_deref(), Some(hangs_up));

        link.on_error(Some(RDKafkaErrorCode::BrokerTransportFailure), hangs_up);
        assert!(link.is_unsettled());
        link.up();
        assert_eq!((link.take_refusal_at(later), link.is_unsettled()), (None, false));
    }

    #[test]
    fn a_connection_that_breaks_in_a_login_is_no_refusal() {
        let link = Link::new("h:1");
        let broke = "SASL SCRAM-SHA-256 mechanism handshake failed: Local: Broker transport failure: broker's \
                     supported mechanisms: ";
        link.on_error(Some(RDKafkaErrorCode::Authentication), broke);
        assert_eq!((link.take_refusal(), link.reason()), (None, broke.to_owned()));
    }
}
