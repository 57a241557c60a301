//! A kernel of two interfaces, documents that come and go, and what is left in the end.

use super::*;
use crate::model::egress::InterfaceForwarding;
use crate::model::egress::sysctl::Sysctls;
use crate::model::{Dialect, DocumentId, FileId, NodeSelector, Place};

const V4: Family = Family::V4;
type Values = BTreeMap<SysctlKey, SysctlValue>;

fn interface(name: &str) -> InterfaceName {
    InterfaceName::new(name).unwrap()
}

/// `all`, `default`, `redirects`, `rp:eth0`, or the forwarding of an interface.
fn key(name: &str) -> SysctlKey {
    match name {
        "all" => SysctlKey::ForwardAll(V4),
        "default" => SysctlKey::ForwardDefault(V4),
        "redirects" => SysctlKey::AcceptRedirectsAll,
        "rp:all" => SysctlKey::RpFilterAll,
        "rp:eth0" => SysctlKey::RpFilter(interface("eth0")),
        other => SysctlKey::Forward(V4, interface(other)),
    }
}

/// `all=1 eth0=0`.
fn values(text: &str) -> Values {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap();
        (key(name), SysctlValue::new(value.parse().unwrap()))
    };
    text.split_whitespace().map(pair).collect()
}

/// A node as it is before us.
const PLAIN: &str = "all=0 default=0 redirects=1 eth0=0 eth1=0";

struct Node(Sysctls);

impl Node {
    fn with(text: &str) -> Self {
        Self(Sysctls {
            values: values(text),
            ..Sysctls::default()
        })
    }

    /// Writes as the kernel does.
    fn write(&mut self, key: &SysctlKey, value: SysctlValue) {
        let old = self.0.values.insert(key.clone(), value);
        assert!(old.is_some(), "there is no {key}");
        if *key == SysctlKey::ForwardAll(V4) && old != Some(value) {
            for (below, now) in &mut self.0.values {
                match below {
                    SysctlKey::ForwardDefault(V4) | SysctlKey::Forward(V4, _) => *now = value,
                    SysctlKey::AcceptRedirectsAll => {
                        *now = SysctlValue::switch(value.get() == 0);
                    }
                    _ => {}
                }
            }
        }
    }

    /// Somebody else writes.
    fn somebody(&mut self, text: &str) {
        values(text)
            .iter()
            .for_each(|(key, value)| self.write(key, *value));
    }

    /// An interface comes.
    fn appears(&mut self, name: &str) {
        let inherited = self.0.values[&key("default")];
        self.0.values.insert(key(name), inherited);
    }

    /// One pass that dies after so many writes; how many it would have made.
    fn dies_after(&mut self, writes: usize, wanted: &str) -> usize {
        let plan = plan(&self.0, &values(wanted), Unwanted::Restore);
        self.0.remembered = plan.remember;
        for (key, write) in plan.writes.iter().take(writes) {
            self.write(key, write.value);
        }
        plan.writes.len()
    }

    /// Passes until nothing is written, which the second must not; what is wanted is there then.
    fn passes(&mut self, wanted: &str) {
        self.dies_after(usize::MAX, wanted);
        assert_eq!(self.dies_after(usize::MAX, wanted), 0, "{:?}", self.0);
        for (key, value) in values(wanted) {
            assert_eq!(self.0.values.get(&key), Some(&value), "{key}");
        }
    }

    #[track_caller]
    fn is(&self, text: &str) {
        assert_eq!(self.0.values, values(text));
    }

    #[track_caller]
    fn is_as_before(&self, text: &str) {
        self.is(text);
        assert_eq!(self.0.remembered, BTreeMap::new());
    }
}

#[test]
fn forwarding_goes_on_and_off_again() {
    let mut node = Node::with(PLAIN);
    node.passes("all=1");
    node.is("all=1 default=1 redirects=0 eth0=1 eth1=1");
    node.passes("");
    node.is_as_before(PLAIN);
}

