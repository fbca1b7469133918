//! The Docker rules of Wazuh's ruleset, 87900 to 87958, as data: what fires for which event, at which
//! level, what it says and how it is tagged.
//!
//! Most rules look at `status`, which the Engine gives to containers and images; the others look at
//! `Type` and `Action`.

/// One rule.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) id: &'static str,
    pub(super) level: i64,
    /// `{name}` stands for an attribute, `{Action}` for the action with what follows it.
    pub(super) description: &'static str,
    pub(super) tags: Tags,
    /// Techniques of MITRE ATT&CK.
    pub(super) mitre: &'static [&'static str],
}

/// Which clauses a rule is tagged with, in the order Wazuh writes them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tags(pub(super) &'static [(&'static str, &'static [&'static str])]);

const PLAIN: Tags = Tags(&[]);
const GDPR: Tags = Tags(&[("gdpr", &["IV_32.2"])]);
const CREATED: Tags = Tags(&[
    ("pci_dss", &["10.2.7"]),
    ("hipaa", &["164.312.b"]),
    ("nist_800_53", &["AU.14"]),
    ("tsc", &["CC6.8", "CC7.2", "CC7.3"]),
]);
const CREATED_GDPR: Tags = Tags(&[
    ("pci_dss", &["10.2.7"]),
    ("gdpr", &["IV_32.2"]),
    ("hipaa", &["164.312.b"]),
    ("nist_800_53", &["AU.14"]),
    ("tsc", &["CC6.8", "CC7.2", "CC7.3"]),
]);
const REMOVED: Tags = Tags(&[
    ("pci_dss", &["10.2.7", "11.5"]),
    ("hipaa", &["164.312.b", "164.312.c.1", "164.312.c.2"]),
    ("nist_800_53", &["AU.14", "SI.7"]),
    ("tsc", &["CC6.8", "CC7.2", "CC7.3", "PI1.4", "PI1.5", "CC6.1"]),
]);
const CHANGED: Tags = Tags(&[
    ("pci_dss", &["11.5"]),
    ("hipaa", &["164.312.c.1", "164.312.c.2"]),
    ("nist_800_53", &["SI.7"]),
    ("tsc", &["PI1.4", "PI1.5", "CC6.1", "CC6.8", "CC7.2", "CC7.3"]),
]);
const RENAMED: Tags = Tags(&[
    ("pci_dss", &["10.2.5"]),
    ("hipaa", &["164.312.b"]),
    ("nist_800_53", &["AU.14", "AC.7"]),
    ("tsc", &["CC6.8", "CC7.2", "CC7.3"]),
]);

const WIPE: &[&str] = &["T1561.001"];
const DELETE_AND_WIPE: &[&str] = &["T1070.004", "T1561.001"];
const DELETE_AND_DESTROY: &[&str] = &["T1070.004", "T1485"];

/// Tactic and name of the techniques the rules name.
pub(super) fn technique(id: &str) -> (&'static str, &'static str) {
    match id {
        "T1070.004" => ("Defense Evasion", "File Deletion"),
        "T1485" => ("Impact", "Data Destruction"),
        _ => ("Impact", "Disk Content Wipe"),
    }
}

const fn rule(id: &'static str, level: i64, description: &'static str, tags: Tags) -> Rule {
    Rule { id, level, description, tags, mitre: &[] }
}

const fn mitre(
    id: &'static str,
    level: i64,
    description: &'static str,
    tags: Tags,
    mitre: &'static [&'static str],
) -> Rule {
    Rule { id, level, description, tags, mitre }
}

/// Type, action and the rule that fires.
type Row = (&'static str, &'static str, Rule);

