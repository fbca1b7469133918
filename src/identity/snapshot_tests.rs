//! Who is found by what, and by what nobody is.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::identity::Reported;

const WEB: &str = "421f245c-7fa8-60fa-6af6-a46351ced0eb";

fn entry(name: &str, uuid: &str, address: &str) -> Entry {
    Entry {
        name: name.to_owned(),
        uuid: Uuid::parse(uuid),
        addresses: address.parse().into_iter().collect(),
        ..Entry::default()
    }
}

fn web() -> Entry {
    Entry {
        host_names: vec!["web-01.example".to_owned()],
        macs: Mac::parse("00:50:56:aa:bb:cc").into_iter().collect(),
        instance_uuid: Uuid::parse("50011111-2222-3333-4444-555566667777"),
        agent_id: "007".to_owned(),
        machine_id: "3d1219c7c4c5404aaa1f6d2a48adfda4".to_owned(),
        ..entry("web", WEB, "192.0.2.7")
    }
}

fn name_of(found: Option<(&Identity, Evidence)>) -> Option<(&str, Evidence)> {
    found.map(|(identity, evidence)| (identity.fact(Field::VmName).unwrap(), evidence))
}

fn peer(address: &str) -> Who<'static> {
    Who { address: address.parse().ok(), ..Who::default() }
}

fn relayed(claim: &str) -> Who<'_> {
    Who { trust: Trust::Relay, claimed_host: Some(claim), ..Who::default() }
}

/// decisions 16: "`relay` […] lets the relayed host or agent select the VM […]. Otherwise only mTLS SAN, token, unix
/// credentials or TCP address do".
#[test]
fn a_claimed_name_selects_a_machine_only_through_a_relay() {
    let snapshot = Snapshot::new(&Local::default(), &[web()]);
    let claims = Who {
        claimed_host: Some("web"),
        claimed_id: Some("007"),
        claimed_address: Some("192.0.2.7"),
        ..peer("192.0.2.8")
    };
    assert_eq!(name_of(snapshot.resolve(claims)), None);
    assert_eq!(name_of(snapshot.resolve(Who { address_unverified: true, ..claims })), None);
    let of_address = Who { claimed_host: Some("other"), ..peer("192.0.2.7") };
    assert_eq!(name_of(snapshot.resolve(of_address)), Some(("web", Evidence::Address)));
    assert_eq!(name_of(snapshot.resolve(peer("::ffff:192.0.2.7"))), Some(("web", Evidence::Address)));
    let datagram = Who { address_unverified: true, ..of_address };
    assert_eq!(name_of(snapshot.resolve(datagram)), Some(("web", Evidence::AddressUnverified)));
    assert_eq!(name_of(snapshot.resolve(relayed("other"))), None);
    // The manager gives an agent its number; its name and address the agent tells.
    let snapshot = Snapshot::new(&Local::default(), &[web(), entry("db", "", "192.0.2.9")]);
    let id = Some("007");
    for (claimed_host, claimed_address) in [(Some("db"), None), (None, Some("192.0.2.9"))] {
        let who = Who { trust: Trust::Relay, claimed_id: id, claimed_host, claimed_address, ..Who::default() };
        assert_eq!(name_of(snapshot.resolve(who)), Some(("web", Evidence::Relayed)));
        let who = Who { claimed_id: Some("unknown"), ..who };
        assert_eq!(name_of(snapshot.resolve(who)), Some(("db", Evidence::Relayed)));
    }
}

#[test]
fn a_relay_may_name_it_by_all_that_is_known_of_it() {
    let snapshot = Snapshot::new(&Local::default(), &[web(), entry("db", "", "192.0.2.8")]);
    for claim in [
        "WEB",
        "web-01.example",
        "web-01",
        "192.0.2.7",
        WEB,
        "5C241F42-A87F-FA60-6AF6-A46351CED0EB",
        "50011111-2222-3333-4444-555566667777",
        "00-50-56-AA-BB-CC",
        "3d1219c7c4c5404aaa1f6d2a48adfda4",
        "007",
    ] {
        assert_eq!(name_of(snapshot.resolve(relayed(claim))), Some(("web", Evidence::Relayed)), "{claim}");
    }
    let by = |id, address| Who {
        trust: Trust::Relay,
        claimed_host: Some("agent of nobody"),
        claimed_id: Some(id),
        claimed_address: Some(address),
        ..Who::default()
    };
    assert_eq!(name_of(snapshot.resolve(by("007", "192.0.2.8"))), Some(("web", Evidence::Relayed)));
    assert_eq!(name_of(snapshot.resolve(by("008", "192.0.2.8"))), Some(("db", Evidence::Relayed)));
    assert_eq!(name_of(snapshot.resolve(by("008", "any"))), None);
}