#[test]
fn a_node_that_forwarded_before_us_goes_on_and_nothing_is_remembered() {
    let mut node = Node::with("all=1 default=1 redirects=0 eth0=1 eth1=1");
    assert_eq!(node.dies_after(9, "all=1"), 0);
    assert_eq!(node.0.remembered, BTreeMap::new());
}

#[test]
fn one_interface_that_forwarded_before_us_does_so_after_us() {
    let before = "all=0 default=0 redirects=0 eth0=1 eth1=0";
    let mut node = Node::with(before);
    node.passes("all=1");
    node.passes("");
    node.is_as_before(before);
}

#[test]
fn an_interface_may_differ_from_all() {
    let mut node = Node::with(PLAIN);
    node.passes("all=1 eth1=0");
    node.is("all=1 default=1 redirects=0 eth0=1 eth1=0");
    // Nobody asks for that any more: it is as if nobody ever had.
    node.passes("all=1");
    node.is("all=1 default=1 redirects=0 eth0=1 eth1=1");
    node.passes("eth0=1");
    node.is("all=0 default=0 redirects=1 eth0=1 eth1=0");
    node.passes("");
    node.is_as_before(PLAIN);
}

#[test]
fn what_somebody_changed_since_is_left_to_him() {
    let mut node = Node::with(PLAIN);
    node.passes("eth0=1 eth1=1");
    node.somebody("eth1=0");
    node.somebody("eth0=2");
    let plan = plan(&node.0, &Values::new(), Unwanted::Restore);
    assert_eq!(plan.left, values("eth0=2"));
    assert_eq!(plan.remember, BTreeMap::new());
    assert_eq!(plan.writes, BTreeMap::new());
}

#[test]
fn somebody_who_turned_one_interface_off_keeps_it_off_and_all_of_it_is_restored() {
    let mut node = Node::with("all=1 default=1 redirects=0 eth0=1 eth1=1");
    node.passes("all=0");
    node.somebody("eth1=1");
    node.somebody("eth0=1");
    node.somebody("eth0=0");
    node.passes("");
    node.is_as_before("all=1 default=1 redirects=0 eth0=1 eth1=1");
    let mut node = Node::with("all=1 default=1 redirects=0 eth0=0 eth1=1");
    node.passes("all=0");
    node.somebody("eth0=1");
    node.passes("");
    node.is("all=1 default=1 redirects=0 eth0=1 eth1=1");
}

#[test]
fn somebody_who_turned_all_of_it_off_is_contradicted_while_it_is_wanted_and_believed_afterwards() {
    let mut node = Node::with(PLAIN);
    node.passes("all=1");
    node.somebody("all=0");
    node.passes("all=1");
    node.somebody("all=0");
    node.passes("");
    node.is_as_before(PLAIN);
}

#[test]
fn interfaces_that_come_later_are_as_if_we_had_never_been_there() {
    let mut node = Node::with(PLAIN);
    node.passes("all=1");
    node.appears("pod0");
    node.appears("pod1");
    node.passes("all=1 pod1=0");
    node.is("all=1 default=1 redirects=0 eth0=1 eth1=1 pod0=1 pod1=0");
    node.passes("");
    node.is_as_before("all=0 default=0 redirects=1 eth0=0 eth1=0 pod0=0 pod1=0");
}

#[test]
fn an_interface_that_came_in_between_is_as_without_us_whatever_becomes_of_all() {
    // `all` is again what it was before the document goes, so only what came with `default` is put back.
    let before = "all=1 default=0 redirects=0 eth0=1 eth1=0";
    let mut node = Node::with(before);
    node.passes("all=0");
    node.passes("all=1");
    node.appears("pod0");
    node.passes("");
    node.is_as_before(&format!("{before} pod0=0"));
    let mut node = Node::with("all=1 default=1 redirects=0 eth0=1 eth1=1");
    node.passes("all=0");
    node.appears("pod0");
    node.passes("all=1");
    node.passes("");
    node.is_as_before("all=1 default=1 redirects=0 eth0=1 eth1=1 pod0=1");
}

