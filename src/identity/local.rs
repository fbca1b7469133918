//! The machine the gateway runs on: DMI, machine-id, hypervisor.
//!
//! Inside a container the DMI files show the host's values, which is what is wanted here. A file
//! that is absent or unreadable (most DMI files are for root only) is simply not known.

use std::fs;
use std::path::{Path, PathBuf};

use wharfinger_formats::Field;

use super::{Entry, Mac, Uuid};
use crate::facts::Facts;

/// Where the facts are read from: other roots for tests and for containers.
#[derive(Debug, Clone)]
pub struct Roots {
    /// Usually `/sys/class/dmi/id`.
    pub dmi: PathBuf,
    /// Usually `/etc`: holds `machine-id`.
    pub etc: PathBuf,
    /// Usually `/proc`: `cpuinfo`, `sys/kernel/hostname`.
    pub proc: PathBuf,
    /// Usually `/sys/class/net`: a folder for each network card.
    pub net: PathBuf,
    /// Usually `/run/cloud-init/instance-data.json`.
    pub cloud_init: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Roots {
            dmi: "/sys/class/dmi/id".into(),
            etc: "/etc".into(),
            proc: "/proc".into(),
            net: "/sys/class/net".into(),
            cloud_init: "/run/cloud-init/instance-data.json".into(),
        }
    }
}

/// What the machine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Local {
    /// Host name as the kernel has it.
    pub hostname: String,
    /// 32 hex digits; clones of an image share it.
    pub machine_id: String,
    /// As the guest sees it; VMware's serial is preferred, for it is unswapped.
    pub uuid: Option<Uuid>,
    /// `vmware`, `kvm`, `microsoft` … as `systemd-detect-virt` names them; `none` on bare metal.
    pub hypervisor: String,
    /// Those of its network cards that have a device: bridges and pairs of containers have none.
    pub macs: Vec<Mac>,
    /// What its cloud says of it: cloud, instance id, region, name.
    pub cloud: Entry,
}

/// The largest file of cloud-init that is read.
const CLOUD_INIT_BYTES_MAX: u64 = 4 << 20;
/// More cards are passed over.
const CARDS_MAX: usize = 64;

/// A piece of a DMI string and the hypervisor it gives away (formats §9).
const HYPERVISORS: &[(&str, &str)] = &[
    ("VMware", "vmware"),
    ("KVM", "kvm"),
    ("Amazon EC2", "amazon"),
    ("Google Compute Engine", "google"),
    ("QEMU", "qemu"),
    ("VirtualBox", "oracle"),
    ("innotek", "oracle"),
    ("OpenStack", "kvm"),
    ("Parallels", "parallels"),
    ("Xen", "xen"),
    ("BHYVE", "bhyve"),
    ("Virtual Machine", "microsoft"),
];

impl Local {
    /// Reads what can be read.
    pub fn read(roots: &Roots) -> Local {
        let dmi = |name: &str| text(&roots.dmi.join(name));
        let uuid = Uuid::from_vmware_serial(&dmi("product_serial")).or_else(|| Uuid::parse(&dmi("product_uuid")));
        let machine_id = text(&roots.etc.join("machine-id"));
        let usable = machine_id.len() == 32 && machine_id.bytes().all(|byte| byte.is_ascii_hexdigit());
        Local {
            hostname: text(&roots.proc.join("sys/kernel/hostname")),
            machine_id: if usable { machine_id } else { String::new() },
            uuid,
            hypervisor: hypervisor(roots).to_owned(),
            macs: macs(&roots.net),
            cloud: cloud_init(&roots.cloud_init).unwrap_or_default(),
        }
    }

    /// A cloud says what this machine is; it knows better than what cloud-init has left.
    pub fn told_by_cloud(&mut self, mut told: Entry) {
        told.complete(&self.cloud);
        self.cloud = told;
    }

    pub(super) fn facts(&self) -> Facts {
        let uuid = self.uuid.map(|uuid| uuid.to_string()).unwrap_or_default();
        let own = [
            (Field::HostName, &*self.hostname),
            (Field::HostId, &self.machine_id),
            (Field::Hypervisor, &self.hypervisor),
            (Field::VmUuid, &uuid),
        ];
        own.into_iter().chain(&self.cloud.facts()).collect()
    }
}

fn macs(net: &Path) -> Vec<Mac> {
    let Ok(cards) = fs::read_dir(net) else { return Vec::new() };
    let paths = cards.filter_map(|card| Some(card.ok()?.path())).filter(|path| path.join("device").exists());
    let mut macs: Vec<Mac> =
        paths.take(CARDS_MAX).filter_map(|path| Mac::parse(&text(&path.join("address")))).collect();
    macs.sort_unstable_by_key(Mac::to_string);
    macs
}

