//! Forwarding for real: what is written, what the kernel writes beside it, and that all of it is as before in the end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use srsync::kernel::{Kernel, SysctlError, SysctlMemory, SysctlTree};
use srsync::model::egress::{SysctlKey, SysctlValue, Sysctls};
use srsync::model::{Family, InterfaceName};
use srsync::plan::egress::forwarding::{ForwardingPlan, Unwanted, plan};

use super::build::interest;
use crate::support::tables::{quiet, wait_for_links};
use crate::support::{in_namespace, ip, sysctl, veth};

/// Every file of `net/ipv4/conf` and `net/ipv6/conf`, byte for byte.
fn snapshot() -> BTreeMap<PathBuf, Vec<u8>> {
    fn collect(folder: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, files);
                // `stable_secret` cannot be read before it was written.
            } else if let Ok(bytes) = fs::read(&path) {
                files.insert(path, bytes);
            }
        }
    }
    let mut files = BTreeMap::new();
    collect(Path::new("/proc/sys/net/ipv4/conf"), &mut files);
    collect(Path::new("/proc/sys/net/ipv6/conf"), &mut files);
    assert!(files.len() > 200, "{}", files.len());
    files
}

/// A node between `east` and `west`, and a memory that goes with the test.
struct Node {
    tree: SysctlTree,
    memory: SysctlMemory,
    path: PathBuf,
}

impl Node {
    fn new(name: &str) -> Self {
        quiet();
        veth("east", "west");
        wait_for_links();
        let path = std::env::temp_dir().join(format!("srsync-{name}-{}", std::process::id()));
        Self {
            tree: SysctlTree::below(SysctlTree::USUAL),
            memory: SysctlMemory::at(&path),
            path,
        }
    }

    fn values(&self) -> BTreeMap<SysctlKey, SysctlValue> {
        let observed = Kernel::open().unwrap().observe(&interest()).unwrap();
        self.tree.read(&observed.links).unwrap()
    }

    fn plan(&self, wanted: &BTreeMap<SysctlKey, SysctlValue>) -> ForwardingPlan {
        let sysctls = Sysctls {
            values: self.values(),
            remembered: self.memory.load().unwrap(),
            read_only: None,
        };
        plan(&sysctls, wanted, Unwanted::Restore)
    }

    /// Two passes; the second writes nothing.
    fn passes(&self, wanted: &[(SysctlKey, i32)]) {
        let wanted = wanted
            .iter()
            .map(|(key, value)| (key.clone(), SysctlValue::new(*value)));
        let wanted = wanted.collect();
        let plan = self.plan(&wanted);
        self.memory.save(&plan.remember).unwrap();
        for (key, write) in &plan.writes {
            self.tree.write(key, write.value).unwrap();
        }
        let again = self.plan(&wanted);
        assert_eq!(again.writes, BTreeMap::new());
        self.memory.save(&again.remember).unwrap();
        for (key, value) in wanted {
            assert_eq!(self.values()[&key], value, "{key}");
        }
    }

    fn is(&self, path: &str, value: &str) {
        let path = format!("/proc/sys/net/{path}");
        let text = String::from_utf8(fs::read(&path).unwrap()).unwrap();
        assert_eq!(text.trim(), value, "{path}");
    }
}

fn name(name: &str) -> InterfaceName {
    InterfaceName::new(name).unwrap()
}

fn all(on: i32) -> Vec<(SysctlKey, i32)> {
    Family::BOTH
        .map(|family| (SysctlKey::ForwardAll(family), on))
        .to_vec()
}

#[test]
fn forwarding_is_turned_on_and_everything_is_as_before_in_the_end() {
    in_namespace(|| {
        let node = Node::new("on");
        let before = snapshot();
        node.passes(&all(1));
        for family in ["ipv4", "ipv6"] {
            for interface in ["all", "default", "lo", "east", "west"] {
                node.is(&format!("{family}/conf/{interface}/forwarding"), "1");
            }
        }
        node.is("ipv4/ip_forward", "1");
        node.is("ipv4/conf/all/accept_redirects", "0");
        node.passes(&[]);
        assert_eq!(snapshot(), before);
        assert!(!node.path.exists(), "nothing is remembered any more");
    });
}

