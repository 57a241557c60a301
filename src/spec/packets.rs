//! Reads what rules ask of a packet: its mark, its protocol, its ports.

use super::diagnostic::Problem;
use super::fields::Item;
use super::values::whole;
use super::words::{did_you_mean, either, nearest, quoted};
use super::yaml::Value;
use crate::model::egress::{FwMark, IpProto, PortRange};

type Read<T> = Result<T, Problem>;

/// A number or text, as it is written.
fn written<'n>(item: &Item<'n, '_>, wanted: &str) -> Read<&'n str> {
    match &item.node.value {
        Value::Text(text) | Value::Number(text) => Ok(text),
        _ => Err(item.must_be(wanted)),
    }
}

/// `0x10/0xff`: a mark, and which of its bits are looked at.
pub(super) fn mark(item: &Item<'_, '_>) -> Read<FwMark> {
    const WANTED: &str = "a mark such as `0x10`, `16` or `0x10/0xff`";
    let text = written(item, WANTED)?;
    let (value, mask) = text.split_once('/').unwrap_or((text, "0xffffffff"));
    let (Some(value), Some(mask)) = (bits(value), bits(mask)) else {
        let message = format!("`{item}` must be {WANTED}, not {}", quoted(text));
        let label = "a number of 32 bits, with or without a mask";
        let octal = text
            .split('/')
            .any(|part| part.len() > 1 && part.starts_with('0'));
        let help = octal
            .then(|| "a leading zero is octal to some: leave it out, or write `0x`".to_owned());
        return Err(Problem::new(message, label).maybe_help(help.filter(|_| !text.contains('x'))));
    };
    if mask == 0 {
        let message = format!("the mask of `{item}` has no bit, so that it says nothing");
        return Err(
            Problem::new(message, "looks at nothing").help(format!("remove `{}`", item.field))
        );
    }
    if value & !mask != 0 {
        let message = format!(
            "{} has bits beyond its mask, so that no packet has it",
            quoted(text)
        );
        let meant = format!("{:#x}/{mask:#x}", value & mask);
        return Err(Problem::new(message, "never true").help(did_you_mean(&meant)));
    }
    Ok(FwMark { value, mask })
}

/// 32 bits in decimal or hex. 010 is eight to some and ten to others.
fn bits(text: &str) -> Option<u32> {
    let (digits, radix) = match text.strip_prefix("0x").or(text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None if text.len() > 1 && text.starts_with('0') => return None,
        None => (text, 10),
    };
    let clean = digits.bytes().all(|b| b.is_ascii_hexdigit());
    clean.then(|| u32::from_str_radix(digits, radix).ok())?
}

/// A protocol by name or number.
pub(super) fn ip_proto(item: &Item<'_, '_>) -> Read<IpProto> {
    if let Value::Number(_) = &item.node.value {
        let number = whole(item, 1..=255)?;
        let number = u8::try_from(number).map_err(|_| item.must_be("a protocol"))?;
        return Ok(IpProto(number));
    }
    let known = IpProto::NAMED.map(|(name, _)| name);
    let wanted = format!("{} or a number", either(&known).replace(" or ", ", "));
    let text = written(item, &wanted)?;
    let own = match text {
        // As ip6tables and nft write it, too.
        "icmpv6" => "ipv6-icmp",
        text => text,
    };
    if let Some((_, proto)) = IpProto::NAMED.into_iter().find(|(name, _)| *name == own) {
        return Ok(proto);
    }
    let message = format!("`{item}` must be {wanted}, not {}", quoted(text));
    let help = match (text.parse::<u8>(), nearest(text, known)) {
        (Ok(1..), _) => Some(format!("remove the quotes: {text}")),
        (_, Some(meant)) => Some(did_you_mean(meant)),
        _ => Some("the numbers are in /etc/protocols".to_owned()),
    };
    Err(Problem::new(message, "not a protocol that is known by name").maybe_help(help))
}

/// `1000-2000`, or a single port.
pub(super) fn ports(item: &Item<'_, '_>) -> Read<PortRange> {
    const WANTED: &str = "a port such as `443`, or a range such as `1000-2000`";
    let text = written(item, WANTED)?;
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    let (Some(first), Some(last)) = (port(first), port(last)) else {
        let message = format!("`{item}` must be {WANTED}, not {}", quoted(text));
        return Err(Problem::new(message, "ports are 1 to 65535"));
    };
    if first > last {
        let message = format!("the range {} ends before it begins", quoted(text));
        let meant = format!("{last}-{first}");
        return Err(Problem::new(message, "holds no port").help(did_you_mean(&meant)));
    }
    // `fib_rule_port_range_valid`, include/net/fib_rules.h.
    if last == u16::MAX {
        let message = format!(
            "{}: the kernel takes no rule about port 65535",
            quoted(text)
        );
        let problem = Problem::new(message, "at most 65534");
        let meant = (first < last).then(|| did_you_mean(&format!("{first}-{}", last - 1)));
        return Err(problem.maybe_help(meant));
    }
    Ok(PortRange { first, last })
}