/// formats §9: `v1.instance_id`/`instance-id` in both spellings, `cloud_name`, `region`. Whoever may not read the file
/// is told nothing.
fn cloud_init(path: &Path) -> Option<Entry> {
    let bytes = crate::document::read_bytes(path, CLOUD_INIT_BYTES_MAX).ok()?;
    let document: serde_json::Value = serde_json::from_slice(&bytes).ok()?;
    let v1 = document.get("v1")?;
    let word = |names: &[&str]| {
        let found = names.iter().find_map(|name| v1.get(name)?.as_str());
        found.filter(|text| !matches!(*text, "" | "unknown" | "none")).unwrap_or_default().to_owned()
    };
    Some(Entry {
        cloud: word(&["cloud_name", "cloud-name"]),
        instance_id: word(&["instance_id", "instance-id"]),
        region: word(&["region"]),
        ..Entry::default()
    })
}

fn hypervisor(roots: &Roots) -> &'static str {
    for name in ["product_name", "sys_vendor", "board_vendor", "bios_vendor", "chassis_vendor"] {
        let value = text(&roots.dmi.join(name));
        // Microsoft's `Virtual Machine` is Hyper-V only with Microsoft as the vendor.
        let found = HYPERVISORS.iter().find(|(piece, name)| {
            value.contains(piece)
                && (*name != "microsoft" || text(&roots.dmi.join("sys_vendor")).starts_with("Microsoft"))
        });
        if let Some((_, hypervisor)) = found {
            return hypervisor;
        }
    }
    let cpuinfo = text(&roots.proc.join("cpuinfo"));
    let virtualized = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_ascii_whitespace().any(|flag| flag == "hypervisor"));
    match (virtualized, cpuinfo.is_empty()) {
        (true, _) => "vm-other",
        (false, false) => "none",
        (false, true) => "",
    }
}

/// A small file's text without the line end; empty when it cannot be read.
fn text(path: &Path) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> Local {
        let dir = tempfile::tempdir().unwrap();
        for (name, value) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, value).unwrap();
        }
        let path = |name: &str| dir.path().join(name);
        Local::read(&Roots {
            dmi: path("dmi"),
            etc: path("etc"),
            proc: path("proc"),
            net: path("net"),
            cloud_init: path("instance-data.json"),
        })
    }

    #[test]
    fn a_vmware_guest() {
        let local = machine(&[
            ("dmi/product_name", "VMware Virtual Platform\n"),
            ("dmi/product_uuid", "5C241F42-A87F-FA60-6AF6-A46351CED0EB\n"),
            ("dmi/product_serial", "VMware-42 1f 24 5c 7f a8 60 fa-6a f6 a4 63 51 ce d0 eb\n"),
            ("etc/machine-id", "3d1219c7c4c5404aaa1f6d2a48adfda4\n"),
            ("proc/sys/kernel/hostname", "web-01\n"),
        ]);
        assert_eq!(local.hypervisor, "vmware");
        assert_eq!(local.hostname, "web-01");
        assert_eq!(local.machine_id, "3d1219c7c4c5404aaa1f6d2a48adfda4");
        assert_eq!(local.uuid, Uuid::parse("421f245c-7fa8-60fa-6af6-a46351ced0eb"));
    }

    #[test]
    fn a_guest_of_a_cloud() {
        let local = machine(&[
            ("net/eth0/device/x", ""),
            ("net/eth0/address", "02:50:56:aa:bb:cc\n"),
            ("net/docker0/address", "02:42:00:00:00:01\n"),
            (
                "instance-data.json",
                r#"{"v1": {"cloud_name": "aws", "instance-id": "i-0123456789abcdef0", "region": "eu-central-1"}}"#,
            ),
        ]);
        assert_eq!(local.macs, Mac::parse("02:50:56:aa:bb:cc").into_iter().collect::<Vec<_>>());
        let facts = local.facts();
        let facts = [Field::Cloud, Field::InstanceId, Field::Region].map(|field| facts.get(field).unwrap());
        assert_eq!(facts, ["aws", "i-0123456789abcdef0", "eu-central-1"]);
    }

    #[test]
    fn what_is_missing_is_not_known() {
        assert_eq!(machine(&[("etc/machine-id", "uninitialized\n")]), Local::default());
    }

    #[test]
    fn a_virtual_machine_without_dmi_is_still_one() {
        let local = machine(&[("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\n")]);
        assert_eq!(local.hypervisor, "vm-other");
        let local = machine(&[("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vme\n")]);
        assert_eq!(local.hypervisor, "none");
    }
}
