//! The room against the kernel, each test on a host of its own (a private network namespace). They need `CAP_NET_ADMIN` and
//! `CAP_SYS_ADMIN`; without them a test ends at its first line.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test")]

mod bed;

use std::collections::HashSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use bed::{Bed, HOST_IP, OUTSIDE_IP, ask_from, echo, inmate, is_cut_off, published};
use network::{
    EndpointRequest, Error, Network, NetworkOptions, NetworkRequest, PortRequest, Protocol,
};
use sys::netns;
use types::Kind;

#[test]
fn privileged_two_containers_reach_each_other_and_detach_leaves_no_trace() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let (a, b) = (inmate(), inmate());
    let plain = EndpointRequest::default();
    let at_a = bed.attach(&network, &a, &plain).unwrap();
    let at_b = bed.attach(&network, &b, &plain).unwrap();
    assert_eq!((at_a.ip, at_b.ip), ([172, 17, 0, 2].into(), [172, 17, 0, 3].into()));
    assert_eq!((at_a.gateway, at_a.prefix), ([172, 17, 0, 1].into(), 16));
    assert_eq!(at_a.mac.to_string(), "02:42:ac:11:00:02");
    let _b = echo(&b.netns, 80);
    assert_eq!(ask_from(&a.netns, at_b.ip, 80).unwrap(), at_a.ip);
    // Loopback is up, and the host reaches containers.
    let _a = echo(&a.netns, 81);
    assert_eq!(ask_from(&a.netns, Ipv4Addr::LOCALHOST, 81).unwrap(), Ipv4Addr::LOCALHOST);
    assert_eq!(ask_from(&bed.host, at_b.ip, 80).unwrap(), at_b.gateway);
    assert_eq!(network.endpoints(&at_a.network_id).len(), 2);
    bed.detach(&network, &a, &at_a);
    bed.detach(&network, &b, &at_b);
    bed.detach(&network, &b, &at_b);
    assert_eq!(bed.veths(), [""; 0]);
    assert!(network.endpoints(&at_a.network_id).is_empty());
    // The lowest address is free again.
    assert_eq!(bed.attach(&network, &inmate(), &plain).unwrap().ip, at_a.ip);
}

#[test]
fn privileged_the_outside_sees_the_hosts_address() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let a = inmate();
    bed.attach(&network, &a, &EndpointRequest::default()).unwrap();
    let _outside = echo(&bed.outside, 9000);
    assert_eq!(ask_from(&a.netns, OUTSIDE_IP, 9000).unwrap(), HOST_IP);
    assert_eq!(network.warnings(), [""; 0]);
}

#[test]
fn privileged_a_published_port_answers_from_everywhere() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let (a, b) = (inmate(), inmate());
    let at_a = bed.attach(&network, &a, &published(8080, 80)).unwrap();
    let at_b = bed.attach(&network, &b, &EndpointRequest::default()).unwrap();
    assert_eq!((at_a.ports[0].host_port, at_a.ports[0].container_port), (8080, 80));
    let _a = echo(&a.netns, 80);
    // From the outside, with the true source.
    assert_eq!(ask_from(&bed.outside, HOST_IP, 8080).unwrap(), OUTSIDE_IP);
    // From the host: by address and by localhost.
    assert!(ask_from(&bed.host, HOST_IP, 8080).is_ok());
    assert_eq!(ask_from(&bed.host, Ipv4Addr::LOCALHOST, 8080).unwrap(), at_a.gateway);
    // From a neighbour and from itself, by the host's address.
    assert_eq!(ask_from(&b.netns, HOST_IP, 8080).unwrap(), at_a.gateway);
    assert_eq!(ask_from(&a.netns, HOST_IP, 8080).unwrap(), at_a.gateway);
    // An outsider who routes into the subnet gets to published ports only by the host's address.
    bed.outside(|| route_into(&at_a.ip));
    assert!(is_cut_off(&bed.outside, at_a.ip, 80));
    assert!(is_cut_off(&bed.outside, at_b.ip, 80));
    // Taken, for us and for the host's processes; free and dead after detach.
    let error = bed.attach(&network, &inmate(), &published(8080, 80)).unwrap_err();
    assert_eq!(error.to_string(), "Bind for 0.0.0.0:8080 failed: port is already allocated");
    assert!(bed.on_host(|| std::net::TcpListener::bind("0.0.0.0:8080")).is_err());
    bed.detach(&network, &a, &at_a);
    assert!(is_cut_off(&bed.outside, HOST_IP, 8080));
    assert!(bed.on_host(|| std::net::TcpListener::bind("0.0.0.0:8080")).is_ok());
    assert_eq!(bed.veths(), [at_b.host_ifname]);
}

