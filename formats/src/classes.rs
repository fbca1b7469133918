//! What kind of thing an event class is in the words of ECS and of OCSF: one row for both.
//!
//! `ecs` and `ocsf` look up here. What stands in no row is an event of no category in ECS and a
//! Base Event in OCSF, never a guess.

/// A class of OCSF 1.5: its number is category times 1000 and more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ocsf {
    BaseEvent = 0,
    ProcessActivity = 1007,
    ComplianceFinding = 2003,
    DetectionFinding = 2004,
    Authentication = 3002,
    ApplicationLifecycle = 6002,
    ApiActivity = 6003,
}

/// One kind of thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    /// `event.category` and `event.type` of ECS: words of its fixed lists, or none.
    pub(crate) category: &'static str,
    pub(crate) change: &'static str,
    pub(crate) ocsf: Ocsf,
    /// `activity_id` of the OCSF class.
    pub(crate) activity: i64,
}

const NONE: Class = of("", "", Ocsf::BaseEvent, 0);

const fn of(category: &'static str, change: &'static str, ocsf: Ocsf, activity: i64) -> Class {
    Class { category, change, ocsf, activity }
}

/// What `class` is.
pub(crate) fn class(class: &str) -> Class {
    let (object, action) = class.split_once('.').unwrap_or((class, ""));
    match object {
        "container" => container(action),
        "image" | "volume" | "network" | "plugin" | "secret" | "config" | "service" | "node" | "builder" | "swarm"
        | "api" => changed(action),
        "daemon" => daemon(action),
        // What no rule made an alert of.
        "wazuh" if action == "event" => NONE,
        "wazuh" => of("intrusion_detection", "info", Ocsf::DetectionFinding, 1),
        "finding" | "policy" => of("intrusion_detection", "info", Ocsf::DetectionFinding, 1),
        "compliance" => of("configuration", "info", Ocsf::ComplianceFinding, 1),
        "registry" if action == "login" => of("authentication", "start", Ocsf::Authentication, 1),
        "audit" => audit(action),
        _ => NONE,
    }
}

/// Lifecycle of OCSF 6002: 3 start, 4 stop, 5 restart, 6 enable, 7 disable, 99 other. Process
/// activity 1007: 1 launch, 2 terminate. API activity 6003: 1 create, 2 read, 3 update, 4 delete.
fn container(action: &str) -> Class {
    use Ocsf::{ApiActivity, ApplicationLifecycle, ProcessActivity};
    match action {
        "start" => of("process", "start", ApplicationLifecycle, 3),
        "stop" | "kill" => of("process", "end", ApplicationLifecycle, 4),
        "restart" => of("process", "start", ApplicationLifecycle, 5),
        "unpause" => of("process", "change", ApplicationLifecycle, 6),
        "pause" => of("process", "change", ApplicationLifecycle, 7),
        "exec_create" | "exec_start" => of("process", "start", ProcessActivity, 1),
        "die" | "exec_die" | "oom" | "task_delete" => of("process", "end", ProcessActivity, 2),
        "health_status" => of("process", "info", ApplicationLifecycle, 99),
        "archive-path" | "copy" | "export" => of("file", "access", ApiActivity, 2),
        "extract-to-dir" => of("file", "creation", ApiActivity, 3),
        "attach" => of("session", "start", ApiActivity, 2),
        "detach" | "exec_detach" => of("session", "end", ApiActivity, 2),
        "top" => of("process", "info", ApiActivity, 2),
        "resize" => of("session", "info", ApiActivity, 3),
        "log" => NONE,
        _ => changed(action),
    }
}

/// What was done to an object through the Engine's API.
fn changed(action: &str) -> Class {
    use Ocsf::ApiActivity;
    match action {
        "create" | "pull" | "load" | "import" | "tag" | "build" | "commit" | "checkpoint" | "install" | "init"
        | "join" => of("configuration", "creation", ApiActivity, 1),
        "push" | "save" | "get" | "head" | "options" => of("configuration", "access", ApiActivity, 2),
        "destroy" | "remove" | "delete" | "prune" | "untag" | "leave" => {
            of("configuration", "deletion", ApiActivity, 4)
        }
        "connect" | "disconnect" | "mount" | "unmount" | "rename" | "update" | "enable" | "disable" | "post"
        | "put" | "patch" => of("configuration", "change", ApiActivity, 3),
        _ => of("configuration", "info", ApiActivity, 99),
    }
}

