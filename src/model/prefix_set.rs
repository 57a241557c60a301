//! Sets of addresses, as sorted disjoint ranges: union, subtraction, overlap, minimal prefixes.

use super::prefix::{Family, Prefix};

/// A set of IP addresses of both families.
///
/// Kept as sorted, disjoint, non-adjacent ranges, so that no operation ever walks addresses:
/// building is O(n log n), subtraction O(n + m), a test O(log n).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixSet {
    v4: Ranges,
    v6: Ranges,
}

/// First and last address of each range, both inclusive.
type Ranges = Vec<(u128, u128)>;

impl PrefixSet {
    /// Whether it holds no address at all.
    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    /// Whether any address of `prefix` is in the set.
    pub fn overlaps(&self, prefix: &Prefix) -> bool {
        let (first, last) = prefix.bounds();
        let ranges = self.of(prefix.family());
        // The first range that ends at or behind `first` is the only candidate.
        let at = ranges.partition_point(|range| range.1 < first);
        ranges.get(at).is_some_and(|range| range.0 <= last)
    }

    /// Whether every address of `prefix` is in the set.
    pub fn covers(&self, prefix: &Prefix) -> bool {
        let (first, last) = prefix.bounds();
        let ranges = self.of(prefix.family());
        let at = ranges.partition_point(|range| range.1 < first);
        ranges
            .get(at)
            .is_some_and(|range| range.0 <= first && last <= range.1)
    }

    /// Whether it holds the whole space of `family`.
    pub fn covers_all(&self, family: Family) -> bool {
        self.covers(&Prefix::everything(family))
    }

    /// The union with `other`.
    pub fn union(&self, other: &Self) -> Self {
        let merge = |a: &Ranges, b: &Ranges| merged(a.iter().chain(b).copied().collect());
        Self {
            v4: merge(&self.v4, &other.v4),
            v6: merge(&self.v6, &other.v6),
        }
    }

    /// What is in this set and not in `other`.
    pub fn minus(&self, other: &Self) -> Self {
        Self {
            v4: subtracted(&self.v4, &other.v4),
            v6: subtracted(&self.v6, &other.v6),
        }
    }

    /// The fewest prefixes that together are exactly this set, in order.
    pub fn to_prefixes(&self) -> Vec<Prefix> {
        let mut prefixes = Vec::new();
        for family in Family::BOTH {
            for &(first, last) in self.of(family) {
                split_range(family, first, last, &mut prefixes);
            }
        }
        prefixes
    }

    fn of(&self, family: Family) -> &Ranges {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

impl<'a> FromIterator<&'a Prefix> for PrefixSet {
    fn from_iter<I: IntoIterator<Item = &'a Prefix>>(prefixes: I) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for prefix in prefixes {
            match prefix.family() {
                Family::V4 => v4.push(prefix.bounds()),
                Family::V6 => v6.push(prefix.bounds()),
            }
        }
        Self {
            v4: merged(v4),
            v6: merged(v6),
        }
    }
}

/// Sorts ranges and joins those that overlap or touch.
fn merged(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable();
    let mut joined: Ranges = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match joined.last_mut() {
            // `last + 1` may not exist: the end of the IPv6 space joins with anything behind it.
            Some(open) if open.1.checked_add(1).is_none_or(|next| first <= next) => {
                open.1 = open.1.max(last);
            }
            _ => joined.push((first, last)),
        }
    }
    joined
}

fn subtracted(from: &Ranges, holes: &Ranges) -> Ranges {
    let mut left = Vec::new();
    let mut holes = holes.iter().copied().peekable();
    for &(mut first, last) in from {
        while holes.next_if(|hole| hole.1 < first).is_some() {}
        let mut exhausted = false;
        while let Some(&(hole_first, hole_last)) = holes.peek() {
            if hole_first > last {
                break;
            }
            if hole_first > first {
                left.push((first, hole_first - 1));
            }
            if hole_last >= last {
                // The hole may reach into the next range: leave it in place.
                exhausted = true;
                break;
            }
            first = hole_last + 1;
            holes.next();
        }
        if !exhausted {
            left.push((first, last));
        }
    }
    left
}