/// One interface forwarded before us, one is not to, one has its own filter, one comes and one goes.
#[test]
fn interfaces_that_differ_are_as_before_in_the_end() {
    in_namespace(|| {
        let node = Node::new("differ");
        for family in ["ipv4", "ipv6"] {
            sysctl(&format!("{family}/conf/east/forwarding"), "1");
        }
        let before = snapshot();
        let mut wanted = all(1);
        for family in Family::BOTH {
            wanted.push((SysctlKey::Forward(family, name("west")), 0));
        }
        wanted.push((SysctlKey::RpFilter(name("east")), 2));
        node.passes(&wanted);
        node.is("ipv4/conf/east/rp_filter", "2");
        node.is("ipv6/conf/west/forwarding", "0");
        veth("pod.0", "pod.1");
        node.is("ipv4/conf/pod.0/forwarding", "1");
        wanted.push((SysctlKey::Forward(Family::V4, name("pod.0")), 0));
        node.passes(&wanted);
        ip("link del pod.0");
        let plan = node.plan(
            &wanted
                .iter()
                .map(|(k, v)| (k.clone(), SysctlValue::new(*v)))
                .collect(),
        );
        assert_eq!(plan.writes, BTreeMap::new());
        node.passes(&[]);
        assert_eq!(snapshot(), before);
    });
}

/// The other way round, and with somebody who interferes.
#[test]
fn forwarding_is_turned_off_and_on_again_and_what_somebody_changed_stays() {
    in_namespace(|| {
        let node = Node::new("off");
        sysctl("ipv4/ip_forward", "1");
        sysctl("ipv6/conf/all/forwarding", "1");
        sysctl("ipv6/conf/west/forwarding", "0");
        let mut before = snapshot();
        let mut wanted = all(0);
        wanted.push((SysctlKey::RpFilter(name("west")), 1));
        node.passes(&wanted);
        node.is("ipv4/conf/all/accept_redirects", "1");
        sysctl("ipv4/conf/west/rp_filter", "2");
        node.passes(&[]);
        before.insert(
            "/proc/sys/net/ipv4/conf/west/rp_filter".into(),
            b"2\n".to_vec(),
        );
        assert_eq!(snapshot(), before);
        assert!(!node.path.exists());
    });
}

#[test]
fn what_is_not_there_and_what_is_refused_is_said() {
    in_namespace(|| {
        let node = Node::new("refused");
        let nowhere = SysctlKey::Forward(Family::V4, name("nowhere"));
        assert_eq!(node.values().get(&nowhere), None);
        let error = node.tree.write(&nowhere, SysctlValue::new(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot write 1 to /proc/sys/net/ipv4/conf/nowhere/forwarding: there is no such interface, or no IPv6 \
             (ENOENT: No such file or directory)"
        );
        assert_eq!(node.tree.read_only(), None);
        let error = SysctlTree::below("/proc").read(&[]).unwrap_err();
        assert!(matches!(error, SysctlError::NoTree { .. }), "{error}");
    });
}

fn mount(args: &str) {
    run("mount", args);
}

fn run(program: &str, args: &str) {
    let status = Command::new(program)
        .args(args.split(' '))
        .status()
        .unwrap();
    assert!(status.success(), "{program} {args}");
}

/// A container has its `/proc/sys` read-only, and that of the node at another place.
#[test]
fn a_read_only_tree_says_so_and_another_mount_of_it_is_written() {
    in_namespace(|| {
        let node = Node::new("read-only");
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        mount("--make-rprivate /");
        let elsewhere =
            std::env::temp_dir().join(format!("srsync-proc-sys-{}", std::process::id()));
        fs::create_dir(&elsewhere).unwrap();
        mount(&format!("--rbind /proc/sys {}", elsewhere.display()));
        mount("--bind /proc/sys /proc/sys");
        mount("-o remount,bind,ro /proc/sys");

        let why = node.tree.read_only().unwrap();
        assert!(why.starts_with("/proc/sys is mounted read-only"), "{why}");
        let forward = SysctlKey::ForwardAll(Family::V4);
        let error = node.tree.write(&forward, SysctlValue::new(1)).unwrap_err();
        assert!(
            error.to_string().contains("(EROFS: Read-only file system)"),
            "{error}"
        );
        let other = SysctlTree::below(&elsewhere);
        assert_eq!(other.read_only(), None);
        other.write(&forward, SysctlValue::new(1)).unwrap();
        node.is("ipv4/ip_forward", "1");
        assert_eq!(node.values()[&forward], SysctlValue::new(1));
        run("umount", &elsewhere.display().to_string());
        fs::remove_dir(&elsewhere).unwrap();
    });
}