/// `ip route add 172.17.0.0/16 via HOST`
fn route_into(ip: &Ipv4Addr) {
    let mut route = sys::netlink::Message::new(
        24,
        sys::netlink::CREATE,
        &[2, 16, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0],
    );
    let [a, b, ..] = ip.octets();
    route.attr(1, &[a, b, 0, 0]).attr(5, &HOST_IP.octets());
    sys::netlink::Socket::open_route().unwrap().request(&[route]).unwrap();
}

#[test]
fn privileged_a_port_on_one_address_answers_only_there() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let a = inmate();
    let mut ask = published(8081, 80);
    ask.ports[0].host_ip = Some(Ipv4Addr::LOCALHOST);
    let any = PortRequest { host_ip: None, host_ports: None, ..ask.ports[0] };
    let udp = PortRequest {
        protocol: Protocol::Udp,
        container_port: 53,
        host_ip: None,
        host_ports: Some((5353, 5360)),
    };
    ask.ports.extend([any, udp]);
    let at_a = bed.attach(&network, &a, &ask).unwrap();
    let _a = echo(&a.netns, 80);
    assert_eq!(ask_from(&bed.host, Ipv4Addr::LOCALHOST, 8081).unwrap(), at_a.gateway);
    assert!(is_cut_off(&bed.outside, HOST_IP, 8081));
    let chosen = at_a.ports[1].host_port;
    assert!(chosen >= 32768);
    assert_eq!(ask_from(&bed.outside, HOST_IP, chosen).unwrap(), OUTSIDE_IP);
    let server = netns::inside(a.netns.as_fd(), || UdpSocket::bind("0.0.0.0:53").unwrap()).unwrap();
    server.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
    let client = bed.outside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    client.send_to(b"hello", (HOST_IP, 5353)).unwrap();
    let mut buffer = [0; 8];
    let (count, from) = server.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..count], from.ip()), (&b"hello"[..], OUTSIDE_IP.into()));
}

#[test]
fn privileged_a_udp_client_follows_the_port_to_its_next_owner() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let mut ask = published(5353, 53);
    ask.ports[0].protocol = Protocol::Udp;
    // The connection tracking of the host begins with the table.
    bed.attach(&network, &inmate(), &EndpointRequest::default()).unwrap();
    let client = bed.outside(|| UdpSocket::bind("0.0.0.0:0").unwrap());
    client.send_to(b"too early", (HOST_IP, 5353)).unwrap();
    let receives = |inmate: &bed::Inmate, words: &[u8]| {
        let bind = || UdpSocket::bind("0.0.0.0:53").unwrap();
        let server = netns::inside(inmate.netns.as_fd(), bind).unwrap();
        server.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        // The first try may report the refusal of an earlier datagram.
        let sent = client.send_to(words, (HOST_IP, 5353));
        sent.or_else(|_| client.send_to(words, (HOST_IP, 5353))).unwrap();
        let mut buffer = [0; 16];
        let count = server.recv_from(&mut buffer).unwrap().0;
        assert_eq!(&buffer[..count], words);
    };
    let (a, b) = (inmate(), inmate());
    let at_a = bed.attach(&network, &a, &ask).unwrap();
    receives(&a, b"to a");
    bed.detach(&network, &a, &at_a);
    ask.ipv4 = Some([172, 17, 0, 9].into());
    bed.attach(&network, &b, &ask).unwrap();
    receives(&b, b"to b");
}

#[test]
fn privileged_close_takes_down_what_no_container_uses() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let ask = NetworkRequest { name: "red".to_owned(), ..NetworkRequest::default() };
    bed.on_host(|| network.create(&ask)).unwrap();
    let (a, b) = (inmate(), inmate());
    let on_red = EndpointRequest { network: "red".to_owned(), ..EndpointRequest::default() };
    let at_a = bed.attach(&network, &a, &EndpointRequest::default()).unwrap();
    let at_b = bed.attach(&network, &b, &on_red).unwrap();
    bed.detach(&network, &a, &at_a);
    bed.on_host(|| network.close()).unwrap();
    let red = network.network("red").unwrap().bridge.unwrap();
    assert_eq!(bed.links(), ["lo".to_owned(), "eth0".to_owned(), red, at_b.host_ifname.clone()]);
    assert_eq!(bed.tables(), ["belljar"]);
    bed.detach(&network, &b, &at_b);
    bed.on_host(|| network.close()).unwrap();
    assert_eq!((bed.links(), bed.tables()), (vec!["lo".to_owned(), "eth0".to_owned()], vec![]));
    let _outside = echo(&bed.outside, 9000);
    bed.attach(&network, &a, &EndpointRequest::default()).unwrap();
    assert_eq!(ask_from(&a.netns, OUTSIDE_IP, 9000).unwrap(), HOST_IP);
}

