//! The PROXY protocol: whose connection it is that a balancer or relay of ours hands on (versions 1 and 2 of HAProxy's
//! "The PROXY protocol").
//!
//! The header stands before anything else on the connection, also before a TLS handshake. It says who speaks, so only
//! listed peers may send one, and from them every connection must begin with one (§2: "the receiver MUST be
//! configured to only receive the protocol … and MUST not try to guess").
//!
//! Invariant: nothing behind the header is read here, and never more than [`HEADER_BYTES_MAX`] before it ends.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error};
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::part::{Problem, with_hint};

/// §2.2: what a header of version 2 begins with.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// §2.1: "a 108-byte buffer is always enough to store all the line".
const LINE_BYTES_MAX: usize = 107;
/// The longest header of version 2 with all its extensions; the protocol's own limit is 64 KiB.
const HEADER_BYTES_MAX: usize = 4 * 1024;

/// Addresses: one, or all that begin with so many of its bits (`192.0.2.0/24`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    bits: u32,
}

/// Who may say whose connection it hands on.
#[derive(Debug, Clone)]
pub(super) struct Proxied(Vec<Network>);

impl Proxied {
    /// None where the option is off.
    pub(super) fn new(is_on: bool, trusted: &[Network]) -> Option<Proxied> {
        is_on.then(|| Proxied(trusted.to_vec()))
    }

    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.holds(address))
    }

    /// What is wrong with the two options.
    pub(super) fn problem(is_on: bool, trusted: &[Network]) -> Option<Problem> {
        let (option, message, hint) = match (is_on, trusted.is_empty()) {
            (true, true) => ("proxy_trusted", "`proxy_protocol` is on, and nobody may use it", "list the balancers"),
            (false, false) => {
                ("proxy_protocol", "`proxy_trusted` means nothing without it", "add `proxy_protocol: true`")
            }
            _ => return None,
        };
        Some(Problem { option, message: message.to_owned(), hint: hint.to_owned() })
    }
}

impl Network {
    fn holds(self, address: IpAddr) -> bool {
        let shared = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        shared >= self.bits
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Network, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), str::parse).map_err(|_| ())?;
        if bits > all { Err(()) } else { Ok(Network { address, bits }) }
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |()| with_hint(format_args!("`{text}` is no address"), "write `192.0.2.7` or `192.0.2.0/24`");
        text.parse().map_err(|error| D::Error::custom(wrong(error)))
    }
}

impl JsonSchema for Network {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "network".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "address or network" })
    }
}

/// Reads the header: whose connection it is. None: the proxy's own (a health check), or it does not say.
///
/// # Errors
/// What stands there is no header, or the connection ended.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    // The shortest header, `PROXY UNKNOWN\r\n`, is longer.
    let mut head = [0; SIGNATURE.len()];
    stream.read_exact(&mut head).await?;
    if head == SIGNATURE {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        let [command, family, high, low] = rest;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > HEADER_BYTES_MAX {
            return Err(wrong("a header of version 2 that is too long"));
        }
        // Behind the addresses stand extensions.
        let length = if planted!("proxy") { length.min(36) } else { length };
        let mut addresses = vec![0; length];
        stream.read_exact(&mut addresses).await?;
        return version_2(command, family, &addresses);
    }
    if !head.starts_with(b"PROXY ") {
        return Err(wrong("no header of the PROXY protocol"));
    }
    let mut line = head.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_BYTES_MAX {
            return Err(wrong("a header of version 1 that does not end"));
        }
        // Byte by byte: what stands behind the line is not ours.
        line.push(stream.read_u8().await?);
    }
    version_1(&line)
}