#[test]
fn a_credential_comes_before_the_address() {
    let senders: Senders = [
        ("uid 1001", "db"),
        ("token db-1", "db"),
        ("source hec_db", "192.0.2.8"),
        ("agent a-1", "db"),
        ("collector.example", WEB),
        ("x", "gone"),
    ]
    .map(|(one, other)| (one.to_owned(), other.to_owned()))
    .into();
    let snapshot = Snapshot::new(&Local::default(), &[web(), entry("db", "", "192.0.2.8")]);
    let (snapshot, unknown) = snapshot.with_senders(&senders);
    assert_eq!(unknown, ["gone"]);
    let with = |credential| Who { credential: Some(credential), ..peer("192.0.2.8") };
    for (credential, expected) in [
        ("web-01.example", ("web", Evidence::Certificate)),
        ("urn:uuid:421f245c-7fa8-60fa-6af6-a46351ced0eb", ("web", Evidence::Certificate)),
        ("collector.example", ("web", Evidence::Certificate)),
        ("uid 1001", ("db", Evidence::Unix)),
        ("token db-1", ("db", Evidence::Token)),
        // Nobody's: what is left is the address.
        ("token web", ("db", Evidence::Address)),
        ("uid 0", ("db", Evidence::Address)),
        ("nobody.example", ("db", Evidence::Address)),
        ("192.0.2.7", ("db", Evidence::Address)),
    ] {
        assert_eq!(name_of(snapshot.resolve(with(credential))), Some(expected), "{credential}");
    }
    let agent = |id| Who { claimed_id: Some(id), ..relayed("web-01") };
    assert_eq!(name_of(snapshot.resolve(agent("a-1"))), Some(("db", Evidence::Relayed)));
    assert_eq!(name_of(snapshot.resolve(agent("a-2"))), Some(("web", Evidence::Relayed)), "the host that it names");
    let claimed = Who { claimed_id: Some("a-1"), ..peer("192.0.2.7") };
    assert_eq!(name_of(snapshot.resolve(claimed)), Some(("web", Evidence::Address)), "no relay, no word on it");
    let token = Who { source: "hec_db", ..peer("192.0.2.7") };
    assert_eq!(name_of(snapshot.resolve(token)), Some(("db", Evidence::Token)));
    let other = Who { source: "hec", ..peer("192.0.2.7") };
    assert_eq!(name_of(snapshot.resolve(other)), Some(("web", Evidence::Address)));
}

#[test]
fn a_key_of_two_machines_proves_nothing() {
    let copy = Entry { name: "copy".to_owned(), instance_uuid: None, ..web() };
    let snapshot = Snapshot::new(&Local::default(), &[web(), copy]);
    assert_eq!(name_of(snapshot.resolve(peer("192.0.2.7"))), None);
    for claim in ["192.0.2.7", WEB, "00:50:56:aa:bb:cc", "web-01.example", "web-01", "007"] {
        assert_eq!(name_of(snapshot.resolve(relayed(claim))), None, "{claim}");
    }
    assert_eq!(name_of(snapshot.resolve(relayed("copy"))), Some(("copy", Evidence::Relayed)));
    let instance = "50011111-2222-3333-4444-555566667777";
    assert_eq!(name_of(snapshot.resolve(relayed(instance))), Some(("web", Evidence::Relayed)));
}

/// formats §9: "VMware HW version ≥13 (ESXi 6.5+) therefore shows `5C241F42-…` in the guest for vCenter's `421F245C-…`
/// (pyvmomi #688, ansible #53215); Azure likewise (WALinuxAgent #830 …); EC2 `ec2…` or swapped `45e1…2aec` […]. Rule:
/// store lower-case dashed; compute both orders; match inventory on either".
#[test]
fn the_guests_swapped_uuid_finds_the_inventorys_machine() {
    for (guest, inventory) in [
        ("5C241F42-A87F-FA60-6AF6-A46351CED0EB", "421F245C-7FA8-60FA-6AF6-A46351CED0EB"),
        ("D0DF4C54-4ECB-4A11-A0B1-0123456789AB", "544CDFD0-CB4E-114A-A0B1-0123456789AB"),
        ("45e12aec-dcd1-b213-94ed-012345abcdef", "ec2ae145-d1dc-13b2-94ed-012345abcdef"),
    ] {
        for (guest, inventory) in [(guest, inventory), (inventory, guest), (guest, guest)] {
            let local = Local { uuid: Uuid::parse(guest), ..Local::default() };
            let snapshot = Snapshot::new(&local, &[entry("web", inventory, "")]);
            assert_eq!(snapshot.local().fact(Field::VmUuid), Some(inventory.to_lowercase().as_str()));
            assert_eq!(snapshot.local().fact(Field::VmName), Some("web"));
            assert_eq!(name_of(snapshot.resolve(relayed(guest))), Some(("web", Evidence::Relayed)));
        }
    }
    // "never match on the last 8 bytes only".
    let snapshot = Snapshot::new(&Local::default(), &[entry("web", WEB, "")]);
    assert_eq!(name_of(snapshot.resolve(relayed("00000001-0002-0003-6af6-a46351ced0eb"))), None);
}