#[test]
fn privileged_a_bridge_that_somebody_else_made_is_used_and_left_alone() {
    let Some(bed) = Bed::new() else { return };
    // Somebody's bridge with somebody's container on it.
    let theirs = bed.open();
    let stranger = inmate();
    let at_stranger = bed.attach(&theirs, &stranger, &EndpointRequest::default()).unwrap();
    bed.on_host(|| {
        let mut rename = sys::netlink::Message::new(19, 0, &[0; 16]);
        rename.attr_str(3, "belljar0").attr(20, b"somebody's");
        sys::netlink::Socket::open_route().unwrap().request(&[rename]).unwrap();
    });
    let ours = bed.open();
    bed.on_host(|| ours.reconcile(&[])).unwrap();
    assert_eq!(bed.veths(), std::slice::from_ref(&at_stranger.host_ifname));
    let a = inmate();
    let ask = EndpointRequest { ipv4: Some([172, 17, 0, 9].into()), ..EndpointRequest::default() };
    let at_a = bed.attach(&ours, &a, &ask).unwrap();
    let _stranger = echo(&stranger.netns, 80);
    assert!(ask_from(&a.netns, at_stranger.ip, 80).is_ok());
    bed.detach(&ours, &a, &at_a);
    bed.on_host(|| ours.close()).unwrap();
    assert!(bed.links().contains(&"belljar0".to_owned()));
    assert_eq!(bed.veths(), [at_stranger.host_ifname]);
}

#[test]
fn privileged_twenty_at_once_get_twenty_addresses() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let ask = EndpointRequest {
        ports: vec![PortRequest {
            protocol: Protocol::Tcp,
            container_port: 80,
            host_ip: None,
            host_ports: None,
        }],
        ..EndpointRequest::default()
    };
    let inmates: Vec<_> = (0..20).map(|_| inmate()).collect();
    let endpoints: Vec<_> = thread::scope(|scope| {
        let attach = |inmate| {
            let (bed, network, ask) = (&bed, &network, &ask);
            scope.spawn(move || bed.attach(network, inmate, ask).unwrap())
        };
        let workers: Vec<_> = inmates.iter().map(attach).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    let addresses: HashSet<_> = endpoints.iter().map(|e| e.ip).collect();
    let ports: HashSet<_> = endpoints.iter().map(|e| e.ports[0].host_port).collect();
    assert_eq!((addresses.len(), ports.len(), bed.veths().len()), (20, 20, 20));
    for (inmate, endpoint) in inmates.iter().zip(&endpoints) {
        let _server = echo(&inmate.netns, 80);
        assert_eq!(
            ask_from(&bed.outside, HOST_IP, endpoint.ports[0].host_port).unwrap(),
            OUTSIDE_IP
        );
    }
    thread::scope(|scope| {
        for (inmate, endpoint) in inmates.iter().zip(&endpoints) {
            scope.spawn(|| bed.detach(&network, inmate, endpoint));
        }
    });
    assert_eq!(bed.veths(), [""; 0]);
}

#[test]
fn privileged_a_flushed_ruleset_is_repaired_by_the_next_attach() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let a = inmate();
    bed.attach(&network, &a, &published(8080, 80)).unwrap();
    let (_a, _outside) = (echo(&a.netns, 80), echo(&bed.outside, 9000));
    bed.delete_tables(None);
    assert!(bed.tables().is_empty());
    assert!(is_cut_off(&bed.outside, HOST_IP, 8080));
    bed.attach(&network, &inmate(), &EndpointRequest::default()).unwrap();
    assert_eq!(ask_from(&bed.outside, HOST_IP, 8080).unwrap(), OUTSIDE_IP);
    assert_eq!(ask_from(&a.netns, OUTSIDE_IP, 9000).unwrap(), HOST_IP);
}