/// §2.2: version and command, family and transport, then the addresses of that family.
fn version_2(command: u8, family: u8, addresses: &[u8]) -> io::Result<Option<IpAddr>> {
    match command {
        // LOCAL: the proxy speaks for itself.
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(wrong("another version or command of the PROXY protocol")),
    }
    let missing = || wrong("a header of version 2 without its addresses");
    match family {
        // TCP and UDP over IPv4: source, destination, ports.
        0x11 | 0x12 => {
            let source = addresses.get(..12).and_then(|all| all.first_chunk::<4>()).ok_or_else(missing)?;
            Ok(Some(Ipv4Addr::from(*source).into()))
        }
        0x21 | 0x22 => {
            let source = addresses.get(..36).and_then(|all| all.first_chunk::<16>()).ok_or_else(missing)?;
            Ok(Some(IpAddr::from(Ipv6Addr::from(*source)).to_canonical()))
        }
        // UNSPEC, unix sockets: whoever it is has no address.
        0x00 | 0x31 | 0x32 => Ok(None),
        _ => Err(wrong("an unknown family of addresses in a header of the PROXY protocol")),
    }
}

/// §2.1: `PROXY TCP4 source destination port port` and CR LF, one space between two.
fn version_1(line: &[u8]) -> io::Result<Option<IpAddr>> {
    let failed = || wrong("a header of version 1 that is not as it should be");
    let line = std::str::from_utf8(line).ok().and_then(|line| line.strip_suffix("\r\n")).ok_or_else(failed)?;
    let words: Vec<&str> = line.split(' ').collect();
    match words[..] {
        // "the receiver must ignore anything presented before the CRLF"
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family, source, destination, from, to] => {
            let addresses: [IpAddr; 2] =
                [source.parse().map_err(|_| failed())?, destination.parse().map_err(|_| failed())?];
            let is_family = |address: &IpAddr| match family {
                "TCP4" => address.is_ipv4(),
                "TCP6" => address.is_ipv6(),
                _ => false,
            };
            let is_port = |port: &str| port.parse::<u16>().is_ok() && !port.starts_with('+');
            if !addresses.iter().all(is_family) || !is_port(from) || !is_port(to) {
                return Err(failed());
            }
            Ok(Some(addresses[0].to_canonical()))
        }
        _ => Err(failed()),
    }
}

/// What the fuzz target `proxy` sees.
#[cfg(fuzzing)]
pub mod fuzzing {
    use std::net::IpAddr;

    use futures_util::FutureExt as _;

    /// The longest header of version 2 behind its first 16 bytes.
    pub const HEADER_BYTES_MAX: usize = super::HEADER_BYTES_MAX;

    /// What these bytes say, if they begin with a whole header, and how many of them were read.
    #[must_use]
    pub fn header_of(bytes: &[u8]) -> (Option<Option<IpAddr>>, usize) {
        let mut rest = bytes;
        let header = super::read(&mut rest).now_or_never().expect("memory is not waited for");
        (header.ok(), bytes.len() - rest.len())
    }
}

