//! Who should speak and does not, and who speaks and is unknown: findings of the clock, at a file.

use std::time::Duration;

use serde_json::Value;
use wharfinger::intake::{Origin, Trust};

use super::policy::{LAB, PAYROLL, Yard, findings};

fn text<'e>(event: &'e Value, name: &str) -> &'e str {
    event[name].as_str().or_else(|| event["fields"][name].as_str()).unwrap_or_default()
}

/// The gateway listens for so many minutes, and looks at its clock. Answers how many findings it tells.
async fn listen(yard: &Yard, minutes: u64) -> usize {
    yard.identity.load().register().listened_for(Duration::from_secs(60 * minutes));
    yard.intake().tell_due().await.unwrap()
}

const WATCHED: &str = "  groups:\n    default: {silent_after: 1h, unknown_senders: forbidden}\n";
const MACHINES: [(&str, &str); 2] = [("lab-1", LAB), ("payroll", PAYROLL)];

#[tokio::test]
async fn a_machine_that_falls_silent_is_told_once_and_resolved_when_it_speaks() {
    let mut yard = Yard::new(WATCHED);
    yard.take(PAYROLL, ["<13>a word"]).await;
    assert_eq!((listen(&yard, 0).await, listen(&yard, 59).await), (0, 0));
    yard.take(LAB, ["<13>a word"]).await;
    assert_eq!((listen(&yard, 0).await, listen(&yard, 1).await), (0, 1));
    yard.intake().store_register().await.unwrap();

    // However long the gateway is down, nobody is accused for that, and nothing is told again.
    yard.restart(&MACHINES);
    assert_eq!(listen(&yard, 1).await, 0);
    yard.take(PAYROLL, ["<13>here I am"]).await;
    assert_eq!(listen(&yard, 0).await, 1);
    assert_eq!(listen(&yard, 57).await, 0);
    assert_eq!(listen(&yard, 1).await, 1, "`lab-1` was silent for 1 minute before the restart, and 59 after it");
    assert_eq!(listen(&yard, 0).await, 0);

    let (cef, json) = yard.delivered().await;
    let found = findings(&json);
    let [silent, resolved, other] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!(text(silent, "event_class"), "compliance.source_silent");
    assert_eq!((text(silent, "vm.name"), text(silent, "action"), text(silent, "cause")), ("payroll", "create", ""));
    assert_eq!((text(silent, "rule.groups"), &silent["severity"]), ("audit-integrity", &7.into()));
    assert!(text(silent, "reason").contains("the last word came at 2"), "{silent:#}");
    assert_eq!((text(resolved, "vm.name"), text(resolved, "action")), ("payroll", "close"));
    assert_eq!(text(resolved, "cause"), text(silent, "event_id"), "what was told is named");
    assert_eq!(text(resolved, "finding.id"), text(silent, "finding.id"));
    assert_eq!((text(other, "vm.name"), text(other, "action")), ("lab-1", "create"));
    assert!(cef.iter().any(|line| line.contains("|compliance.source_silent|A machine that should speak is silent|7|")));
}

#[tokio::test]
async fn a_stranger_is_told_until_the_inventory_names_it() {
    let yard = Yard::new(WATCHED);
    yard.take("192.0.2.99", ["<13>Nov 21 09:05:11 payroll app: I am somebody else"; 3]).await;
    assert_eq!((listen(&yard, 0).await, listen(&yard, 0).await), (1, 0));
    yard.know(&[("lab-1", LAB), ("payroll", PAYROLL), ("new-1", "192.0.2.99")]);
    assert_eq!((listen(&yard, 0).await, listen(&yard, 0).await), (1, 0));

    let (_, json) = yard.delivered().await;
    let found = findings(&json);
    let [told, resolved] = found.as_slice() else { panic!("{found:#?}") };
    assert_eq!((text(told, "event_class"), text(told, "src.ip")), ("compliance.unknown_source", "192.0.2.99"));
    assert_eq!((text(told, "vm.name"), text(told, "host.name")), ("", ""), "a claim is no name");
    assert_eq!(text(told, "host.claimed_name"), "payroll");
    assert!(text(told, "msg").contains("on `192.0.2.99`"), "{told:#}");
    assert!(text(resolved, "msg").ends_with("resolved: an inventory names it now"), "{resolved:#}");
}

/// Whoever can forge addresses makes neither memory nor findings without end.
#[tokio::test]
async fn a_flood_of_strangers_is_bounded() {
    let yard = Yard::new(WATCHED);
    let intake = yard.intake();
    let origin = |number: u32| Origin {
        peer: std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).to_string().into(),
        address: Some(std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into()),
        address_unverified: true,
        trust: Trust::Peer,
        format: None,
        zone_seconds: 0,
    };
    let mut frames = intake.frames(origin(0));
    for number in 0..5000 {
        frames.turn_to(origin(number));
        intake.take(&mut frames, b"<13>a word");
    }
    intake.append(&mut frames).await.unwrap();
    let mut told = 0;
    for _ in 0..20 {
        told += listen(&yard, 0).await;
    }
    assert_eq!(told, 1025, "1024 senders, and one finding about all others");
    let (_, json) = yard.delivered().await;
    let others = findings(&json).into_iter().filter(|event| text(event, "msg").contains("`others`")).count();
    assert_eq!(others, 1);
}