static ROWS: &[Row] = &[
    ("container", "create", rule("87901", 3, "Docker: Container {name} created", CREATED)),
    ("container", "destroy", mitre("87902", 5, "Docker: Container {name} destroyed", REMOVED, WIPE)),
    ("container", "start", rule("87903", 3, "Docker: Container {name} started", PLAIN)),
    ("container", "stop", rule("87904", 3, "Docker: Container {name} stopped", PLAIN)),
    ("container", "pause", rule("87905", 3, "Docker: Container {name} paused", PLAIN)),
    ("container", "unpause", rule("87906", 3, "Docker: Container {name} unpaused", PLAIN)),
    (
        "container",
        "exec_start",
        rule("87907", 3, "Docker: Command launched in container {name}. Action: \"{Action}\"", GDPR),
    ),
    ("container", "restart", rule("87909", 3, "Docker: Container {name} restarted", PLAIN)),
    ("container", "extract-to-dir", rule("87910", 3, "Docker: Copied a file from host to {name}", GDPR)),
    ("container", "archive-path", rule("87911", 3, "Docker: Copied a file from {name} to host", GDPR)),
    ("volume", "create", rule("87913", 3, "Docker: Volume created in {driver}", CREATED)),
    ("volume", "destroy", mitre("87914", 7, "Docker: Volume destroyed in {driver}", REMOVED, DELETE_AND_WIPE)),
    ("volume", "mount", rule("87915", 3, "Docker: Volume mounted on {destination}", CREATED)),
    ("volume", "unmount", rule("87916", 5, "Docker: Volume unmounted from {driver}", REMOVED)),
    ("container", "commit", rule("87917", 3, "Docker: Committed an image from container {name}", CREATED)),
    ("image", "tag", rule("87918", 3, "Docker: Image {name} tagged", PLAIN)),
    ("image", "untag", rule("87919", 3, "Docker: Image {name} untagged", PLAIN)),
    ("image", "import", rule("87920", 3, "Docker: Image created from imported data", CREATED_GDPR)),
    // The rule speaks of containers; what the Engine deletes is an image.
    ("image", "delete", mitre("87921", 7, "Docker: Container {name} deleted", REMOVED, DELETE_AND_WIPE)),
    (
        "container",
        "attach",
        rule("87922", 3, "Docker: Attached local standard input, output, and error streams to container {name}", PLAIN),
    ),
    ("container", "export", rule("87923", 5, "Docker: Filesystem of container {name} exported", CREATED_GDPR)),
    ("container", "kill", rule("87924", 7, "Docker: Container {name} received the action: {Action}", GDPR)),
    ("container", "die", rule("87924", 7, "Docker: Container {name} received the action: {Action}", GDPR)),
    ("container", "update", rule("87925", 3, "Docker: Configuration of container {name} updated", CHANGED)),
    ("container", "top", rule("87926", 3, "Docker: Running processes of container {name} displayed", PLAIN)),
    ("network", "connect", rule("87928", 3, "Docker: Network {name} connected", PLAIN)),
    ("network", "disconnect", rule("87929", 4, "Docker: Network {name} disconnected", PLAIN)),
    ("network", "create", rule("87930", 3, "Docker: Network {name} created", CREATED)),
    ("network", "destroy", mitre("87931", 5, "Docker: Network {name} deleted", REMOVED, DELETE_AND_DESTROY)),
    ("image", "pull", rule("87932", 3, "Docker: Image or repository {name} pulled", CREATED)),
    ("image", "load", rule("87933", 3, "Docker: Image loaded", PLAIN)),
    ("image", "save", rule("87934", 3, "Docker: Image saved", PLAIN)),
    ("container", "rename", rule("87935", 3, "Docker: Container renamed from {oldName} to {name}", RENAMED)),
    ("config", "create", rule("87937", 3, "Docker: {name} config created", CREATED)),
    ("config", "remove", rule("87938", 5, "Docker: {name} config deleted", REMOVED)),
    ("secret", "create", rule("87940", 3, "Docker: Secret '{name}' created", CREATED)),
    ("secret", "remove", mitre("87941", 3, "Docker: Secret '{name}' removed", REMOVED, DELETE_AND_DESTROY)),
    ("plugin", "pull", rule("87943", 3, "Docker: Plugin {name} pulled", CREATED)),
    ("plugin", "enable", rule("87944", 3, "Docker: Plugin {name} enabled", PLAIN)),
    ("plugin", "disable", rule("87945", 3, "Docker: Plugin {name} disabled", PLAIN)),
    ("plugin", "remove", mitre("87946", 3, "Docker: Plugin {name} removed", REMOVED, DELETE_AND_DESTROY)),
    ("plugin", "create", rule("87947", 3, "Docker: Plugin {name} created", CREATED)),
    ("node", "create", rule("87949", 3, "Docker: Node created", CREATED)),
    ("node", "update", rule("87950", 3, "Docker: Node updated", CHANGED)),
    (
        "container",
        "resize",
        rule("87952", 3, "Docker: Container {image} resized terminal size to {width}x{height}", PLAIN),
    ),
    ("container", "checkpoint", rule("87953", 3, "Docker: Checkpoint set at container {name}", CREATED)),
    ("service", "create", rule("87955", 3, "Docker: Service {name} created", CREATED)),
    ("service", "update", rule("87956", 3, "Docker: Service {name} updated", CHANGED)),
    ("service", "remove", mitre("87957", 5, "Docker: Service {name} deleted", REMOVED, DELETE_AND_DESTROY)),
    ("image", "push", rule("87958", 3, "Docker: Image {name} pushed", CREATED)),
];

