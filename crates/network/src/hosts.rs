//! `/etc/hosts` of a container. Pure.

use std::net::IpAddr;

use crate::error::Error;

/// What goes into the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostsRequest {
    /// The container's host name.
    pub hostname: String,
    /// Its domain name, or empty.
    pub domainname: String,
    /// Its addresses, one per network; none gives the loopback lines only.
    pub addresses: Vec<IpAddr>,
    /// `--add-host` entries: `name:ip`, `name=ip`, `name:host-gateway`.
    pub extra: Vec<String>,
    /// What `host-gateway` means: the default bridge's address.
    pub host_gateway: Option<IpAddr>,
}

/// Docker's first lines.
const LOOPBACK: &str = "127.0.0.1\tlocalhost\n\
    ::1\tlocalhost ip6-localhost ip6-loopback\n\
    fe00::\tip6-localnet\n\
    ff00::\tip6-mcastprefix\n\
    ff02::1\tip6-allnodes\n\
    ff02::2\tip6-allrouters\n";

/// Builds the file as Docker does: loopback lines, extra hosts, then one line per address.
///
/// # Errors
/// An extra host that is not `name:ip` is invalid; so is `host-gateway` when there is none.
pub fn hosts_file(ask: &HostsRequest) -> Result<String, Error> {
    let mut text = LOOPBACK.to_owned();
    for entry in &ask.extra {
        let (name, ip) = extra_host(entry, ask.host_gateway)?;
        text.push_str(&format!("{ip}\t{name}\n"));
    }
    let names = own_names(&ask.hostname, &ask.domainname);
    for ip in ask.addresses.iter().filter(|_| !names.is_empty()) {
        text.push_str(&format!("{ip}\t{names}\n"));
    }
    Ok(text)
}

/// The container's names: the full one first, then the first label.
fn own_names(hostname: &str, domainname: &str) -> String {
    if !domainname.is_empty() {
        return format!("{hostname}.{domainname} {hostname}");
    }
    match hostname.split_once('.') {
        Some((first, _)) if !first.is_empty() => format!("{hostname} {first}"),
        _ => hostname.to_owned(),
    }
}

/// Reads `name:ip` or `name=ip`; an IPv6 address may stand in brackets.
fn extra_host(entry: &str, host_gateway: Option<IpAddr>) -> Result<(&str, IpAddr), Error> {
    let bad_form = || Error::Invalid(format!("bad format for add-host: \"{entry}\""));
    let at = entry.find([':', '=']).filter(|at| *at > 0).ok_or_else(bad_form)?;
    let (name, address) = (&entry[..at], &entry[at + 1..]);
    // A name with blanks or line ends would write other lines than asked.
    if name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '#') {
        return Err(bad_form());
    }
    if address == "host-gateway" {
        let none = || Error::Invalid("unable to derive the IP value for host-gateway".to_owned());
        return host_gateway.map(|ip| (name, ip)).ok_or_else(none);
    }
    let bare =
        address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
    let bad_address = |_| Error::Invalid(format!("invalid IP address in add-host: \"{address}\""));
    Ok((name, bare.parse().map_err(bad_address)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> HostsRequest {
        HostsRequest {
            hostname: "63f3c0ba3d2b".to_owned(),
            addresses: vec!["172.17.0.2".parse().unwrap()],
            host_gateway: "172.17.0.1".parse().ok(),
            ..HostsRequest::default()
        }
    }

    #[test]
    fn the_file_is_dockers() {
        let extra = ["db:10.1.2.3", "gw:host-gateway", "six=[2001:db8::1]", "seven:2001:db8::2"];
        let ask = HostsRequest { extra: extra.map(str::to_owned).to_vec(), ..request() };
        let want = "127.0.0.1\tlocalhost\n\
                    ::1\tlocalhost ip6-localhost ip6-loopback\n\
                    fe00::\tip6-localnet\n\
                    ff00::\tip6-mcastprefix\n\
                    ff02::1\tip6-allnodes\n\
                    ff02::2\tip6-allrouters\n\
                    10.1.2.3\tdb\n\
                    172.17.0.1\tgw\n\
                    2001:db8::1\tsix\n\
                    2001:db8::2\tseven\n\
                    172.17.0.2\t63f3c0ba3d2b\n";
        assert_eq!(hosts_file(&ask).unwrap(), want);
    }

    #[test]
    fn a_domain_gives_the_full_name_first() {
        let last = |hostname: &str, domainname: &str| {
            let ask = HostsRequest {
                hostname: hostname.to_owned(),
                domainname: domainname.to_owned(),
                ..request()
            };
            hosts_file(&ask).unwrap().lines().next_back().unwrap().to_owned()
        };
        assert_eq!(last("web", "example.com"), "172.17.0.2\tweb.example.com web");
        assert_eq!(last("web.example.com", ""), "172.17.0.2\tweb.example.com web");
    }

    #[test]
    fn wrong_entries_are_named() {
        for (entry, words) in [
            ("db", "bad format for add-host: \"db\""),
            (":1.2.3.4", "bad format for add-host: \":1.2.3.4\""),
            ("a b:1.2.3.4", "bad format for add-host: \"a b:1.2.3.4\""),
            ("db:1.2.3", "invalid IP address in add-host: \"1.2.3\""),
            (
                "db:1.2.3.4\n6.6.6.6 evil",
                "invalid IP address in add-host: \"1.2.3.4\n6.6.6.6 evil\"",
            ),
        ] {
            let ask = HostsRequest { extra: vec![entry.to_owned()], ..request() };
            let error = hosts_file(&ask).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.kind()), (words, types::Kind::Invalid));
        }
        let ask = HostsRequest {
            extra: vec!["gw:host-gateway".to_owned()],
            host_gateway: None,
            ..request()
        };
        assert!(hosts_file(&ask).unwrap_err().to_string().contains("host-gateway"));
    }
}
