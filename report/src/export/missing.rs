//! Missing: what stands between this evidence and a whole record, each thing by its name.

use serde::Serialize;

use super::Export;
use super::facts::{Facts, lasting, rfc3339};
use crate::classes::Classes;
use crate::request::Request;

/// One thing that is missing.
#[derive(Debug, Serialize)]
pub struct Missing {
    pub kind: Kind,
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The verifier does not vouch for the archive.
    Unproven,
    Lost,
    Silence,
    Machine,
    Detail,
    Empty,
}

/// Everything, the gravest first.
pub fn find(export: &Export, request: &Request, classes: &Classes, facts: &Facts) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut add = |kind, text: String| missing.push(Missing { kind, text });
    if !export.verified.good {
        add(Kind::Unproven, format!("the verifier does not vouch for the archive: {}", export.verified.verdict));
        for finding in &export.verified.findings {
            add(Kind::Unproven, finding.clone());
        }
    }
    for gap in &facts.gaps {
        let events =
            gap.events.as_deref().map_or_else(|| "an unknown number of events".into(), |n| format!("{n} events"));
        let of = gap.source.as_deref().or(gap.machine.as_deref()).unwrap_or("not recorded by source");
        let when = match (&gap.from, &gap.to) {
            (Some(from), Some(to)) => format!("from {from} to {to}"),
            _ => format!("told at {}", gap.told),
        };
        let cause = gap.cause.as_deref().unwrap_or("cause not recorded");
        add(Kind::Lost, format!("{events} of source {of} were lost, {when}: {cause}"));
    }
    for gap in &export.verified.gaps {
        add(Kind::Lost, format!("sealed as a gap: {gap}"));
    }
    let sums = export.seals.iter().fold((0_u64, 0_u64), |(dropped, quarantined), sealed| {
        (dropped + sealed.dropped, quarantined + sealed.quarantined)
    });
    for (events, what) in [(sums.0, "never reached this archive and are declared lost"), (sums.1, "are in quarantine")]
    {
        if events > 0 {
            add(Kind::Lost, format!("{events} events {what}: tally.csv"));
        }
    }
    for (from, to) in &facts.empty {
        add(Kind::Empty, format!("nothing was received from {} to {}", rfc3339(*from), rfc3339(*to)));
    }
    if facts.events == 0 {
        add(Kind::Empty, "nothing was received in the period".to_owned());
    }
    for spoken in &facts.machines {
        if let Some((from, to)) = spoken.silences.iter().max_by_key(|(from, to)| to - from) {
            let more = match spoken.silences_total - 1 {
                0 => String::new(),
                more => format!(", and {more} times more"),
            };
            let text = format!(
                "machine {} was silent for {} from {} to {}{more}",
                spoken.name,
                lasting(to - from),
                rfc3339(*from),
                rfc3339(*to)
            );
            add(Kind::Silence, text);
        }
    }
    for machine in export.never_heard(facts).filter(|machine| machine.is_on) {
        add(Kind::Machine, format!("machine {} of the inventory was never heard", machine.name));
    }
    if export.inventory.is_none() {
        add(Kind::Machine, "no inventory was given, so nobody knows which machines were never heard".to_owned());
    }
    if facts.machines_more > 0 {
        add(Kind::Machine, format!("{} machines more were heard and are not listed", facts.machines_more));
    }
    for spoken in facts.machines.iter().filter(|spoken| !spoken.is_in_inventory) {
        add(Kind::Machine, format!("machine {} was heard and is in no inventory", spoken.name));
    }
    if facts.unnamed > 0 {
        add(Kind::Machine, format!("{} events name no machine", facts.unnamed));
    }
    for class in &classes.all {
        for detail in &class.details {
            for said in facts.details.iter().filter(|said| said.class == class.id) {
                let without = said.events - said.of(*detail);
                if without > 0 {
                    let (id, source, detail) = (&class.id, &said.source, detail.name());
                    let text = format!("{without} events of class {id} from source {source} do not say the {detail}");
                    add(Kind::Detail, text);
                }
            }
        }
    }
    if request.objects.is_empty() {
        add(Kind::Empty, "no object was sealed in the period".to_owned());
    }
    missing
}