#[test]
fn privileged_a_deleted_bridge_comes_back_with_its_ports() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let (a, b) = (inmate(), inmate());
    bed.attach(&network, &a, &EndpointRequest::default()).unwrap();
    bed.on_host(|| {
        let mut delete = sys::netlink::Message::new(17, 0, &[0; 16]);
        delete.attr_str(3, "belljar0");
        sys::netlink::Socket::open_route().unwrap().request(&[delete]).unwrap();
    });
    let at_b = bed.attach(&network, &b, &EndpointRequest::default()).unwrap();
    let _b = echo(&b.netns, 80);
    assert!(ask_from(&a.netns, at_b.ip, 80).is_ok());
}

#[test]
fn privileged_the_next_daemon_keeps_the_living_and_sweeps_the_dead() {
    let Some(bed) = Bed::new() else { return };
    let first = bed.open();
    let (living, dead) = (inmate(), inmate());
    let at_dead = bed.attach(&first, &dead, &published(8082, 80)).unwrap();
    let at_living = bed.attach(&first, &living, &published(8080, 80)).unwrap();
    let (_living, _dead) = (echo(&living.netns, 80), echo(&dead.netns, 80));
    drop(first);
    let next = bed.open();
    let survivors = [(living.id.clone(), at_living.clone())];
    bed.on_host(|| next.reconcile(&survivors)).unwrap();
    assert_eq!(bed.veths(), std::slice::from_ref(&at_living.host_ifname));
    assert_eq!(ask_from(&bed.outside, HOST_IP, 8080).unwrap(), OUTSIDE_IP);
    assert!(is_cut_off(&bed.outside, HOST_IP, 8082));
    let error = bed.attach(&next, &inmate(), &published(8080, 80)).unwrap_err();
    assert!(matches!(error, Error::PortTaken { port: 8080, .. }), "{error:?}");
    let again = bed.attach(&next, &inmate(), &published(8082, 80)).unwrap();
    assert_eq!(again.ip, at_dead.ip);
    // All dead: links and the table go; the next start makes them again.
    let last = bed.open();
    bed.on_host(|| last.reconcile(&[])).unwrap();
    assert_eq!((bed.veths(), bed.tables()), (vec![], vec![]));
    assert_eq!(last.network("bridge").unwrap().id, next.network("default").unwrap().id);
}

#[test]
fn privileged_two_daemons_share_a_host() {
    let Some(bed) = Bed::new() else { return };
    let one = bed.open();
    let other = NetworkOptions {
        bridge: "bj-other".to_owned(),
        ..NetworkOptions::new(bed.dir.path().join("other"))
    };
    // Both choose before either has a bridge: the later one moves on.
    let two = bed.on_host(|| Network::open(other)).unwrap();
    let (a, b) = (inmate(), inmate());
    let at_a = bed.attach(&one, &a, &published(8080, 80)).unwrap();
    let at_b = bed.attach(&two, &b, &published(8081, 80)).unwrap();
    assert_eq!((at_a.ip, at_b.ip), ([172, 17, 0, 2].into(), [172, 18, 0, 2].into()));
    let (_a, _b) = (echo(&a.netns, 80), echo(&b.netns, 80));
    assert!(ask_from(&bed.outside, HOST_IP, 8080).is_ok());
    assert!(ask_from(&bed.outside, HOST_IP, 8081).is_ok());
    let mut tables = bed.tables();
    tables.sort();
    assert_eq!(tables, ["belljar", "belljar_bj-other"]);
    bed.on_host(|| two.reconcile(&[])).unwrap();
    assert_eq!(bed.veths(), [at_a.host_ifname]);
    assert!(ask_from(&bed.outside, HOST_IP, 8080).is_ok());
}