#[test]
fn an_interface_that_is_asked_to_be_as_it_came_is_put_back_all_the_same() {
    let mut node = Node::with("all=0 default=1 redirects=1 eth0=0 eth1=0");
    node.passes("all=1");
    node.passes("all=0");
    node.appears("pod0");
    node.passes("pod0=0");
    node.passes("");
    node.is_as_before("all=0 default=1 redirects=1 eth0=0 eth1=0 pod0=1");
}

#[test]
fn an_interface_that_is_gone_is_nothing_to_restore() {
    let mut node = Node::with("all=0 default=0 redirects=1 eth0=0 eth1=1");
    node.passes("all=1 eth0=0");
    node.0.values.remove(&key("eth0"));
    node.0.values.remove(&key("eth1"));
    let wanted = values("all=1 eth0=0");
    let plan = plan(&node.0, &wanted, Unwanted::Restore);
    assert_eq!(plan.verdicts[&key("eth0")], Verdict::Missing);
    assert_eq!(plan.writes, BTreeMap::new());
    node.passes("");
    node.is_as_before("all=0 default=0 redirects=1");
}

#[test]
fn while_documents_may_be_missing_nothing_is_restored() {
    let mut node = Node::with(PLAIN);
    node.passes("all=1 eth0=0 eth1=0");
    let before = node.0.clone();
    let plan = plan(&node.0, &values("eth1=0"), Unwanted::Keep);
    assert_eq!(plan.writes, BTreeMap::new());
    assert_eq!(plan.remember, before.remembered);
}

#[test]
fn what_an_interface_has_of_its_own_outlives_that_all_is_written_while_documents_may_be_missing() {
    // Its document is missing, and the other one has changed its mind, or somebody has changed all of it.
    let mut node = Node::with("all=1 default=1 redirects=0 eth0=1 eth1=1");
    node.passes("eth1=1 eth0=0");
    node.somebody("eth1=0");
    let kept = plan(&node.0, &values("all=0"), Unwanted::Keep);
    assert_eq!(kept.writes.keys().collect::<Vec<_>>(), [&key("all")]);
    let mut node = Node::with(PLAIN);
    node.passes("all=1 eth1=0");
    node.somebody("all=0");
    let kept = plan(&node.0, &values("all=1"), Unwanted::Keep);
    let written: Vec<(SysctlKey, i32)> = kept
        .writes
        .iter()
        .map(|(key, write)| (key.clone(), write.value.get()))
        .collect();
    assert_eq!(written, [(key("all"), 1), (key("eth1"), 0)]);
}

#[test]
fn an_interface_that_came_while_documents_may_be_missing_is_as_if_we_had_never_been_there() {
    let mut node = Node::with(PLAIN);
    node.passes("all=1");
    node.appears("pod0");
    // The document that asks for `all` cannot be read just now.
    let kept = plan(&node.0, &values("pod0=0"), Unwanted::Keep);
    node.0.remembered = kept.remember;
    for (key, write) in &kept.writes {
        node.write(key, write.value);
    }
    node.is("all=1 default=1 redirects=0 eth0=1 eth1=1 pod0=0");
    node.passes("");
    node.is_as_before("all=0 default=0 redirects=1 eth0=0 eth1=0 pod0=0");
}