/// Appends the fewest prefixes that make up `first..=last`: at each step the largest block that
/// is aligned at `first` and ends within the range.
fn split_range(family: Family, mut first: u128, last: u128, out: &mut Vec<Prefix>) {
    let bits = u32::from(family.bits());
    loop {
        let aligned = first.trailing_zeros().min(bits);
        // Addresses left, as a power of two; the whole IPv6 space overflows and is 2^128.
        let room = match (last - first).checked_add(1) {
            Some(count) => 127 - count.leading_zeros(),
            None => 128,
        };
        let host_bits = aligned.min(room);
        let Some(prefix) = Prefix::at(family, first, (bits - host_bits) as u8) else {
            return; // unreachable: ranges come from prefixes of the same family
        };
        out.push(prefix);
        let (_, end) = prefix.bounds();
        if end >= last {
            return;
        }
        first = end + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(prefixes: &[&str]) -> PrefixSet {
        let prefixes: Vec<Prefix> = prefixes.iter().map(|p| p.parse().unwrap()).collect();
        prefixes.iter().collect()
    }

    fn texts(set: &PrefixSet) -> Vec<String> {
        set.to_prefixes().iter().map(Prefix::to_string).collect()
    }

    #[test]
    fn everything_minus_one_host_is_one_prefix_per_bit() {
        let left = set(&["0.0.0.0/0"]).minus(&set(&["10.0.0.1/32"]));
        assert_eq!(left.to_prefixes().len(), 32);
        let left = set(&["::/0"]).minus(&set(&["2001:db8::1/128"]));
        assert_eq!(left.to_prefixes().len(), 128);
    }

    #[test]
    fn a_hole_in_the_middle_leaves_the_fewest_prefixes() {
        let left = set(&["10.0.0.0/8"]).minus(&set(&["10.64.0.0/10", "10.0.0.0/10"]));
        assert_eq!(texts(&left), ["10.128.0.0/9"]);
    }

    #[test]
    fn one_hole_may_reach_over_two_ranges() {
        let left = set(&["10.0.0.0/24", "10.0.2.0/24"]).minus(&set(&["10.0.0.0/8"]));
        assert!(left.is_empty());
    }

    #[test]
    fn halves_cover_the_whole_space() {
        assert!(set(&["0.0.0.0/1", "128.0.0.0/1"]).covers_all(Family::V4));
        assert!(set(&["::/1", "8000::/1"]).covers_all(Family::V6));
        assert!(!set(&["0.0.0.0/1", "128.0.0.0/2"]).covers_all(Family::V4));
        assert_eq!(texts(&set(&["::/1", "8000::/1"])), ["::/0"]);
    }

    #[test]
    fn overlap_is_seen_either_way_round() {
        let protected = set(&["10.116.0.0/20"]);
        let overlaps = |p: &str| protected.overlaps(&p.parse().unwrap());
        assert!(overlaps("10.0.0.0/8"));
        assert!(overlaps("10.116.3.0/24"));
        assert!(!overlaps("10.116.16.0/24"));
        assert!(!overlaps("::/0"));
    }

    /// Prefixes of a tiny space (the last four bits of an address), so that they meet often.
    fn small() -> impl Strategy<Value = Vec<Prefix>> {
        proptest::collection::vec((0u32..16, 28u8..=32), 0..8).prop_map(|list| {
            list.into_iter()
                .map(|(host, length)| {
                    Prefix::containing(std::net::Ipv4Addr::from(0x0a00_0000 + host).into(), length)
                        .unwrap()
                })
                .collect()
        })
    }

    fn members(prefixes: &[Prefix]) -> Vec<u32> {
        (0..16)
            .filter(|host| {
                let address = std::net::Ipv4Addr::from(0x0a00_0000 + host).into();
                prefixes.iter().any(|p| p.contains(address))
            })
            .collect()
    }

    proptest! {
        #[test]
        fn subtraction_is_exact_and_its_prefixes_are_disjoint(a in small(), b in small()) {
            let left = a.iter().collect::<PrefixSet>().minus(&b.iter().collect());
            let prefixes = left.to_prefixes();
            let removed = members(&b);
            let expected: Vec<u32> =
                members(&a).into_iter().filter(|host| !removed.contains(host)).collect();
            prop_assert_eq!(members(&prefixes), expected);
            for pair in prefixes.windows(2) {
                prop_assert!(!pair[0].covers(&pair[1]));
            }
            prop_assert_eq!(prefixes.iter().collect::<PrefixSet>(), left);
        }
    }
}
