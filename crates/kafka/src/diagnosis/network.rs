//! The steps below Kafka's protocol: names and connections.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use super::{DiagnosisError, EndpointErrors};
use crate::settings::ClientSettings;

/// The addresses of the brokers that the settings name.
#[derive(Debug)]
pub struct ResolvedBrokers {
    /// Every address found.
    pub addresses: Vec<SocketAddr>,
    /// Per broker, as the settings name it, its hosts.
    pub hosts: Vec<(String, Vec<IpAddr>)>,
    /// Brokers that could not be resolved.
    pub unresolved: EndpointErrors,
}

/// Resolves all brokers named; one that can be resolved is enough.
///
/// # Errors
/// `Unresolved` when the name service knows none of them, or did not answer within `timeout`.
pub fn resolve_brokers(settings: &ClientSettings, timeout: Duration) -> Result<ResolvedBrokers, DiagnosisError> {
    let (mut addresses, mut hosts, mut unresolved) = (Vec::new(), Vec::new(), EndpointErrors::default());
    for server in settings.servers().split(',').map(str::trim).filter(|server| !server.is_empty()) {
        match look_up(&address_of(server), timeout) {
            Ok(found) => {
                hosts.push((server.to_owned(), found.iter().map(SocketAddr::ip).collect()));
                addresses.extend(found);
            }
            Err(error) => unresolved.0.push((server.to_owned(), error)),
        }
    }
    if addresses.is_empty() {
        return Err(DiagnosisError::Unresolved { servers: settings.servers().to_owned(), hosts: unresolved });
    }
    Ok(ResolvedBrokers { addresses, hosts, unresolved })
}

/// `host:port` of a broker: librdkafka accepts a protocol before it, and a host without a port.
fn address_of(server: &str) -> String {
    let address = server.rsplit_once("://").map_or(server, |(_, address)| address);
    if address.contains(':') { address.to_owned() } else { format!("{address}:9092") }
}

/// The system's resolver has no timeout, so it runs on a thread that may be left behind.
fn look_up(address: &str, timeout: Duration) -> io::Result<Vec<SocketAddr>> {
    let (answer, answered) = sync_channel(1);
    let asked = address.to_owned();
    std::thread::spawn(move || {
        // The receiver is gone when it took too long.
        let _ = answer.send(asked.to_socket_addrs().map(Iterator::collect));
    });
    let silent = || io::Error::new(io::ErrorKind::TimedOut, "the name service did not answer");
    answered.recv_timeout(timeout).unwrap_or_else(|_| Err(silent()))
}

/// Which addresses accept a connection.
#[derive(Debug)]
pub struct ConnectedBrokers {
    /// Those that do.
    pub open: Vec<SocketAddr>,
    /// Those that do not.
    pub closed: EndpointErrors,
}

/// Opens a connection to each address and closes it again; one that works is enough. All together take `timeout` at most.
///
/// # Errors
/// `Unconnected` when no address accepts one.
pub fn connect_brokers(addresses: &[SocketAddr], timeout: Duration) -> Result<ConnectedBrokers, DiagnosisError> {
    let began = Instant::now();
    let (mut open, mut closed) = (Vec::new(), EndpointErrors::default());
    for address in addresses {
        let left = timeout.saturating_sub(began.elapsed()).max(Duration::from_millis(10));
        match TcpStream::connect_timeout(address, left) {
            Ok(_) => open.push(*address),
            Err(error) => closed.0.push((address.to_string(), error)),
        }
    }
    if open.is_empty() {
        return Err(DiagnosisError::Unconnected { addresses: closed });
    }
    Ok(ConnectedBrokers { open, closed })
}

#[cfg(test)]
mod tests {
    use std::error::Error;
    use std::net::TcpListener;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[test]
    fn a_broker_may_have_a_protocol_before_it_and_no_port() {
        assert_eq!(address_of("SASL_SSL://h:1"), "h:1");
        assert_eq!(address_of("h"), "h:9092");
    }

    #[test]
    fn one_address_that_accepts_a_connection_is_enough_and_none_names_each_reason() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let reached = connect_brokers(&[closed, open], SOON).unwrap();
        assert_eq!((reached.open, reached.closed.0.len()), (vec![open], 1));
        let error = connect_brokers(&[closed], SOON).unwrap_err();
        assert!(error.source().unwrap().to_string().starts_with(&format!("{closed}: ")), "{error:?}");
    }

    #[test]
    fn addresses_need_no_name_service() {
        let settings = ClientSettings::from_servers("127.0.0.1:7, [::1]:8").unwrap();
        let resolved = resolve_brokers(&settings, SOON).unwrap();
        assert_eq!(resolved.addresses, ["127.0.0.1:7".parse().unwrap(), "[::1]:8".parse().unwrap()]);
        assert_eq!(resolved.hosts[0].0, "127.0.0.1:7");
    }
}
