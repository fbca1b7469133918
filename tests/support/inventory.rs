//! A virtual machine that tests run on, whatever machine they really run on: its DMI files and the
//! RVTools export that knows it.

use std::fs;
use std::path::Path;

/// BIOS UUID as the hypervisor shows it.
pub const VM_UUID: &str = "421f245c-7fa8-60fa-6af6-a46351ced0eb";
/// Name in the inventory.
pub const VM_NAME: &str = "wharf-vm-07";
/// Managed object reference.
pub const VM_MOREF: &str = "vm-4711";

/// Writes the files into `folder`; answers the `identity:` section of a config. The machine is known
/// by its UUID, which a guest sees byte-swapped.
pub fn identity(folder: &Path) -> String {
    let dmi = folder.join("dmi");
    fs::create_dir_all(&dmi).expect("create DMI folder");
    fs::write(dmi.join("product_uuid"), "5C241F42-A87F-FA60-6AF6-A46351CED0EB\n").expect("write DMI");
    fs::write(dmi.join("sys_vendor"), "VMware, Inc.\n").expect("write DMI");
    let export = folder.join("rvtools.csv");
    let header = "VM,Powerstate,Template,DNS Name,Primary IP Address,Folder,VM ID,SMBIOS UUID,VM UUID,VI SDK UUID";
    let row = format!(
        "{VM_NAME},poweredOn,False,wharf-vm-07.example,192.0.2.7,/prod,{VM_MOREF},{VM_UUID},\
         50011111-2222-3333-4444-555566667777,aa11bb22-0000-4000-8000-000000000001"
    );
    fs::write(&export, format!("{header}\r\n{row}\r\n")).expect("write export");
    format!("identity:\n  dmi: {}\n  inventory: [{}]\n", dmi.display(), export.display())
}