#[test]
fn privileged_user_networks_are_apart_and_internal_ones_are_closed() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let make = |name: &str, internal| {
        let ask = NetworkRequest { name: name.to_owned(), internal, ..NetworkRequest::default() };
        bed.on_host(|| network.create(&ask)).unwrap()
    };
    let (red, blue) = (make("red", false), make("blue", true));
    assert_eq!(red.subnet.unwrap().to_string(), "172.18.0.0/16");
    let on =
        |name: &str| EndpointRequest { network: name.to_owned(), ..EndpointRequest::default() };
    let (a, b, c) = (inmate(), inmate(), inmate());
    let at_a = bed.attach(&network, &a, &on("red")).unwrap();
    let at_b = bed.attach(&network, &b, &on("blue")).unwrap();
    let at_c = bed.attach(&network, &c, &on(blue.id.short())).unwrap();
    let _servers = (echo(&a.netns, 80), echo(&b.netns, 80), echo(&bed.outside, 9000));
    assert!(ask_from(&c.netns, at_b.ip, 80).is_ok());
    assert!(is_cut_off(&c.netns, at_a.ip, 80));
    assert!(is_cut_off(&a.netns, at_b.ip, 80));
    assert!(is_cut_off(&c.netns, OUTSIDE_IP, 9000));
    assert_eq!(ask_from(&a.netns, OUTSIDE_IP, 9000).unwrap(), HOST_IP);
    let error = bed.on_host(|| network.remove("red")).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().contains("has active endpoints")),
        (Kind::Denied, true)
    );
    for (inmate, endpoint) in [(&a, &at_a), (&b, &at_b), (&c, &at_c)] {
        bed.detach(&network, inmate, endpoint);
    }
    bed.on_host(|| network.remove("red")).unwrap();
    bed.on_host(|| network.remove("blue")).unwrap();
    assert!(!bed.links().iter().any(|name| name.starts_with("br-")), "{:?}", bed.links());
    assert_eq!(network.network("red").unwrap_err().to_string(), "network red not found");
    assert_eq!(bed.open().networks().len(), 3);
}

#[test]
fn privileged_a_second_network_is_a_second_interface() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let ask = NetworkRequest {
        name: "back".to_owned(),
        subnet: Some("10.77.0.0/24".parse().unwrap()),
        ..NetworkRequest::default()
    };
    bed.on_host(|| network.create(&ask)).unwrap();
    let a = inmate();
    bed.attach(&network, &a, &EndpointRequest::default()).unwrap();
    let second = EndpointRequest {
        network: "back".to_owned(),
        ifname: "eth1".to_owned(),
        default_route: false,
        ipv4: Some([10, 77, 0, 9].into()),
        ..EndpointRequest::default()
    };
    let at_back = bed.attach(&network, &a, &second).unwrap();
    assert_eq!((at_back.ip, at_back.prefix), ([10, 77, 0, 9].into(), 24));
    let error = bed
        .attach(&network, &inmate(), &EndpointRequest { ifname: "eth0".to_owned(), ..second })
        .unwrap_err();
    assert_eq!(error.to_string(), "Address already in use");
    let _outside = echo(&bed.outside, 9000);
    assert_eq!(ask_from(&a.netns, OUTSIDE_IP, 9000).unwrap(), HOST_IP);
}

#[test]
fn privileged_a_failed_attach_leaves_nothing() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let a = inmate();
    let at_a = bed.attach(&network, &a, &EndpointRequest::default()).unwrap();
    // The namespace has an eth0 already.
    let error = bed.attach(&network, &a, &published(8080, 80)).unwrap_err();
    assert!(matches!(error, Error::Netlink { step: "create link", .. }), "{error:?}");
    assert_eq!(bed.veths(), [at_a.host_ifname]);
    assert!(bed.on_host(|| std::net::TcpListener::bind("0.0.0.0:8080")).is_ok());
    let at_b = bed.attach(&network, &inmate(), &EndpointRequest::default()).unwrap();
    assert_eq!(at_b.ip, Ipv4Addr::new(172, 17, 0, 3));
    let host = EndpointRequest { network: "host".to_owned(), ..EndpointRequest::default() };
    let error = bed.attach(&network, &inmate(), &host).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
}

#[test]
fn privileged_none_has_loopback_only() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let a = inmate();
    bed.on_host(|| network.loopback_up(a.netns.as_fd())).unwrap();
    let _a = echo(&a.netns, 80);
    assert!(ask_from(&a.netns, Ipv4Addr::LOCALHOST, 80).is_ok());
    assert_eq!(bed.links(), ["lo", "eth0"]);
}

/// The target is 3 ms; the limit leaves room for a busy machine and still catches a wait for an RCU grace period per step.
#[test]
fn privileged_attach_takes_milliseconds() {
    let Some(bed) = Bed::new() else { return };
    let network = bed.open();
    let inmates: Vec<_> = (0..20).map(|_| inmate()).collect();
    let mut times: Vec<_> = inmates
        .iter()
        .enumerate()
        .map(|(n, inmate)| {
            let ask = published(8000 + u16::try_from(n).unwrap(), 80);
            bed.on_host(|| {
                let start = Instant::now();
                network.attach(&inmate.id, inmate.netns.as_fd(), &ask).unwrap();
                start.elapsed()
            })
        })
        .collect();
    times.sort();
    assert!(times[10] < Duration::from_millis(30), "{times:?}");
}
