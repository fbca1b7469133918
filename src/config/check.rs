//! What only a look at the whole, or at the machine, can tell: `wharfinger validate`, and `run`
//! before it opens anything.

use super::{Config, Part, sections};
use crate::document::{Entry, Mistake, Mistakes, Place, Value};
use crate::identity::inventory;
use crate::part::{Listening, Problem, Transport};
use crate::sinks::SinkConfig;

impl Config {
    /// Checks options against each other and against this machine: files, addresses, certificates.
    /// Touches no network. What it answers when all is well are warnings.
    ///
    /// # Errors
    /// Everything that would keep the gateway from starting or a part from working.
    pub fn check(&self) -> Result<Mistakes, Mistakes> {
        let mut errors = Vec::new();
        for source in &self.sources {
            let problems = source.options.check();
            errors.extend(problems.into_iter().map(|problem| source.mistake("sources", problem)));
        }
        for sink in &self.sinks {
            let problems = sink.options.check();
            let redaction = sink.redaction_problems();
            errors.extend(problems.into_iter().chain(redaction).map(|problem| sink.mistake("sinks", problem)));
        }
        for provider in &self.providers {
            let problems = provider.options.check();
            errors.extend(problems.into_iter().map(|problem| provider.mistake("identity.providers", problem)));
        }
        self.check_inventories(&mut errors);
        self.check_addresses(&mut errors);
        self.check_digests(&mut errors);
        if self.journal.bytes_max < sections::JOURNAL_BYTES_MIN {
            let cause = format!("`journal.bytes_max`: {} is too little", self.journal.bytes_max);
            let hint = format!("give it at least {}", sections::JOURNAL_BYTES_MIN);
            errors.push(Mistake::new(self.place("journal.bytes_max"), cause, hint));
        }
        if self.receipts.bytes_max < sections::RECEIPTS_BYTES_MIN {
            let cause = format!("`receipts.bytes_max`: {} is too little", self.receipts.bytes_max);
            let hint = format!("give it at least {}, or write `keep: false`", sections::RECEIPTS_BYTES_MIN);
            errors.push(Mistake::new(self.place("receipts.bytes_max"), cause, hint));
        }
        if !errors.is_empty() {
            return Err(Mistakes::new(&self.file, errors));
        }
        Ok(Mistakes::new(&self.file, self.warnings()))
    }

    fn check_inventories(&self, errors: &mut Vec<Mistake>) {
        for (index, path) in self.identity.inventory.iter().enumerate() {
            let (cause, hint) = match (Problem::for_file("inventory", path), inventory::read(path)) {
                (Some(problem), _) => (problem.message, problem.hint),
                (None, Err(error)) => (error.to_string(), "export it again, or correct it".to_owned()),
                (None, Ok(_)) => continue,
            };
            let cause = format!("`identity.inventory`: {cause}");
            errors.push(Mistake::new(self.inventory_place(index), cause, hint));
        }
    }

    fn inventory_place(&self, index: usize) -> Option<Place> {
        let list = self.root.find("identity.inventory")?;
        match &list.node.value {
            Value::List(nodes) => nodes.get(index).map(|node| node.place),
            _ => Some(list.node.place),
        }
    }

    /// Two listeners on one address: the second would fail at start.
    fn check_addresses(&self, errors: &mut Vec<Mistake>) {
        let admin = Listening { option: "listen", transport: Transport::Tcp, address: self.admin.listen.get() };
        let mut taken = vec![("admin".to_owned(), admin, self.place("admin.listen"))];
        for source in &self.sources {
            for listening in source.options.listens() {
                let place = source.place_of(listening.option);
                if let Some((name, ..)) = taken.iter().find(|(_, other, _)| other.collides(&listening)) {
                    let cause = format!("`sources.{}` and `{name}` both listen on {}", source.name, listening.address);
                    errors.push(Mistake::new(place, cause, "give one of them another port"));
                }
                taken.push((format!("sources.{}", source.name), listening, Some(place)));
            }
        }
    }

    fn warnings(&self) -> Vec<Mistake> {
        let mut warnings = Vec::new();
        if self.sources.is_empty() {
            warnings.push(Mistake::new(None, "there are no sources", "add one below `sources`: nothing comes in"));
        }
        if self.sinks.is_empty() {
            warnings.push(Mistake::new(
                None,
                "there are no sinks",
                "add one below `sinks`: events stay in the journal",
            ));
        }
        if !self.admin.listen.is_loopback() {
            let cause = format!("`admin.listen`: {} can be reached from other machines", self.admin.listen);
            warnings.push(Mistake::new(
                self.place("admin.listen"),
                cause,
                "it has no TLS, so the token of the page can be read on the way: prefer 127.0.0.1",
            ));
        }
        if self.journal.sync == sections::Sync::Never {
            let cause = "`journal.sync`: with `never`, a power failure loses what senders were told is safe";
            warnings.push(Mistake::new(
                self.place("journal.sync"),
                cause,
                "use `always`, or `interval` with a known loss",
            ));
        }
        warnings
    }

    pub(super) fn place(&self, option: &str) -> Option<Place> {
        self.root.find(option).map(value_place)
    }
}

impl<T: ?Sized> Part<T> {
    /// Where the option stands, or the part when the option is left out.
    fn place_of(&self, option: &str) -> Place {
        self.node.find(option).map_or(self.place, value_place)
    }

    fn mistake(&self, section: &str, problem: Problem) -> Mistake {
        let cause = format!("`{section}.{}.{}`: {}", self.name, problem.option, problem.message);
        Mistake::new(self.place_of(problem.option), cause, problem.hint)
    }
}

impl Part<dyn SinkConfig> {
    fn redaction_problems(&self) -> Vec<Problem> {
        if self.every.redact.is_empty() || !self.options.is_evidence() {
            return self.every.redact.problems();
        }
        let message = "what is sealed is evidence: nothing of it is redacted".to_owned();
        let hint =
            "leave it out: an archive masks passwords and tokens, unless it says `keep_original: true`".to_owned();
        vec![Problem { option: "redact", message, hint }]
    }
}

/// A plain value is pointed at itself, anything larger by its name.
fn value_place(entry: &Entry) -> Place {
    match entry.node.value {
        Value::Table(_) | Value::List(_) | Value::Null => entry.place,
        _ => entry.node.place,
    }
}
