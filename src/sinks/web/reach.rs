//! Which addresses a web sink may speak to: none that clouds give machines their credentials at.
//!
//! An address in a configuration or in an answer of DNS that leads there would send events, and the sink's own
//! token, to who was never meant, or fetch credentials for him (SSRF). Invariant: names are judged by the addresses
//! that are then connected to.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use futures_util::future::BoxFuture;
use reqwest::Url;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Metadata of machines: Alibaba, Azure's WireServer, Oracle.
const METADATA: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// The same of Google; all of AWS begin with `fd00:ec2:`.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);

/// Whether an address is link-local, or one of a cloud's metadata.
fn is_forbidden(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_link_local() || METADATA.contains(&v4),
        IpAddr::V6(v6) => {
            let parts = v6.segments();
            // RFC 6052 §2.1: an address of IPv4 behind NAT64.
            let is_nat64 = parts[..6] == [0x64, 0xff9b, 0, 0, 0, 0];
            let [.., a, b, c, d] = v6.octets();
            v6.is_unicast_link_local()
                || parts[..2] == [0xfd00, 0xec2]
                || v6 == METADATA_V6
                || (is_nat64 && is_forbidden(Ipv4Addr::new(a, b, c, d).into()))
        }
    }
}

/// Such an address, if that URL names one.
pub(in crate::sinks) fn forbidden(url: &Url) -> Option<IpAddr> {
    // A URL has every way to write an address made one.
    let address = url.host_str()?.trim_matches(['[', ']']).parse().ok()?;
    is_forbidden(address).then_some(address)
}

/// Why that URL is not spoken to, if it names such an address.
pub(in crate::sinks) fn refused(url: &Url) -> Option<String> {
    forbidden(url).map(reason)
}

fn reason(address: IpAddr) -> String {
    format!("{address} is {FORBIDDEN}; `allow_link_local: true` lets the sink speak to it")
}

/// What such an address is.
pub(in crate::sinks) const FORBIDDEN: &str = "link-local or a cloud's metadata";

/// How a name becomes addresses.
pub(in crate::sinks) type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

/// The resolver of the operating system, without such addresses.
#[derive(Debug, Clone, Copy)]
pub(in crate::sinks) struct Guarded(pub(in crate::sinks) Lookup);

impl Guarded {
    pub(in crate::sinks) fn system() -> Guarded {
        Guarded(|name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }))
    }

    /// The addresses of a name that may be spoken to; `told` makes a text of one that may not.
    ///
    /// # Errors
    /// The name is not known, or leads to none but such addresses.
    pub(in crate::sinks) async fn look_up(
        self,
        name: &str,
        told: impl Fn(IpAddr) -> String,
    ) -> io::Result<Vec<SocketAddr>> {
        let all = (self.0)(name.to_owned()).await?;
        let (forbidden, allowed): (Vec<_>, Vec<_>) = all.into_iter().partition(|found| is_forbidden(found.ip()));
        match forbidden.first() {
            Some(found) if allowed.is_empty() => {
                Err(io::Error::other(format!("`{name}` leads to {}", told(found.ip()))))
            }
            _ => Ok(allowed),
        }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let guarded = *self;
        Box::pin(async move { Ok(Box::new(guarded.look_up(name.as_str(), reason).await?.into_iter()) as Addrs) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (address, expected) in [
            ("169.254.169.254", true),
            ("169.254.0.1", true),
            ("100.100.100.200", true),
            ("168.63.129.16", true),
            ("fe80::1", true),
            ("febf::1", true),
            ("fd00:ec2::254", true),
            ("fd00:ec2::23", true),
            ("fd20:ce::254", true),
            ("::ffff:169.254.169.254", true),
            ("64:ff9b::a9fe:a9fe", true),
            ("64:ff9b::a00:1", false),
            ("127.0.0.1", false),
            ("10.0.0.1", false),
            ("169.253.255.255", false),
            ("100.100.100.201", false),
            ("::1", false),
            ("fd00::1", false),
            ("fec0::1", false),
        ] {
            assert_eq!(is_forbidden(address.parse().unwrap()), expected, "{address}");
        }
        for (url, expected) in [
            ("http://169.254.169.254/latest", true),
            // The same in the ways that URLs can write it (WHATWG URL §3.5).
            ("http://2852039166/", true),
            ("http://0xa9.0xfe.0xa9.0xfe/", true),
            ("http://[fe80::1]/", true),
            ("http://metadata.google.internal/", false),
            ("http://127.0.0.1/", false),
        ] {
            assert_eq!(refused(&Url::parse(url).unwrap()).is_some(), expected, "{url}");
        }
    }

    /// A name that leads there, alone or beside another address.
    #[tokio::test]
    async fn answers_of_dns() {
        let guarded = Guarded(|name| {
            let addresses: &[&str] = match name.as_str() {
                "evil.test" => &["169.254.169.254:0", "[fd00:ec2::254]:0"],
                "both.test" => &["169.254.169.254:0", "127.0.0.1:0"],
                _ => &[],
            };
            let found = addresses.iter().map(|address| address.parse().unwrap()).collect();
            Box::pin(async move { Ok(found) })
        });
        let resolve = |name: &str| guarded.resolve(name.parse().unwrap());
        let error = resolve("evil.test").await.err().unwrap().to_string();
        assert!(
            error.starts_with("`evil.test` leads to 169.254.169.254 is") && error.contains("allow_link_local"),
            "{error}"
        );
        let both: Vec<_> = resolve("both.test").await.ok().unwrap().collect();
        assert_eq!(both, ["127.0.0.1:0".parse().unwrap()]);
        assert_eq!(resolve("none.test").await.ok().unwrap().count(), 0);
    }
}