fn daemon(action: &str) -> Class {
    use Ocsf::ApplicationLifecycle;
    match action {
        "start" | "ready" => of("process", "start", ApplicationLifecycle, 3),
        "stop" | "signal" => of("process", "end", ApplicationLifecycle, 4),
        "reload" => of("configuration", "change", ApplicationLifecycle, 8),
        _ => NONE,
    }
}

/// Records of the Linux audit system, whose class is the type of the record.
fn audit(action: &str) -> Class {
    match action {
        "execve" | "proctitle" => of("process", "start", Ocsf::ProcessActivity, 1),
        "user_login" | "user_auth" | "user_start" => of("authentication", "start", Ocsf::Authentication, 1),
        "user_logout" | "user_end" => of("authentication", "end", Ocsf::Authentication, 2),
        _ => NONE,
    }
}

/// What OCSF calls an activity: the caption of the class's own list.
pub(crate) fn activity_name(class: Ocsf, activity: i64) -> &'static str {
    match (class, activity) {
        (_, 0) => "Unknown",
        (Ocsf::ProcessActivity, 1) => "Launch",
        (Ocsf::ProcessActivity, 2) => "Terminate",
        (Ocsf::Authentication, 1) => "Logon",
        (Ocsf::Authentication, 2) => "Logoff",
        (Ocsf::ApplicationLifecycle, 3) => "Start",
        (Ocsf::ApplicationLifecycle, 4) => "Stop",
        (Ocsf::ApplicationLifecycle, 5) => "Restart",
        (Ocsf::ApplicationLifecycle, 6) => "Enable",
        (Ocsf::ApplicationLifecycle, 7) => "Disable",
        (Ocsf::ApplicationLifecycle, 8) => "Update",
        (Ocsf::ApiActivity | Ocsf::DetectionFinding | Ocsf::ComplianceFinding, 1) => "Create",
        (Ocsf::DetectionFinding | Ocsf::ComplianceFinding, 2) => "Update",
        (Ocsf::DetectionFinding | Ocsf::ComplianceFinding, 3) => "Close",
        (Ocsf::ApiActivity, 2) => "Read",
        (Ocsf::ApiActivity, 3) => "Update",
        (Ocsf::ApiActivity, 4) => "Delete",
        _ => "Other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words ECS 8 expects of a type, by category.
    const ECS: &[(&str, &[&str])] = &[
        ("authentication", &["start", "end", "info"]),
        ("configuration", &["access", "change", "creation", "deletion", "info"]),
        ("file", &["access", "change", "creation", "deletion", "info"]),
        ("intrusion_detection", &["allowed", "denied", "info"]),
        ("process", &["access", "change", "end", "info", "start"]),
        ("session", &["start", "end", "info"]),
    ];

    #[test]
    fn the_table_of_formats_8() {
        for (name, category, change, ocsf, activity) in [
            ("container.create", "configuration", "creation", 6003, 1),
            ("container.destroy", "configuration", "deletion", 6003, 4),
            ("container.rename", "configuration", "change", 6003, 3),
            ("container.update", "configuration", "change", 6003, 3),
            ("container.start", "process", "start", 6002, 3),
            ("container.stop", "process", "end", 6002, 4),
            ("container.restart", "process", "start", 6002, 5),
            ("container.pause", "process", "change", 6002, 7),
            ("container.unpause", "process", "change", 6002, 6),
            ("container.exec_create", "process", "start", 1007, 1),
            ("container.exec_die", "process", "end", 1007, 2),
            ("container.die", "process", "end", 1007, 2),
            ("wazuh.5710", "intrusion_detection", "info", 2004, 1),
            ("wazuh.event", "", "", 0, 0),
            ("compliance.docker_not_allowed", "configuration", "info", 2003, 1),
            ("registry.login", "authentication", "start", 3002, 1),
            ("container.log", "", "", 0, 0),
            ("unparsed", "", "", 0, 0),
        ] {
            let found = class(name);
            assert_eq!(
                (found.category, found.change, found.ocsf as i64, found.activity),
                (category, change, ocsf, activity),
                "{name}"
            );
        }
    }

    #[test]
    fn every_class_of_the_engine_has_words_that_go_together() {
        for name in crate::docker_actions::classes() {
            let found = class(name);
            let (_, changes) = ECS.iter().find(|(category, _)| *category == found.category).unwrap_or(&("", &[]));
            assert!(changes.contains(&found.change), "{name}: {found:?}");
            assert!(found.ocsf != Ocsf::BaseEvent && found.activity > 0, "{name}");
            let is_other = activity_name(found.ocsf, found.activity) == "Other";
            assert_eq!(is_other, found.activity == 99, "{name}: {found:?}");
        }
    }
}
