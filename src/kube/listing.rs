//! All objects of a collection at one moment, page by page.

use kube::Client;
use serde_json::Value;

use super::collection::Collection;
use super::link::{Ask, Link};
use super::{Kind, Trouble};

/// How many objects come in one answer.
const PAGE: usize = 250;

/// All objects, and the version from which a watch goes on.
pub(super) async fn list<C>(
    link: &mut Link<'_, C>,
    collection: Collection,
) -> Result<(Vec<Value>, String), Trouble>
where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let mut objects = Vec::new();
    let mut page = String::new();
    loop {
        let path = format!("{}?limit={PAGE}{page}", collection.path());
        let mut answer = link.ask(&Ask::get(path)).await?;
        let Value::Array(items) = answer["items"].take() else {
            let message = "its list of objects has no `items`";
            return Err(Trouble::new(Kind::Server, message));
        };
        objects.extend(items);
        let metadata = &answer["metadata"];
        match metadata["continue"].as_str() {
            Some(token) if !token.is_empty() => page = format!("&continue={}", encoded(token)),
            _ => return Ok((objects, version(metadata).unwrap_or_default())),
        }
    }
}

/// What is to be imported of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// The objects of each collection by name.
    pub objects: Vec<(Collection, String, Value)>,
    /// What the cluster does not have.
    pub missing: Vec<Collection>,
    /// What is only there until it is deleted.
    pub going: Vec<String>,
}

/// Asks once for all objects of these collections.
///
/// # Errors
/// If not all of them can be had: what, why, and what to do.
pub async fn fetch<C>(collections: &[Collection], connect: C) -> Result<Found, String>
where
    C: AsyncFn() -> Result<Client, Trouble>,
{
    let mut link = Link::new(&connect);
    let mut found = Found::default();
    for collection in collections {
        let listed = match list(&mut link, *collection).await {
            Err(trouble) if trouble.kind == Kind::NotFound && collection.is_optional() => {
                found.missing.push(*collection);
                continue;
            }
            Err(trouble) => return Err(trouble.sentence(&collection.purpose("list", "list"))),
            Ok((objects, _)) => objects,
        };
        let mut named: Vec<(String, Value)> = listed
            .into_iter()
            .filter_map(|object| Some((name(&object)?, object)))
            .collect();
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        for (name, object) in named {
            match is_going(&object) {
                true => found.going.push(format!("{collection}/{name}")),
                false => found.objects.push((*collection, name, object)),
            }
        }
    }
    Ok(found)
}

/// Whether somebody has deleted it: it is only there until all who have a finalizer on it are ready.
pub(super) fn is_going(object: &Value) -> bool {
    !object["metadata"]["deletionTimestamp"].is_null()
}

/// `NAME`, or `NAMESPACE/NAME`.
pub(super) fn name(object: &Value) -> Option<String> {
    let metadata = &object["metadata"];
    let name = metadata["name"].as_str()?;
    Some(match metadata["namespace"].as_str() {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    })
}

pub(super) fn version(metadata: &Value) -> Option<String> {
    metadata["resourceVersion"].as_str().map(str::to_owned)
}

/// As part of a query.
pub(super) fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}
