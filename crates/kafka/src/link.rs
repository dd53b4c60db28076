//! The state of the link to the brokers, as librdkafka's callbacks report it.
//!
//! librdkafka retries for ever and treats no connection failure as fatal; it reports the cause in callbacks, not in the
//! calls that fail. Here causes become a state, and each change of state is logged once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{Statistics, TopicPartitionList};

use crate::advice::{is_final, is_lost_connection, without_timing};
use crate::leaders::Leaders;

/// How long brokers that once let this client in must refuse it, all of them, before that counts: a broker that
/// restarts hangs up in handshakes, and takes a moment to load its users.
const REFUSED_FOR: Duration = Duration::from_secs(30);

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

pub(crate) struct BrokerLink {
    servers: String,
    inner: Mutex<LinkStatus>,
    /// Whether a broker's answer changes the state: nothing was up before, or an error was reported since.
    suspect: AtomicBool,
    leaders: Leaders,
    /// Whether a commit of group offsets was refused since the last call that asks.
    commit_failed: AtomicBool,
}

struct LinkStatus {
    state: LinkState,
    reason: String,
    refusal: Option<AuthRefusal>,
    /// Whether a broker ever answered.
    was_up: bool,
}

/// Credentials or certificates that were refused.
struct AuthRefusal {
    reason: String,
    /// The first time since a broker answered.
    since: Instant,
}

impl BrokerLink {
    pub(crate) fn new(servers: &str) -> Self {
        let inner = LinkStatus {
            state: LinkState::Connecting,
            reason: "no connection has been made yet".to_owned(),
            refusal: None,
            was_up: false,
        };
        Self {
            servers: servers.to_owned(),
            inner: Mutex::new(inner),
            suspect: AtomicBool::new(true),
            leaders: Leaders::default(),
            commit_failed: AtomicBool::new(false),
        }
    }

    pub(crate) fn leaders(&self) -> &Leaders {
        &self.leaders
    }

    /// Whether a commit of group offsets has failed since the last call.
    pub(crate) fn take_commit_failure(&self) -> bool {
        self.commit_failed.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn state(&self) -> LinkState {
        self.lock().state.clone()
    }

    /// Whether an error was reported since a broker last answered.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspect.load(Ordering::Relaxed)
    }

    /// Records the outcome of a probe. librdkafka reports that all brokers are down only when they failed one after the
    /// other; a request that finds no broker to be sent to means the same.
    pub(crate) fn record_probe<T>(&self, outcome: KafkaResult<T>) {
        match outcome {
            Ok(_) => self.mark_up(),
            Err(error) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::BrokerTransportFailure) => {
                self.mark_down()
            }
            Err(_) => {}
        }
    }

    /// librdkafka's last reason for a failed connection.
    pub(crate) fn reason(&self) -> String {
        self.lock().reason.clone()
    }

    /// The reason why credentials or certificates were refused since the last call, once that is final: at once where no
    /// broker ever answered, otherwise when all of them have refused for a while.
    pub(crate) fn take_refusal(&self) -> Option<String> {
        self.take_refusal_at(Instant::now())
    }

    fn take_refusal_at(&self, now: Instant) -> Option<String> {
        if !self.suspect.load(Ordering::Relaxed) {
            return None;
        }
        let mut inner = self.lock();
        let is_down = matches!(inner.state, LinkState::Down { .. });
        let was_up = inner.was_up;
        let lasts = |refusal: &mut AuthRefusal| is_down && now.duration_since(refusal.since) >= REFUSED_FOR;
        inner.refusal.take_if(|refusal| !was_up || lasts(refusal)).map(|refusal| refusal.reason)
    }

    /// A broker answered; costs next to nothing when that is already known.
    pub(crate) fn note_answer(&self) {
        if self.suspect.load(Ordering::Relaxed) {
            self.mark_up();
        }
    }

    /// A broker answered.
    pub(crate) fn mark_up(&self) {
        let mut inner = self.lock();
        if let LinkState::Down { .. } = inner.state {
            tracing::info!(servers = self.servers, "the Kafka broker answers again");
        }
        inner.state = LinkState::Up;
        inner.refusal = None;
        inner.was_up = true;
        self.suspect.store(false, Ordering::Relaxed);
    }

    /// No broker can be reached.
    pub(crate) fn mark_down(&self) {
        let mut inner = self.lock();
        let reason = inner.reason.clone();
        // A refusal at the beginning is returned to the caller as an error; retrying cannot help.
        if !matches!(inner.state, LinkState::Down { .. }) && (inner.was_up || inner.refusal.is_none()) {
            tracing::warn!(
                servers = self.servers,
                reason,
                "no Kafka broker can be reached; trying again until one answers"
            );
        }
        inner.state = LinkState::Down { reason };
        self.suspect.store(true, Ordering::Relaxed);
    }

    fn record_refusal(&self, reason: &str) {
        let mut inner = self.lock();
        inner.reason = reason.to_owned();
        let since = inner.refusal.as_ref().map_or_else(Instant::now, |refusal| refusal.since);
        inner.refusal = Some(AuthRefusal { reason: reason.to_owned(), since });
        self.suspect.store(true, Ordering::Relaxed);
    }

    fn on_error(&self, code: Option<RDKafkaErrorCode>, reason: &str) {
        use RDKafkaErrorCode as Code;
        let reason = without_timing(reason);
        match code {
            // librdkafka would try again for ever, with the same certificate.
            Some(Code::BrokerTransportFailure) if is_final(reason) => self.record_refusal(reason),
            Some(Code::Authentication | Code::SaslAuthenticationFailed | Code::SSL) if !is_lost_connection(reason) => {
                self.record_refusal(reason);
            }
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => self.lock().reason = reason.to_owned(),
            Some(Code::BrokerTransportFailure | Code::Resolve) => {
                self.lock().reason = reason.to_owned();
                self.suspect.store(true, Ordering::Relaxed);
            }
            Some(Code::AllBrokersDown) => self.mark_down(),
            _ => tracing::debug!(target: "librdkafka", servers = self.servers, ?code, reason),
        }
    }

    fn on_log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        if facility == "FAIL" {
            // A plaintext client at a TLS port is recognised by this line alone: no error callback names it.
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

    fn lock(&self) -> MutexGuard<'_, LinkStatus> {
        // The state is whole after each assignment, so a panic elsewhere cannot have left it half written.
        self.inner.lock()
    }
}

