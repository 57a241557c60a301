//! Node labels and the selectors over them, with the meaning Kubernetes gives them.

use std::collections::BTreeMap;

/// A node's labels.
pub type Labels = BTreeMap<String, String>;

/// All requirements must hold; none at all selects every node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeSelector {
    /// What must hold of the labels.
    pub requirements: Vec<Requirement>,
}

/// One requirement on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold of its value.
    pub operator: Operator,
}

/// The operators of a Kubernetes `LabelSelectorRequirement`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operator {
    /// The label is there and has one of these values.
    In(Vec<String>),
    /// The label is absent or has none of these values.
    NotIn(Vec<String>),
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// What a selector says about a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Selected<'a> {
    /// It is meant.
    Yes,
    /// That hangs on a label of which nothing is known yet.
    Perhaps(&'a Requirement),
    /// It is not, because of this.
    No(&'a Requirement),
}

impl NodeSelector {
    /// Whether a node with these labels is selected. While they are not `complete`, the node may have
    /// others besides.
    pub fn check(&self, labels: &Labels, complete: bool) -> Selected<'_> {
        let is_known = |r: &&Requirement| complete || labels.contains_key(&r.key);
        let requirements = || self.requirements.iter();
        let unmet = requirements()
            .filter(is_known)
            .find(|requirement| !requirement.holds(labels));
        match (unmet, requirements().find(|r| !is_known(r))) {
            (Some(unmet), _) => Selected::No(unmet),
            (None, Some(unknown)) => Selected::Perhaps(unknown),
            (None, None) => Selected::Yes,
        }
    }
}

impl Requirement {
    fn holds(&self, labels: &Labels) -> bool {
        let value = labels.get(&self.key);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|v| values.contains(v)),
            Operator::NotIn(values) => value.is_none_or(|v| !values.contains(v)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl std::fmt::Display for Requirement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let key = &self.key;
        match &self.operator {
            Operator::In(values) if values.len() == 1 => write!(f, "{key}={}", values.join("")),
            Operator::In(values) => write!(f, "{key} in ({})", values.join(", ")),
            Operator::NotIn(values) => write!(f, "{key} not in ({})", values.join(", ")),
            Operator::Exists => write!(f, "{key} exists"),
            Operator::DoesNotExist => write!(f, "{key} does not exist"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_mean_what_kubernetes_means() {
        let labels = Labels::from([("role".to_owned(), "egress".to_owned())]);
        let holds = |key: &str, operator| {
            let requirement = Requirement {
                key: key.to_owned(),
                operator,
            };
            let selector = NodeSelector {
                requirements: vec![requirement],
            };
            selector.check(&labels, true) == Selected::Yes
        };
        let egress = || vec!["egress".to_owned()];
        assert!(holds("role", Operator::In(egress())));
        assert!(!holds("zone", Operator::In(egress())));
        assert!(!holds("role", Operator::NotIn(egress())));
        assert!(holds("zone", Operator::NotIn(egress())));
        assert!(holds("role", Operator::Exists));
        assert!(!holds("role", Operator::DoesNotExist));
        assert!(holds("zone", Operator::DoesNotExist));
    }

    #[test]
    fn a_label_that_may_be_there_decides_nothing() {
        let labels = Labels::from([("role".to_owned(), "egress".to_owned())]);
        let requirement = |key: &str, operator| Requirement {
            key: key.to_owned(),
            operator,
        };
        let egress = requirement("role", Operator::In(vec!["egress".to_owned()]));
        let ingress = requirement("role", Operator::In(vec!["ingress".to_owned()]));
        let no_zone = requirement("zone", Operator::DoesNotExist);
        let check = |requirements: &[&Requirement]| {
            let requirements = requirements.iter().map(|r| (*r).clone()).collect();
            let selector = NodeSelector { requirements };
            match selector.check(&labels, false) {
                Selected::Yes => "yes".to_owned(),
                Selected::Perhaps(requirement) => format!("perhaps: {requirement}"),
                Selected::No(requirement) => format!("no: {requirement}"),
            }
        };
        assert_eq!(check(&[]), "yes");
        assert_eq!(check(&[&egress]), "yes");
        assert_eq!(check(&[&egress, &no_zone]), "perhaps: zone does not exist");
        assert_eq!(check(&[&no_zone, &ingress]), "no: role=ingress");
    }
}
