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

impl NodeSelector {
    /// Whether a node with these labels is selected; if not, the first requirement that fails.
    pub fn check(&self, labels: &Labels) -> Result<(), &Requirement> {
        match self.requirements.iter().find(|r| !r.holds(labels)) {
            Some(unmet) => Err(unmet),
            None => Ok(()),
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
            NodeSelector {
                requirements: vec![requirement],
            }
            .check(&labels)
            .is_ok()
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
}
