//! Which subnet a network gets: the first of Docker's default pools that overlaps nothing. Pure.

use std::net::Ipv4Addr;

use crate::model::Subnet;

/// Lists the default pools in order: 172.17.0.0/16 to 172.31.0.0/16, then 192.168.0.0/16 in pieces of /20.
pub(crate) fn candidates() -> impl Iterator<Item = Subnet> {
    let large = (17..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..=15).map(|part| (Ipv4Addr::new(192, 168, part * 16, 0), 20));
    large.chain(small).filter_map(|(base, prefix)| Subnet::of(base, prefix).ok())
}

/// Returns the first pool that overlaps none of `taken`.
pub(crate) fn choose(taken: &[Subnet]) -> Option<Subnet> {
    candidates().find(|pool| is_free(pool, taken))
}

/// Tells whether a subnet overlaps none of `taken`.
pub(crate) fn is_free(subnet: &Subnet, taken: &[Subnet]) -> bool {
    !taken.iter().any(|other| other.overlaps(subnet))
}

/// Returns a subnet's first host address: its bridge's, unless asked otherwise.
pub(crate) fn first_host(subnet: Subnet) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(subnet.base()).saturating_add(u32::from(subnet.prefix() < 31)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pools_are_dockers_and_avoid_what_is_routed() {
        assert_eq!(candidates().count(), 15 + 16);
        assert_eq!(choose(&[]).unwrap().to_string(), "172.17.0.0/16");
        let docker: Subnet = "172.17.0.0/16".parse().unwrap();
        let office: Subnet = "172.18.3.0/24".parse().unwrap();
        assert_eq!(choose(&[docker, office]).unwrap().to_string(), "172.19.0.0/16");
        let wide: Subnet = "172.16.0.0/12".parse().unwrap();
        assert_eq!(choose(&[wide]).unwrap().to_string(), "192.168.0.0/20");
        assert_eq!(choose(&["0.0.0.0/1".parse().unwrap(), "128.0.0.0/1".parse().unwrap()]), None);
    }
}
