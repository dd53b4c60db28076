//! One connection: requests in, responses out, in order.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use turnstile_values::human;

use crate::api::{self, ClientInformation, ResponseAction};
use crate::state::BrokerState;

/// A buffer that grew beyond this for one request is given back after it.
const KEEP_BYTES: usize = 8 << 20;

/// Serves requests until the client disconnects, the broker stops, or a request has no response.
pub(crate) fn serve(state: &BrokerState, stream: TcpStream) {
    let Ok(client) = ClientInformation::of(&stream) else { return };
    let peer = client.peer;
    match serve_requests(state, stream, client) {
        Ok(()) => tracing::debug!(%peer, "a client disconnected"),
        Err(_) if state.shutdown.is_requested() => {}
        // How most clients disconnect.
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
            tracing::debug!(%peer, %error, "a client disconnected");
        }
        Err(error) => tracing::warn!(%peer, error = human::error(&error), "closed a connection"),
    }
}

fn serve_requests(state: &BrokerState, mut stream: TcpStream, mut client: ClientInformation) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut input, mut output) = (BytesMut::new(), BytesMut::new());
    while !state.shutdown.is_requested() {
        let mut length = [0; 4];
        if !read_or_end(&mut stream, &mut length)? {
            return Ok(());
        }
        let limit = state.settings.max_request_bytes;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > limit {
            let why = format!(
                "a request of {length} bytes, the limit is {limit}: not a Kafka client, or max_request_bytes is too small"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        // The batches of a Produce request stay in this buffer until they are stored; once nothing
        // refers to it any more, the next request reuses it.
        input.resize(length, 0);
        stream.read_exact(&mut input)?;
        let request = input.split().freeze();
        output.clear();
        output.extend_from_slice(&[0; 4]);
        match api::handle_request(state, &mut client, request, &mut output) {
            Ok(ResponseAction::Send) => {
                let length = u32::try_from(output.len() - 4).map_err(io::Error::other)?;
                output[..4].copy_from_slice(&length.to_be_bytes());
                stream.write_all(&output)?;
            }
            Ok(ResponseAction::NoOp) => {}
            Err(why) => return Err(io::Error::new(io::ErrorKind::InvalidData, why)),
        }
        if length > KEEP_BYTES {
            input = BytesMut::new();
        }
        if output.capacity() > KEEP_BYTES {
            output = BytesMut::new();
        }
    }
    Ok(())
}

/// Fills `into`; false when the client disconnected before its first byte.
fn read_or_end(stream: &mut TcpStream, into: &mut [u8]) -> io::Result<bool> {
    let mut have = 0;
    while have < into.len() {
        match stream.read(&mut into[have..]) {
            Ok(0) if have == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && have == 0 => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}
