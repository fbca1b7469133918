//! What must hold of headers of the PROXY protocol, whatever bytes they hold.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use wharfinger::fuzzing::proxy::{HEADER_BYTES_MAX, header_of};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// The first byte says what is done with the rest.
pub fn check(input: &[u8]) {
    crate::planted::plant();
    let [kind, rest @ ..] = input else { return };
    match kind % 3 {
        0 => check_any(rest),
        1 => check_version_2(rest),
        _ => check_version_1(rest),
    }
}

/// Any bytes: no more is read than a header may have, all of a header is needed, and nothing behind it is.
fn check_any(bytes: &[u8]) {
    let (header, read) = header_of(bytes);
    assert!(read <= bytes.len() && read <= 16 + HEADER_BYTES_MAX, "{read} bytes read");
    if let Some(whose) = header {
        assert!(bytes.starts_with(SIGNATURE) || bytes.starts_with(b"PROXY "));
        assert_eq!(header_of(&bytes[..read]), (Some(whose), read), "nothing behind it is needed");
        assert_eq!(header_of(&bytes[..read - 1]).0, None, "all of it is needed");
        // An address within an address has one form.
        assert!(whose.is_none_or(|whose| whose == whose.to_canonical()));
    }
}

/// A header of version 2 with those addresses and extensions says whose connection it is.
fn check_version_2(input: &[u8]) {
    let Some((source, more)) = input.split_first_chunk::<16>() else { return };
    let [is_v4, is_local, more @ ..] = more else { return };
    let (is_v4, more) = (is_v4 % 2 == 0, &more[..more.len().min(HEADER_BYTES_MAX - 36)]);
    let (family, whose, addresses) = match is_v4 {
        true => {
            let source = Ipv4Addr::new(source[0], source[1], source[2], source[3]);
            (0x11, IpAddr::from(source), [&source.octets()[..], &[7; 8]].concat())
        }
        false => {
            let source = Ipv6Addr::from(*source);
            (0x21, IpAddr::from(source).to_canonical(), [&source.octets()[..], &[7; 20]].concat())
        }
    };
    let is_local = is_local % 4 == 0;
    let length = u16::try_from(addresses.len() + more.len()).expect("at most 4 KiB").to_be_bytes();
    let command = if is_local { 0x20 } else { 0x21 };
    let header = [SIGNATURE, &[command, family], &length, &addresses, more].concat();
    let bytes = [&header, &b"<13>what stands behind it"[..]].concat();
    assert_eq!(header_of(&bytes), (Some((!is_local).then_some(whose)), header.len()));
}

/// A header of version 1 with those addresses and ports.
fn check_version_1(input: &[u8]) {
    let Some((bytes, more)) = input.split_first_chunk::<20>() else { return };
    let source = Ipv6Addr::from(*bytes.first_chunk().expect("20 bytes"));
    let (from, to) = (u16::from_be_bytes([bytes[16], bytes[17]]), u16::from_be_bytes([bytes[18], bytes[19]]));
    let header = match more.first().is_some_and(|byte| byte % 2 == 0) {
        true => {
            let source = Ipv4Addr::new(bytes[0], bytes[1], bytes[2], bytes[3]);
            format!("PROXY TCP4 {source} 192.0.2.1 {from} {to}\r\n")
        }
        false => format!("PROXY TCP6 {source} ::1 {from} {to}\r\n"),
    };
    let whose: IpAddr = header.split(' ').nth(2).expect("an address").parse().expect("an address");
    let bytes = [header.as_bytes(), more].concat();
    assert_eq!(header_of(&bytes), (Some(Some(whose.to_canonical())), header.len()));
}