/// librdkafka's callbacks, for clients that only need the state of their link.
#[derive(Clone)]
pub(crate) struct LinkContext(pub(crate) Arc<BrokerLink>);

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
            self.0.commit_failed.store(true, Ordering::Relaxed);
            tracing::debug!(%error, "group offsets were not committed; they serve lag tools only");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_link_keeps_the_reason_and_an_answer_ends_it() {
        let link = BrokerLink::new("h:1");
        assert_eq!(link.state(), LinkState::Connecting);
        link.on_error(Some(RDKafkaErrorCode::BrokerTransportFailure), "h:1: connection refused");
        assert_eq!(link.state(), LinkState::Connecting);
        link.on_error(Some(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        assert_eq!(link.state(), LinkState::Down { reason: "h:1: connection refused".into() });
        link.mark_up();
        assert_eq!((link.state(), link.is_suspect()), (LinkState::Up, false));
    }

    #[test]
    fn a_request_that_finds_no_broker_marks_the_link_down_and_a_slow_answer_does_not() {
        let link = BrokerLink::new("h:1");
        link.mark_up();
        link.on_error(Some(RDKafkaErrorCode::BrokerTransportFailure), "h:1: connection refused");
        assert!(link.is_suspect());
        let failed = |code| Err::<(), _>(KafkaError::MetadataFetch(code));
        link.record_probe(failed(RDKafkaErrorCode::OperationTimedOut));
        assert_eq!(link.state(), LinkState::Up);
        link.record_probe(failed(RDKafkaErrorCode::BrokerTransportFailure));
        assert_eq!(link.state(), LinkState::Down { reason: "h:1: connection refused".into() });
        link.record_probe(Ok(()));
        assert_eq!(link.state(), LinkState::Up);
    }

    #[test]
    fn a_broker_that_let_this_client_in_and_hangs_up_in_handshakes_is_waited_for() {
        const HUNG_UP: &str = "SSL handshake failed: Disconnected: connecting to a PLAINTEXT broker listener?";
        let link = BrokerLink::new("h:1");
        link.mark_up();
        link.on_error(Some(RDKafkaErrorCode::BrokerTransportFailure), HUNG_UP);
        link.on_error(Some(RDKafkaErrorCode::AllBrokersDown), "1/1 brokers are down");
        let soon = Instant::now() + REFUSED_FOR / 2;
        assert_eq!(link.take_refusal_at(soon), None);
        link.on_error(Some(RDKafkaErrorCode::BrokerTransportFailure), HUNG_UP);
        let later = Instant::now() + REFUSED_FOR;
        link.note_answer();
        assert_eq!((link.state(), link.take_refusal_at(later)), (LinkState::Up, None), "an answer ends the doubt");

        link.on_error(Some(RDKafkaErrorCode::Authentication), "Invalid username or password");
        assert_eq!(link.take_refusal_at(later + REFUSED_FOR), None, "another broker may still answer");
        link.mark_down();
        let reason = link.take_refusal_at(later + REFUSED_FOR);
        assert_eq!(reason.as_deref(), Some("Invalid username or password"), "all have refused for long enough");
    }

    #[test]
    fn a_login_that_broke_off_with_its_connection_is_no_refusal() {
        let link = BrokerLink::new("h:1");
        let broken = "h:1: SASL PLAIN mechanism handshake failed: Local: Broker transport failure: broker's supported \
                      mechanisms: ";
        link.on_error(Some(RDKafkaErrorCode::Authentication), broken);
        assert_eq!((link.take_refusal(), link.reason().as_str()), (None, broken));
    }

    #[test]
    fn a_refusal_is_reported_once() {
        let link = BrokerLink::new("h:1");
        link.on_error(Some(RDKafkaErrorCode::Authentication), "invalid credentials");
        assert_eq!(link.take_refusal().as_deref(), Some("invalid credentials"));
        assert_eq!(link.take_refusal(), None);
    }
}
