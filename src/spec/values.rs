//! Reads single values: text, numbers, addresses, prefixes, durations, keywords.
//!
//! Each reader takes a value with the name of its field, and says what is wrong in terms of both.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::diagnostic::Problem;
use super::fields::Item;
use super::words::{did_you_mean, either, nearest, quoted};
use super::yaml::{Node, Value};
use crate::model::{InterfaceName, Prefix, PrefixError, time};

type Read<T> = Result<T, Problem>;

/// Nothing longer than this was meant as an address.
const LONGEST_HELPED: usize = 100;

/// Text; a number or a boolean is not taken for it.
pub(super) fn text<'n>(item: &Item<'n, '_>) -> Read<&'n str> {
    text_for(item, "text")
}

/// Text that stands for something.
fn text_for<'n>(item: &Item<'n, '_>, wanted: &str) -> Read<&'n str> {
    match &item.node.value {
        Value::Text(text) => Ok(text),
        Value::Number(number) if wanted == "text" => Err(item
            .must_be(wanted)
            .help(format!("quote it: \"{}\"", &**number))),
        Value::Bool(value) if wanted == "text" => {
            Err(item.must_be(wanted).help(format!("quote it: \"{value}\"")))
        }
        _ => Err(item.must_be(wanted).maybe_help(unquoted_ipv6(item.node))),
    }
}

/// `- 2001:db8::` is a mapping to YAML, because a colon ends it.
pub(super) fn unquoted_ipv6(node: &Node<'_>) -> Option<String> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let [entry] = entries.as_slice() else {
        return None;
    };
    let text = format!("{}:", &*entry.key);
    let address: IpAddr = text.parse().ok()?;
    Some(format!(
        "YAML reads a colon at the end as a mapping; quote the address: \"{address}\""
    ))
}

/// `true` or `false`, and nothing that only YAML 1.1 takes for them.
pub(super) fn boolean(item: &Item<'_, '_>) -> Read<bool> {
    match &item.node.value {
        Value::Bool(value) => Ok(*value),
        Value::Text(text) => {
            let found = quoted(text);
            let message = format!("`{item}` must be `true` or `false`, not the text {found}");
            let help = match text.to_ascii_lowercase().as_str() {
                "true" | "false" => Some("write it without quotes".to_owned()),
                "yes" | "y" | "on" => Some(format!("{found} is text in YAML 1.2; write `true`")),
                "no" | "n" | "off" => Some(format!("{found} is text in YAML 1.2; write `false`")),
                _ => None,
            };
            Err(Problem::new(message, "must be `true` or `false`").maybe_help(help))
        }
        _ => Err(item.must_be("`true` or `false`")),
    }
}

/// A whole number within bounds.
pub(super) fn whole(item: &Item<'_, '_>, range: RangeInclusive<u32>) -> Read<u32> {
    let wanted = format!("a whole number from {} to {}", range.start(), range.end());
    let text = match &item.node.value {
        Value::Number(text) => text,
        Value::Text(text) if text.parse::<u32>().is_ok_and(|n| range.contains(&n)) => {
            return Err(item
                .must_be(&wanted)
                .help(format!("remove the quotes: {}", &**text)));
        }
        _ => return Err(item.must_be(&wanted)),
    };
    let not_this = || {
        let message = format!("`{item}` must be {wanted}, not {}", quoted(text));
        Problem::new(message, format!("must be {wanted}"))
    };
    // 010 is eight to YAML 1.1 and ten to YAML 1.2: nobody should have to know.
    let significant = text.trim_start_matches('0');
    if significant.len() < text.len() && text.len() > 1 && text.bytes().all(|b| b.is_ascii_digit())
    {
        let help = format!(
            "leave out the leading zero: {}",
            if significant.is_empty() {
                "0"
            } else {
                significant
            }
        );
        return Err(not_this().help(help));
    }
    text.parse()
        .ok()
        .filter(|n| range.contains(n))
        .ok_or_else(not_this)
}

