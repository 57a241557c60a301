//! What can go wrong with the API, and how it is said. Pure.

use std::time::Duration;

/// A request that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What kind of thing is wrong.
    pub kind: Kind,
    /// In the words of whoever noticed.
    pub said: String,
    /// How long the server asks to be left alone.
    pub wait: Option<Duration>,
}

/// What kind of thing is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Nothing says where the API is, or it cannot be read.
    Config,
    /// No answer.
    Unreachable,
    /// The server is not who it should be.
    Tls,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 410: what a watch was to begin with is forgotten.
    Gone,
    /// 429.
    Busy,
    /// 5xx, or an answer that makes no sense.
    Server,
    /// Any other 4xx.
    Refused,
}

/// What a request is for; it is in the words for its failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purpose {
    /// As RBAC calls it.
    pub verb: &'static str,
    /// The API group; empty for the core.
    pub group: &'static str,
    /// As RBAC calls it, such as `nodes` or `staticroutes/status`.
    pub resource: &'static str,
    /// Which one.
    pub name: String,
    /// All verbs that are needed of the resource.
    pub verbs: &'static str,
    /// What it means if it is not there, and what to do about that.
    pub missing: &'static str,
}

/// A try that ended: at what, and why.
pub(super) type Failure = (Purpose, Trouble);

impl Purpose {
    /// For a node.
    pub(super) fn of_node(verb: &'static str, name: &str) -> Self {
        Self {
            verb,
            group: "",
            resource: "nodes",
            name: name.to_owned(),
            verbs: "get, list, watch",
            missing: "say what this node is called there, with NODE_NAME or --node-name",
        }
    }
}

impl Trouble {
    /// What somebody said about a kind of thing.
    pub fn new(kind: Kind, said: impl Into<String>) -> Self {
        Self {
            kind,
            said: said.into(),
            wait: None,
        }
    }

    /// What an answer means that is not a good one.
    pub fn of_answer(code: u16, said: impl Into<String>, wait: Option<Duration>) -> Self {
        let kind = match code {
            401 => Kind::Unauthorized,
            403 => Kind::Forbidden,
            404 => Kind::NotFound,
            409 => Kind::Conflict,
            410 => Kind::Gone,
            429 => Kind::Busy,
            400..500 => Kind::Refused,
            _ => Kind::Server,
        };
        let said = said.into();
        Self { kind, said, wait }
    }

    /// Whether it concerns everything that is asked of the API.
    pub fn is_of_the_connection(&self) -> bool {
        matches!(
            self.kind,
            Kind::Config | Kind::Unreachable | Kind::Tls | Kind::Unauthorized
        )
    }

    /// What, why, and what to do.
    pub fn sentence(&self, purpose: &Purpose) -> String {
        let Self { said, .. } = self;
        let Purpose {
            verb,
            group,
            resource,
            name,
            verbs,
            missing,
        } = purpose;
        match self.kind {
            Kind::Config => format!(
                "nothing says where the Kubernetes API is: {said}. In a pod it takes the token of its service \
                 account (automountServiceAccountToken: true), elsewhere KUBECONFIG"
            ),
            Kind::Unreachable => format!(
                "the Kubernetes API cannot be reached: {said}. Check that it runs, and that this node reaches it"
            ),
            Kind::Tls => format!(
                "the Kubernetes API is not trusted: {said}. Check the certificate authority (ca.crt of the service \
                 account, or KUBECONFIG)"
            ),
            Kind::Unauthorized => format!(
                "the Kubernetes API does not accept who asks (401): {said}. The token may have expired; it is read \
                 again before each try"
            ),
            Kind::Forbidden => format!(
                "RBAC denies `{verb} {resource} {name}` (403): {said}. The ClusterRole of srsync needs the rule \
                 {{apiGroups: [\"{group}\"], resources: [{resource}], verbs: [{verbs}]}}"
            ),
            Kind::NotFound => format!("the cluster has no {resource} {name} (404): {missing}"),
            Kind::Conflict => format!(
                "somebody else keeps changing {resource} {name} at the same moment (409): {said}"
            ),
            Kind::Gone => format!(
                "the Kubernetes API has forgotten where a watch of {resource} began (410): {said}. It is begun anew"
            ),
            Kind::Busy => format!(
                "the Kubernetes API asks to be left alone (429): {said}. Its flow control, or a proxy before it, \
                 holds back `{verb} {resource}`"
            ),
            Kind::Server => format!(
                "the Kubernetes API failed at `{verb} {resource} {name}`: {said}. Its own log says more"
            ),
            Kind::Refused => format!(
                "the Kubernetes API refuses `{verb} {resource} {name}`: {said}. Is its version, or that of the \
                 CRD, another than this srsync knows?"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_a_kind_and_a_sentence_that_says_what_to_do() {
        let purpose = Purpose::of_node("get", "worker-1");
        for (code, kind, part) in [
            (401, Kind::Unauthorized, "read again before each try"),
            (
                403,
                Kind::Forbidden,
                "{apiGroups: [\"\"], resources: [nodes], verbs: [get, list, watch]}",
            ),
            (404, Kind::NotFound, "no nodes worker-1 (404): say what"),
            (409, Kind::Conflict, "(409)"),
            (410, Kind::Gone, "begun anew"),
            (422, Kind::Refused, "refuses `get nodes worker-1`"),
            (429, Kind::Busy, "left alone"),
            (500, Kind::Server, "failed at"),
            (302, Kind::Server, "failed at"),
        ] {
            let trouble = Trouble::of_answer(code, "because", None);
            assert_eq!(trouble.kind, kind);
            let sentence = trouble.sentence(&purpose);
            assert!(sentence.contains(part), "{sentence}");
        }
        for kind in [Kind::Config, Kind::Unreachable, Kind::Tls] {
            let trouble = Trouble::new(kind, "because");
            assert!(trouble.is_of_the_connection());
            assert!(trouble.sentence(&purpose).contains("because"));
        }
    }
}
