//! What the Docker Engine can say happened: for each object type and action a class, a name and a severity.
//!
//! `docker_events` and `wazuh` look up here what they found, so that both call the same thing by
//! the same class. The action of the API is not an enum: what is not in the table is no error.

/// One kind of thing that happens.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) action: &'static str,
    /// `<Type>.<action>`, as formats call it everywhere.
    pub(crate) class: &'static str,
    /// For people.
    pub(crate) name: &'static str,
    /// 0 to 10: 3 is routine, 5 takes something away or lets someone in, 7 wants a look.
    pub(crate) severity: i64,
}

macro_rules! table {
    ($( $kind:literal $list:ident { $( $action:literal $name:literal $severity:literal; )+ } )+) => {
        $( const $list: &[Row] = &[ $( Row {
            action: $action,
            class: concat!($kind, ".", $action),
            name: $name,
            severity: $severity,
        }, )+ ]; )+

        /// The rows of one object type.
        fn rows(kind: &str) -> &'static [Row] {
            match kind { $( $kind => $list, )+ _ => &[] }
        }

        /// The class of every row.
        #[cfg(test)]
        pub(crate) fn classes() -> impl Iterator<Item = &'static str> {
            [$( $list, )+].into_iter().flatten().map(|row| row.class)
        }
    };
}

// The most frequent actions of a type come first.
table! {
    "container" CONTAINER {
        "exec_create" "Exec created in container" 5;
        "exec_start" "Exec started in container" 5;
        "exec_die" "Exec in container ended" 3;
        "create" "Container created" 3;
        "start" "Container started" 3;
        "die" "Container died" 3;
        "destroy" "Container destroyed" 5;
        "kill" "Container killed" 5;
        "stop" "Container stopped" 3;
        "attach" "Attached to container" 3;
        "health_status" "Container health changed" 3;
        "restart" "Container restarted" 3;
        "resize" "Container terminal resized" 3;
        "archive-path" "Files copied out of container" 3;
        "extract-to-dir" "Files copied into container" 3;
        "oom" "Container ran out of memory" 7;
        "pause" "Container paused" 3;
        "unpause" "Container unpaused" 3;
        "rename" "Container renamed" 3;
        "update" "Container updated" 3;
        "top" "Processes of container listed" 3;
        "commit" "Image made from container" 3;
        "export" "File system of container exported" 5;
        "copy" "Files copied out of container" 3;
        "detach" "Detached from container" 3;
        "exec_detach" "Detached from exec in container" 3;
        "checkpoint" "Container checkpointed" 3;
        "prune" "Stopped containers removed" 5;
    }
    "network" NETWORK {
        "connect" "Container connected to network" 3;
        "disconnect" "Container disconnected from network" 3;
        "create" "Network created" 3;
        "destroy" "Network removed" 5;
        "remove" "Network removed" 5;
        "update" "Network updated" 3;
        "prune" "Unused networks removed" 5;
    }
    "volume" VOLUME {
        "mount" "Volume mounted" 3;
        "unmount" "Volume unmounted" 3;
        "create" "Volume created" 3;
        "destroy" "Volume removed" 7;
        "prune" "Unused volumes removed" 7;
    }
    "image" IMAGE {
        "pull" "Image pulled" 3;
        "tag" "Image tagged" 3;
        "untag" "Image untagged" 3;
        "delete" "Image deleted" 5;
        "push" "Image pushed" 5;
        "create" "Image created" 3;
        "import" "Image imported" 3;
        "load" "Image loaded" 3;
        "save" "Image saved" 3;
        "prune" "Unused images removed" 5;
    }
    "daemon" DAEMON {
        "reload" "Docker daemon configuration reloaded" 5;
    }
    "plugin" PLUGIN {
        "enable" "Plugin enabled" 5;
        "disable" "Plugin disabled" 5;
        "install" "Plugin installed" 5;
        "create" "Plugin created" 5;
        "pull" "Plugin pulled" 3;
        "push" "Plugin pushed" 3;
        "remove" "Plugin removed" 5;
    }
    "service" SERVICE {
        "create" "Service created" 3;
        "update" "Service updated" 3;
        "remove" "Service removed" 5;
    }
    "node" NODE {
        "create" "Node joined the swarm" 5;
        "update" "Node updated" 3;
        "remove" "Node removed from the swarm" 5;
    }
    "secret" SECRET {
        "create" "Secret created" 3;
        "update" "Secret updated" 3;
        "remove" "Secret removed" 5;
    }
    "config" CONFIG {
        "create" "Configuration created" 3;
        "update" "Configuration updated" 3;
        "remove" "Configuration removed" 5;
    }
    "builder" BUILDER {
        "prune" "Build cache removed" 3;
    }
}

/// What is known of `action` on an object of type `kind`.
pub(crate) fn row(kind: &str, action: &str) -> Option<&'static Row> {
    rows(kind).iter().find(|row| row.action == action)
}

/// Whether the Engine has objects of that type.
pub(crate) fn is_kind(kind: &str) -> bool {
    !rows(kind).is_empty()
}

/// Whether an event without a type, as the Engine sent them before API 1.22, is about an image.
pub(crate) fn is_image_action(action: &str) -> bool {
    matches!(action, "delete" | "import" | "pull" | "push" | "tag" | "untag" | "load" | "save")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_stands_once_in_its_type() {
        for kind in
            ["container", "network", "volume", "image", "daemon", "plugin", "service", "node", "secret", "config"]
        {
            let rows = rows(kind);
            for found in rows {
                assert_eq!(rows.iter().filter(|other| other.action == found.action).count(), 1, "{}", found.class);
                assert!(found.class.starts_with(kind) && (0..=10).contains(&found.severity));
            }
        }
        assert_eq!(row("container", "exec_create").map(|row| row.class), Some("container.exec_create"));
        assert!(row("container", "mount").is_none());
    }
}