/// One of several words.
pub(super) fn keyword<T: Copy>(item: &Item<'_, '_>, words: &[(&str, T)]) -> Read<T> {
    let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let wanted = either(&known);
    let text = text_for(item, &wanted)?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(*value);
    }
    let message = format!("`{item}` must be {wanted}, not {}", quoted(text));
    let help = nearest(text, known).map(did_you_mean);
    Err(Problem::new(message, format!("must be {wanted}")).maybe_help(help))
}

/// An IP address of any kind.
pub(super) fn address(item: &Item<'_, '_>) -> Read<IpAddr> {
    let text = text_for(item, "an IP address")?;
    text.parse().map_err(|_| {
        let message = format!("`{item}` must be an IP address, not {}", quoted(text));
        Problem::new(message, "not an IPv4 or IPv6 address").maybe_help(address_help(text))
    })
}

fn address_help(text: &str) -> Option<String> {
    if text.len() > LONGEST_HELPED {
        return None;
    }
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    if is_address(text.trim()) {
        return Some("remove the spaces around the address".to_owned());
    }
    if let Some((address, zone)) = text.split_once('%')
        && is_address(address)
    {
        return Some(format!(
            "write `{address}` here and name the link with `interface`: {}",
            quoted(zone)
        ));
    }
    if let Some((address, _)) = text.split_once('/')
        && is_address(address)
    {
        return Some(format!(
            "an address has no prefix length; {}",
            did_you_mean(address)
        ));
    }
    if let Some(clean) = without_leading_zeros(text) {
        return Some(format!(
            "leave out leading zeros (some tools read them as octal): `{clean}`"
        ));
    }
    let is_name =
        text.contains(|c: char| c.is_ascii_alphabetic()) && !text.contains([':', '/', ' ']);
    is_name.then(|| "names are not resolved; write the address".to_owned())
}

/// `010.0.0.1` without what makes it ambiguous, if that is what is wrong with it.
fn without_leading_zeros(text: &str) -> Option<Ipv4Addr> {
    let octets: Option<Vec<String>> = text
        .split('.')
        .map(|octet| octet.parse::<u8>().ok().map(|number| number.to_string()))
        .collect();
    let clean = octets?.join(".");
    (clean != text).then(|| clean.parse().ok())?
}

/// An address that one node can have: something to send to.
pub(super) fn unicast(item: &Item<'_, '_>) -> Read<IpAddr> {
    let address = address(item)?;
    match unusable(&address) {
        None => Ok(address),
        Some(what) => {
            let message = format!("`{item}` is {what} ({address})");
            Err(Problem::new(message, "must be the address of a host"))
        }
    }
}

/// Why nothing can be sent to this address as a host, if so.
fn unusable(address: &IpAddr) -> Option<&'static str> {
    let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    match () {
        () if address.is_unspecified() => Some("the unspecified address"),
        () if address.is_loopback() => Some("a loopback address"),
        () if address.is_multicast() => Some("a multicast address"),
        () if broadcast => Some("the broadcast address"),
        () => None,
    }
}

/// Where packets can be routed to.
pub(super) fn destination(item: &Item<'_, '_>) -> Read<Prefix> {
    destination_in(text_for(item, PREFIX)?)
}

const PREFIX: &str = "an IP address or CIDR prefix";

/// Where packets can be routed to, from bare text.
pub(super) fn destination_in(text: &str) -> Read<Prefix> {
    let prefix = prefix_in(text)?;
    if prefix.address().is_multicast() {
        let message = format!("{prefix} is a multicast destination");
        let help = "multicast is not routed by next hop; remove the destination";
        return Err(Problem::new(message, "multicast").help(help));
    }
    let whole = Prefix::everything(prefix.family());
    if prefix.address().is_unspecified() && prefix == Prefix::host(prefix.address()) {
        let message = format!("{text} is the unspecified address, not a destination");
        let help = format!("for the default route write `{whole}`");
        return Err(Problem::new(message, "nothing can be sent here").help(help));
    }
    Ok(prefix)
}