/// A shell started without arguments, which is why a space follows its name.
static SHELL: Rule = rule("87908", 5, "Docker: Started shell session in container {name}", SHELL_TAGS);
const SHELL_TAGS: Tags = CREATED_GDPR;
const SHELLS: &[&str] = &["bash ", "/bin/bash ", "sh ", "dash ", "/bin/dash "];

/// A node that was made manager or worker.
static ROLE: Rule = rule("87951", 3, "Docker: Role for node {name} has changed from {role.old} to {role.new}", RENAMED);

/// What groups the others: level 0, at which Wazuh itself writes no alert.
static GROUPS: &[(&str, Rule)] = &[
    ("volume", rule("87912", 0, "Docker: Docker volume action", PLAIN)),
    ("network", rule("87927", 0, "Docker: Group of network events", PLAIN)),
    ("config", rule("87936", 0, "Docker: Group of Docker config events", PLAIN)),
    ("secret", rule("87939", 0, "Docker: Group of Docker secret events", PLAIN)),
    ("plugin", rule("87942", 0, "Docker: Group of Docker plugin events", PLAIN)),
    ("node", rule("87948", 0, "Docker: Group of Docker node events", PLAIN)),
    ("service", rule("87954", 0, "Docker: Group of service events", PLAIN)),
];
static ANY: Rule = rule("87900", 0, "Docker alerts: {Type}", PLAIN);

/// The rule that fires. `command` is what follows `exec_start: `; `role_changed`, whether a node's
/// old and new role are there.
pub(super) fn rule_for(kind: &str, action: &str, command: &str, role_changed: bool) -> &'static Rule {
    if (kind, action) == ("container", "exec_start") && SHELLS.contains(&command) {
        return &SHELL;
    }
    if (kind, action) == ("node", "update") && role_changed {
        return &ROLE;
    }
    let row = ROWS.iter().find(|(of, word, _)| *of == kind && *word == action);
    let group = || GROUPS.iter().find(|(of, _)| *of == kind).map(|(_, rule)| rule);
    row.map(|(.., rule)| rule).or_else(group).unwrap_or(&ANY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_and_levels_of_the_ruleset() {
        // formats.md §5, as id and level.
        let expected = "87901 3 87902 5 87903 3 87904 3 87905 3 87906 3 87907 3 87909 3 87910 3 87911 3 87913 3 87914 7 \
                        87915 3 87916 5 87917 3 87918 3 87919 3 87920 3 87921 7 87922 3 87923 5 87924 7 87924 7 87925 3 \
                        87926 3 87928 3 87929 4 87930 3 87931 5 87932 3 87933 3 87934 3 87935 3 87937 3 87938 5 87940 3 \
                        87941 3 87943 3 87944 3 87945 3 87946 3 87947 3 87949 3 87950 3 87952 3 87953 3 87955 3 87956 3 \
                        87957 5 87958 3";
        let found: Vec<_> = ROWS.iter().map(|(.., rule)| format!("{} {}", rule.id, rule.level)).collect();
        assert_eq!(found.join(" "), expected);
        assert!(GROUPS.iter().all(|(_, rule)| rule.level == 0));
    }

    #[test]
    fn a_shell_is_one_without_arguments_by_its_bare_name() {
        for (command, id) in [
            ("sh ", "87908"),
            ("/bin/bash ", "87908"),
            ("/bin/dash ", "87908"),
            // formats.md §5: "not `/bin/sh`, and only without arguments".
            ("/bin/sh ", "87907"),
            ("sh -c ls", "87907"),
            ("sh", "87907"),
        ] {
            assert_eq!(rule_for("container", "exec_start", command, false).id, id, "{command}");
        }
        assert_eq!(rule_for("node", "update", "", true).id, "87951");
        for (kind, action, id) in
            [("volume", "prune", "87912"), ("container", "oom", "87900"), ("moon", "create", "87900")]
        {
            assert_eq!(rule_for(kind, action, "", false).id, id);
        }
    }
}
