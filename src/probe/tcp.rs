//! TCP: somebody accepts a connection.

use std::net::IpAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use super::Loss;
use super::way::Way;

/// Connects. The connection is cut off (RST) when it is dropped: a connection that is closed in
/// order is remembered for a minute (TIME_WAIT), and at fifty a second those would be thousands.
pub(super) async fn connect(way: &Way, port: u16) -> Result<TcpStream, Loss> {
    let socket = match way.to() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => TcpSocket::new_v6()?,
    };
    SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
    way.bind(SockRef::from(&socket))?;
    Ok(socket.connect(way.port(port)).await?)
}