/// An address or prefix with no host bits set.
pub(super) fn prefix(item: &Item<'_, '_>) -> Read<Prefix> {
    prefix_in(text_for(item, PREFIX)?)
}

fn prefix_in(text: &str) -> Read<Prefix> {
    text.parse().map_err(|error: PrefixError| match error {
        PrefixError::Syntax(_) => {
            let message = format!("{} is not {PREFIX}", quoted(text));
            let label = "must be such as `192.0.2.1` or `192.0.2.0/24`";
            Problem::new(message, label).maybe_help(prefix_help(text))
        }
        PrefixError::Length { length, family } => {
            let message = format!(
                "`/{length}` is too long for an {family} prefix",
                length = short(&length)
            );
            Problem::new(message, format!("at most `/{}`", family.bits()))
        }
        PrefixError::HostBits { suggestion, .. } => {
            let message = format!("{} has host bits set", quoted(text));
            let label = format!("bits behind `/{}` must be zero", suggestion.length());
            Problem::new(message, label).help(did_you_mean(&suggestion.to_string()))
        }
    })
}

fn short(text: &str) -> String {
    text.chars().take(12).collect()
}

fn prefix_help(text: &str) -> Option<String> {
    if text.len() > LONGEST_HELPED {
        return None;
    }
    if text.trim().parse::<Prefix>().is_ok() {
        return Some("remove the spaces around it".to_owned());
    }
    let Some((address, rest)) = text.split_once('/') else {
        let range = text
            .split_once('-')
            .is_some_and(|(first, _)| first.trim().parse::<IpAddr>().is_ok());
        return match range {
            true => Some("a range is written as the prefixes that make it up".to_owned()),
            false => address_help(text),
        };
    };
    if let (Ok(address), Ok(mask)) = (address.parse(), rest.parse::<Ipv4Addr>())
        && let Ok(length) = ipnet::ip_mask_to_prefix(mask.into())
    {
        let prefix = Prefix::containing(address, length)?;
        return Some(format!("write the mask as a length: `{prefix}`"));
    }
    let clean = format!("{}/{rest}", without_leading_zeros(address)?);
    Some(format!(
        "leave out leading zeros (some tools read them as octal): {}",
        quoted(&clean)
    ))
}

/// The name of a network interface.
pub(super) fn interface(item: &Item<'_, '_>) -> Read<InterfaceName> {
    let name = text(item)?;
    InterfaceName::new(name).ok_or_else(|| {
        let message = format!("{} cannot be the name of a network interface", quoted(name));
        let label = "1 to 15 bytes without `/`, `:` or white space";
        Problem::new(message, label)
    })
}

/// A length of time with its unit.
pub(super) fn duration(item: &Item<'_, '_>) -> Read<Duration> {
    const WANTED: &str = "a duration such as `500ms`, `1s` or `2m`";
    if let Value::Number(number) = &item.node.value {
        let message = format!("`{item}` has no unit");
        let help = format!("write the unit, for seconds `{}s`", &**number);
        return Err(Problem::new(message, format!("must be {WANTED}")).help(help));
    }
    let text = text_for(item, WANTED)?;
    time::duration(text).ok_or_else(|| {
        let message = format!("`{item}` must be {WANTED}, not {}", quoted(text));
        let help = "a whole number with the unit `ms`, `s`, `m` or `h`, without a space";
        Problem::new(message, "not a duration").help(help)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_slips_in_prefixes_get_the_prefix_that_was_meant() {
        let help = |text: &str| prefix_in(text).unwrap_err().help.unwrap_or_default();
        assert!(help("10.1.2.3/16").contains("`10.1.0.0/16`"));
        assert!(help("10.1.0.0/255.255.0.0").contains("`10.1.0.0/16`"));
        assert!(help("010.1.0.0/16").contains("`10.1.0.0/16`"));
        assert!(help("10.0.0.1-10.0.0.9").contains("range"));
        assert!(help("db.example.com").contains("names are not resolved"));
    }
}
