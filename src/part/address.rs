//! `127.0.0.1:5514`: an address to listen on as users write it.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::with_hint;

/// An IP address and a port: `127.0.0.1:5514`, `[::1]:5514`, `0.0.0.0:5514`. Names are not looked
/// up: what a listener opens must not depend on DNS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Listen(SocketAddr);

impl Listen {
    /// That address.
    pub const fn new(address: SocketAddr) -> Self {
        Listen(address)
    }

    /// As the standard library knows it.
    pub const fn get(self) -> SocketAddr {
        self.0
    }

    /// Whether only this machine can reach it.
    pub const fn is_loopback(self) -> bool {
        self.0.ip().is_loopback()
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is wrong with `text`, most probably.
fn hint(text: &str) -> String {
    let Some((host, port)) = text.rsplit_once(':') else {
        return match text.parse::<IpAddr>() {
            Ok(_) => format!("add a port: `{text}:5514`"),
            Err(_) => "write an IP address and a port: `127.0.0.1:5514`".to_owned(),
        };
    };
    if port.parse::<u16>().is_err() {
        return format!("a port is a number from 0 to 65535, not `{port}`");
    }
    match host {
        "" | "*" => format!("every address of this machine is `0.0.0.0:{port}` or `[::]:{port}`"),
        "localhost" => format!("write `127.0.0.1:{port}`: names are not looked up"),
        _ if host.contains(':') => format!("an IPv6 address stands in brackets: `[{host}]:{port}`"),
        _ => "names are not looked up: write an IP address of this machine".to_owned(),
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Listen;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address and port such as `127.0.0.1:5514`")
            }

            fn visit_u64<E: Error>(self, port: u64) -> Result<Listen, E> {
                let cause = format_args!("expected an address and port, found the number `{port}`").to_string();
                Err(E::custom(with_hint(cause, &format!("write `127.0.0.1:{port}`"))))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Listen, E> {
                let cause =
                    |_| E::custom(with_hint(format_args!("expected an address and port, found `{text}`"), &hint(text)));
                text.parse().map(Listen).map_err(cause)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

impl JsonSchema for Listen {
    fn schema_name() -> Cow<'static, str> {
        "address".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "address:port" })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_mistake_has_its_hint() {
        for (text, expected) in [
            ("127.0.0.1", "add a port: `127.0.0.1:5514`"),
            ("127.0.0.1:99999", "a port is a number from 0 to 65535, not `99999`"),
            (":514", "every address of this machine is `0.0.0.0:514` or `[::]:514`"),
            ("localhost:514", "write `127.0.0.1:514`: names are not looked up"),
            ("::1:514", "an IPv6 address stands in brackets: `[::1]:514`"),
            ("gateway.example:514", "names are not looked up: write an IP address of this machine"),
            ("", "write an IP address and a port: `127.0.0.1:5514`"),
        ] {
            assert!(text.parse::<SocketAddr>().is_err());
            assert_eq!(hint(text), expected, "{text}");
        }
    }
}