fn wrong(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the header says, and what is left of the stream.
    fn read_all(bytes: &[u8]) -> (Result<Option<IpAddr>, String>, Vec<u8>) {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let said = runtime.block_on(read(&mut rest)).map_err(|error| error.to_string());
        (said, rest.to_vec())
    }

    fn v2(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([command, family]);
        header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
        header.extend(addresses);
        header
    }

    #[test]
    fn what_headers_say() {
        let v6: IpAddr = "2001:db8::7".parse().unwrap();
        let IpAddr::V6(v6_bytes) = v6 else { unreachable!() };
        let mut v6_addresses = v6_bytes.octets().to_vec();
        v6_addresses.extend([0; 20]);
        let mut with_extension = vec![192, 0, 2, 7, 192, 0, 2, 1, 200, 0, 2, 2];
        with_extension.extend([0x04, 0, 1, 0]);
        for (header, expected) in [
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 514\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 514\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (v2(0x21, 0x11, &with_extension), Some("192.0.2.7")),
            (v2(0x21, 0x21, &v6_addresses), Some("2001:db8::7")),
            (v2(0x20, 0x11, &with_extension), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let mut stream = header.clone();
            stream.extend(b"<13>1 - - - - - - x\n");
            let (said, rest) = read_all(&stream);
            assert_eq!(said, Ok(expected.map(|address| address.parse().unwrap())), "{header:?}");
            assert_eq!(rest, b"<13>1 - - - - - - x\n", "nothing behind the header is read");
        }
    }

    #[test]
    fn what_is_no_header() {
        let mut endless = b"PROXY TCP4 ".to_vec();
        endless.extend([b'1'; 200]);
        let long = v2(0x21, 0x11, &vec![0; HEADER_BYTES_MAX + 1]);
        for stream in [
            &b"<13>1 - - - - - - x\n"[..],
            b"PROXY TCP4 192.0.2.7 192.0.2.1 56324\r\n",
            b"PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 70000\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n",
            b"PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP5 192.0.2.7 192.0.2.1 1 2\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n",
            b"PROXY \xff\xff\xff\xff\xff\xff\xff\r\n",
            &endless,
            &long,
            &v2(0x31, 0x11, &[0; 12]),
            &v2(0x22, 0x11, &[0; 12]),
            &v2(0x21, 0x11, &[0; 11]),
            &v2(0x21, 0x21, &[0; 35]),
            &v2(0x21, 0x41, &[0; 36]),
            &v2(0x21, 0x11, &[0; 12])[..20],
            b"",
        ] {
            let (said, rest) = read_all(stream);
            assert!(said.is_err(), "{stream:?}: {said:?}");
            assert!(stream.len() - rest.len() <= HEADER_BYTES_MAX + 16, "too much is read of {stream:?}");
        }
    }

    #[test]
    fn networks() {
        for (network, address, holds) in [
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.6", false),
            ("192.0.2.0/24", "192.0.2.255", true),
            ("192.0.2.0/24", "192.0.3.0", false),
            ("192.0.2.0/24", "::ffff:192.0.2.9", true),
            ("0.0.0.0/0", "203.0.113.1", true),
            ("0.0.0.0/0", "::1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.holds(address.parse().unwrap()), holds, "{network:?} {address}");
        }
        for text in ["", "/8", "192.0.2.0/33", "192.0.2.0/", "host", "::/129", "192.0.2.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(()), "{text}");
        }
        assert!(Proxied::problem(true, &[]).is_some() && Proxied::problem(false, &["::1".parse().unwrap()]).is_some());
        assert!(Proxied::problem(false, &[]).is_none());
    }

    proptest! {
        /// Any bytes: an answer or an error, and never more read than a header may hold.
        #[test]
        fn any_bytes(kind in 0..3_u8, rest in prop::collection::vec(any::<u8>(), 0..6_000)) {
            let mut stream = match kind { 0 => SIGNATURE.to_vec(), 1 => b"PROXY TCP4 ".to_vec(), _ => Vec::new() };
            stream.extend(rest);
            let (_, rest) = read_all(&stream);
            prop_assert!(stream.len() - rest.len() <= HEADER_BYTES_MAX + 16);
        }

        /// Every address comes through, whatever its extensions hold.
        #[test]
        fn every_address(source in any::<[u8; 16]>(), is_v4 in any::<bool>(), more in prop::collection::vec(any::<u8>(), 0..500)) {
            let address: IpAddr = if is_v4 {
                IpAddr::from(*source.first_chunk::<4>().unwrap())
            } else {
                IpAddr::from(source).to_canonical()
            };
            let mut addresses = if is_v4 { source[..4].to_vec() } else { source.to_vec() };
            addresses.extend(vec![0; if is_v4 { 8 } else { 20 }]);
            addresses.extend(more);
            let header = v2(0x21, if is_v4 { 0x11 } else { 0x21 }, &addresses);
            prop_assert_eq!(read_all(&header), (Ok(Some(address)), Vec::new()));
        }
    }
}