#[test]
fn of_this_machine_nobody_expects_anything_unless_it_is_listed() {
    let local = |hostname: &str| Local { hostname: hostname.to_owned(), ..Local::default() };
    for (hostname, machines) in [("gateway", 2), ("WEB", 1)] {
        let snapshot = Snapshot::new(&local(hostname), &[entry("web", "", "")]);
        assert_eq!((snapshot.machines().len(), snapshot.listed().len()), (machines, 1), "{hostname}");
    }
}

/// Whoever is root on a machine can let its tools report any name and address.
#[test]
fn what_a_guest_says_of_itself_takes_nothing_from_another() {
    let reported = |name: &str, host: &str, address: &str| Entry {
        reported: Reported {
            host_names: vec![host.to_owned()],
            addresses: address.parse().into_iter().collect(),
            macs: Mac::parse("00:50:56:aa:bb:cc").into_iter().collect(),
        },
        ..entry(name, "", "")
    };
    let entries = [web(), reported("mallory", "web-01", "192.0.2.7"), reported("db", "db-01.example", "192.0.2.9")];
    let snapshot = Snapshot::new(&Local::default(), &entries);
    for claim in ["web-01", "web-01.example", "192.0.2.7", "00:50:56:aa:bb:cc"] {
        assert_eq!(name_of(snapshot.resolve(relayed(claim))), Some(("web", Evidence::Relayed)), "{claim}");
    }
    assert_eq!(name_of(snapshot.resolve(peer("192.0.2.7"))), Some(("web", Evidence::Address)));
    // Nor by a host name that is the key of another, of whatever kind, or of nobody.
    for claim in ["007", WEB, "192.0.2.7", "192.0.2.66", "3d1219c7c4c5404aaa1f6d2a48adfda4", "urn:uuid:x", "008"] {
        let with = Snapshot::new(&Local::default(), &[web(), reported("mallory", claim, "")]);
        let without = Snapshot::new(&Local::default(), &[web()]);
        let who =
            |claimed_id, claimed_address| Who { trust: Trust::Relay, claimed_id, claimed_address, ..Who::default() };
        for who in [who(Some(claim), None), who(None, Some(claim))] {
            if claim != "008" || who.claimed_id.is_some() {
                assert_eq!(name_of(with.resolve(who)), name_of(without.resolve(who)), "{claim}");
            }
        }
    }
    // Where nobody else has it, it selects: else a vCenter's machines would have no address.
    assert_eq!(name_of(snapshot.resolve(peer("192.0.2.9"))), Some(("db", Evidence::Address)));
    assert_eq!(name_of(snapshot.resolve(relayed("db-01"))), Some(("db", Evidence::Relayed)));
    assert_eq!(snapshot.named("db").unwrap().fact(Field::HostName), Some("db-01.example"));
    // Two who say the same of themselves: neither.
    let two = [reported("a", "same", "192.0.2.9"), reported("b", "same", "192.0.2.9")];
    let snapshot = Snapshot::new(&Local::default(), &two);
    assert!(snapshot.is_shared("same") && snapshot.is_shared("192.0.2.9"));
}

/// What the snapshot holds of one machine of a real inventory, but for the letters of its texts: by the sizes of types
/// and the room that the tables have, as the allocator cannot be counted without `unsafe`.
#[test]
fn what_a_machine_takes_beside_its_texts() {
    const MACHINES: u32 = 100_000;
    let entry = |n: u32| Entry {
        uuid: Uuid::parse(&format!("421f245c-7fa8-60fa-6af6-{n:012x}")),
        instance_uuid: Uuid::parse(&format!("5011245c-7fa8-60fa-6af6-{n:012x}")),
        moref: format!("vm-{n}"),
        vcenter: "aa11bb22-0000-4000-8000-000000000001".to_owned(),
        power: "on".to_owned(),
        addresses: vec![std::net::Ipv4Addr::from_bits(0x0a00_0000 + n).into()],
        ..entry(&format!("web-{n}"), "", "")
    };
    let entries: Vec<Entry> = (0..MACHINES).map(entry).collect();
    let snapshot = Snapshot::new(&Local::default(), &entries);
    let counts = 2 * size_of::<usize>();
    let of_one = |machine: &Identity| size_of::<Arc<Seen>>() + counts + size_of::<Seen>() + machine.facts.overhead();
    let machines: usize = snapshot.listed().iter().map(of_one).sum();
    let bytes = |all: usize| all / MACHINES as usize;
    println!("a machine: {} bytes of facts, {} of keys", bytes(machines), bytes(snapshot.keys.bytes()));
    assert!(bytes(machines + snapshot.keys.bytes()) <= 150, "{} bytes", bytes(machines + snapshot.keys.bytes()));
}