/// Every node of two interfaces, every two wishes in a row, and a death after every write: what was before us comes back.
#[test]
fn whatever_was_and_was_wanted_and_wherever_we_die_it_is_restored() {
    let wishes: Vec<String> = ["", "all=0", "all=1"]
        .iter()
        .flat_map(|all| ["", "eth0=0", "eth0=1"].map(|own| format!("{all} {own}")))
        .collect();
    let mut runs = 0;
    for bits in 0..32 {
        let bit = |n: u32| (bits >> n) & 1;
        let before = format!(
            "all={} default={} redirects={} eth0={} eth1={}",
            bit(0),
            bit(1),
            bit(2),
            bit(3),
            bit(4)
        );
        for (first, second) in wishes
            .iter()
            .flat_map(|a| wishes.iter().map(move |b| (a, b)))
        {
            for death in 0..18 {
                let mut node = Node::with(&before);
                // In the first pass, in the second or in the last.
                let survives = |pass: usize| death / 6 == pass;
                for (pass, wanted) in [first.as_str(), second, ""].into_iter().enumerate() {
                    if survives(pass) {
                        node.dies_after(death % 6, wanted);
                    }
                    node.passes(wanted);
                }
                assert_eq!(
                    node.0.values,
                    values(&before),
                    "{before}: {first}, then {second}, death {death}"
                );
                assert_eq!(node.0.remembered, BTreeMap::new());
                runs += 1;
            }
        }
    }
    assert_eq!(runs, 32 * 81 * 18);
}

fn decided(egress: &Egress) -> Selected<'_> {
    Selected {
        egress,
        decided: true,
    }
}

fn document(name: &str, forwarding: Forwarding) -> Egress {
    Egress {
        id: DocumentId {
            name: name.to_owned(),
            namespace: None,
            dialect: Dialect::Native,
        },
        place: Place {
            file: FileId(0),
            line: 1,
        },
        selector: NodeSelector::default(),
        spec: EgressSpec::Forwarding(forwarding),
        notes: Vec::new(),
    }
}

#[test]
fn the_first_by_name_decides_and_the_same_wish_is_no_conflict() {
    let of = |ipv4| Forwarding {
        ipv4: Some(ipv4),
        interfaces: vec![InterfaceForwarding {
            name: interface("eth0"),
            ipv4: Some(true),
            ipv6: None,
            rp_filter: Some(RpFilter::Loose),
        }],
        ..Forwarding::default()
    };
    let documents = [document("b", of(false)), document("a", of(true))];
    let wanted = wanted(documents.iter().map(decided));
    assert_eq!(wanted.values, values("all=1 eth0=1 rp:eth0=2"));
    let lost: Vec<_> = wanted
        .asked
        .iter()
        .filter_map(|asked| {
            Some((
                asked.by.id.name.as_str(),
                &asked.key,
                asked.lost_to?.id.name.as_str(),
            ))
        })
        .collect();
    assert_eq!(lost, [("b", &key("all"), "a")]);
    assert_eq!(wanted.asked.len(), 6);
}

#[test]
fn what_has_no_effect_is_said() {
    let mut sysctls = Node::with("rp:all=2 rp:eth0=0").0;
    for name in ["lo", "eth0", "eth1"] {
        sysctls
            .values
            .insert(SysctlKey::AcceptRa(interface(name)), SysctlValue::new(1));
    }
    let mut wanted = values("rp:eth0=1");
    wanted.insert(SysctlKey::ForwardAll(Family::V6), SysctlValue::switch(true));
    wanted.insert(
        SysctlKey::Forward(Family::V6, interface("eth1")),
        SysctlValue::switch(false),
    );
    let said: Vec<String> = warnings(&sysctls, &wanted)
        .iter()
        .map(Warning::to_string)
        .collect();
    let [advertisements, filter] = &said[..] else {
        panic!("{said:#?}");
    };
    assert!(
        advertisements.contains("while its accept_ra is 1, as that of eth0. If"),
        "{advertisements}"
    );
    assert!(advertisements.contains("`sysctl -w net.ipv6.conf.eth0.accept_ra=2`"));
    assert!(
        filter.contains("net.ipv4.conf.all.rp_filter, which is 2"),
        "{filter}"
    );
    assert_eq!(warnings(&sysctls, &Values::new()), []);
}
