//! Address leases of one network. Pure: a set of numbers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::model::Subnet;

/// The addresses of a subnet that are in use.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases(BTreeSet<u32>);

/// Why a wanted address is not given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Somebody has it, or it is the gateway's.
    Taken,
    /// It is not a host address of the subnet.
    Outside,
}

impl Leases {
    /// Leases the lowest free host address, as Docker does: none of network, broadcast, gateway.
    pub(crate) fn lowest(&mut self, subnet: Subnet, gateway: Ipv4Addr) -> Option<Ipv4Addr> {
        let (first, last) = hosts(subnet)?;
        let mut candidate = first;
        // The leases are sorted: the first number that is not the next lease is free.
        for taken in self.0.range(first..=last) {
            while candidate < *taken {
                if Ipv4Addr::from(candidate) != gateway {
                    return self.insert(candidate);
                }
                candidate += 1;
            }
            candidate = taken.checked_add(1)?;
        }
        if Ipv4Addr::from(candidate) == gateway {
            candidate = candidate.checked_add(1)?;
        }
        if candidate <= last { self.insert(candidate) } else { None }
    }

    fn insert(&mut self, address: u32) -> Option<Ipv4Addr> {
        self.0.insert(address);
        Some(Ipv4Addr::from(address))
    }

    /// Leases a wanted address.
    pub(crate) fn exactly(
        &mut self,
        subnet: Subnet,
        gateway: Ipv4Addr,
        ip: Ipv4Addr,
    ) -> Result<(), Refusal> {
        let inside = hosts(subnet).is_some_and(|(first, last)| (first..=last).contains(&ip.into()));
        if !inside {
            return Err(Refusal::Outside);
        }
        if ip == gateway || !self.0.insert(ip.into()) {
            return Err(Refusal::Taken);
        }
        Ok(())
    }

    /// Tells whether nothing is leased.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives an address back.
    pub(crate) fn release(&mut self, ip: Ipv4Addr) {
        self.0.remove(&ip.into());
    }
}

/// First and last host address; a /31 has two and a /32 one (RFC 3021).
fn hosts(subnet: Subnet) -> Option<(u32, u32)> {
    let (first, last) = (u32::from(subnet.base()), u32::from(subnet.last()));
    if subnet.prefix() >= 31 {
        Some((first, last))
    } else {
        Some((first.checked_add(1)?, last.checked_sub(1)?))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn subnet() -> Subnet {
        "10.0.0.0/28".parse().unwrap()
    }

    #[test]
    fn the_first_address_follows_the_gateway_and_a_released_one_comes_back_first() {
        let mut leases = Leases::default();
        assert_eq!(leases.lowest(subnet(), GATEWAY), Some(Ipv4Addr::new(10, 0, 0, 2)));
        assert_eq!(leases.lowest(subnet(), GATEWAY), Some(Ipv4Addr::new(10, 0, 0, 3)));
        leases.release(Ipv4Addr::new(10, 0, 0, 2));
        assert_eq!(leases.lowest(subnet(), GATEWAY), Some(Ipv4Addr::new(10, 0, 0, 2)));
    }

    #[test]
    fn the_edges_are_not_given() {
        let mut leases = Leases::default();
        for (ip, refusal) in [
            ([10, 0, 0, 0], Refusal::Outside),
            ([10, 0, 0, 15], Refusal::Outside),
            ([10, 0, 0, 1], Refusal::Taken),
            ([10, 0, 1, 1], Refusal::Outside),
        ] {
            assert_eq!(leases.exactly(subnet(), GATEWAY, ip.into()), Err(refusal));
        }
        let last = Ipv4Addr::new(10, 0, 0, 14);
        let mut got = Vec::new();
        while let Some(ip) = leases.lowest(subnet(), GATEWAY) {
            got.push(ip);
        }
        assert_eq!((got.len(), got.last()), (13, Some(&last)));
    }

    proptest! {
        /// Against a plain model: never an address twice, always the lowest free one.
        #[test]
        fn leases_agree_with_the_model(
            steps in proptest::collection::vec((0u8..3, 0u8..16), 1..200),
            gateway in 1u8..15,
        ) {
            let gateway = Ipv4Addr::new(10, 0, 0, gateway);
            let mut leases = Leases::default();
            let mut model: BTreeSet<u8> = BTreeSet::new();
            for (step, last) in steps {
                let ip = Ipv4Addr::new(10, 0, 0, last);
                match step {
                    0 => {
                        let free = (1u8..15).find(|n| !model.contains(n) && Ipv4Addr::new(10, 0, 0, *n) != gateway);
                        let got = leases.lowest(subnet(), gateway);
                        prop_assert_eq!(got, free.map(|n| Ipv4Addr::new(10, 0, 0, n)));
                        model.extend(free);
                    }
                    1 => {
                        let legal = (1..15).contains(&last) && ip != gateway && !model.contains(&last);
                        prop_assert_eq!(leases.exactly(subnet(), gateway, ip).is_ok(), legal);
                        if legal { model.insert(last); }
                    }
                    _ => {
                        leases.release(ip);
                        model.remove(&last);
                    }
                }
            }
        }
    }
}
