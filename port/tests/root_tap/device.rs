//! Making, adopting and refusing devices.

use std::time::{Duration, Instant};

use e2e::Namespace;
use packet::Offloads;
use port::tap::{self, Status, TapConfig, TapError};

use crate::rig::{address, config, mac};

pub(crate) fn made_as_configured() {
    let pod = Namespace::new("pod");
    let config = TapConfig {
        mtu_bytes: 1400,
        queues: 2,
        queue_frames: 3000,
        addresses: vec!["10.9.0.5/24".parse().unwrap(), "fd00:9::5/64".parse().unwrap()],
        default_routes: vec!["10.9.0.1".parse().unwrap(), "fd00:9::1".parse().unwrap()],
        ..config(&pod, 4)
    };
    let opened = tap::open(&config).unwrap();
    assert_eq!(opened.queues.len(), 2);
    assert_eq!(opened.warnings, Vec::<String>::new());
    assert!(!opened.adopted);
    assert!(opened.offloads.tso4 && opened.offloads.tso6 && opened.offloads.checksum);
    assert_ne!(opened.offloads, Offloads::NONE);

    let link = pod.ip("-d link show dev eth0");
    for part in ["mtu 1400", "qlen 3000", "02:00:00:00:00:04", "multi_queue", "vnet_hdr", "persist on", "UP"]
    {
        assert!(link.contains(part), "{part} is missing in {link}");
    }
    let addresses = pod.ip("address show dev eth0");
    for part in ["10.9.0.5/24 brd 10.9.0.255", "fd00:9::5/64", "inet6 fe80::"] {
        assert!(addresses.contains(part), "{part} is missing in {addresses}");
    }
    assert!(!addresses.contains("tentative"), "{addresses}");
    assert!(pod.ip("route show default").contains("via 10.9.0.1 dev eth0"));
    assert!(pod.ip("-6 route show default").contains("via fd00:9::1 dev eth0"));

    let status = tap::status(Some(&pod.path()), "eth0").unwrap();
    assert_eq!(
        status,
        Status::Present { identity: opened.identity, up: true, running: true, mtu_bytes: 1400 }
    );
    assert_eq!(tap::status(Some(&pod.path()), "eth1").unwrap(), Status::Missing);
    assert!(tap::counters(Some(&pod.path()), "eth0").unwrap().is_some());
    assert!(tap::remove(Some(&pod.path()), "eth0").unwrap());
    assert!(!tap::remove(Some(&pod.path()), "eth0").unwrap());
}

pub(crate) fn adopted() {
    let pod = Namespace::new("pod");
    let config = TapConfig {
        addresses: vec!["10.9.0.5/24".parse().unwrap(), "fd00:9::5/64".parse().unwrap()],
        default_routes: vec!["10.9.0.1".parse().unwrap(), "fd00:9::1".parse().unwrap()],
        ..config(&pod, 4)
    };
    let first = tap::open(&config).unwrap();
    let identity = first.identity;
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    while tap::status(Some(&pod.path()), "eth0").unwrap()
        != (Status::Present { identity, up: true, running: false, mtu_bytes: 1500 })
    {
        assert!(Instant::now() < deadline, "the device stays, without carrier");
    }
    pod.ip("address add 10.9.1.1/24 dev eth0");
    let before = (pod.ip("address show dev eth0 scope global"), pod.ip("route"), pod.ip("-6 route"));
    let second = tap::open(&TapConfig { queues: 3, ..config }).unwrap();
    assert!(second.adopted);
    assert_eq!(second.identity, identity);
    assert_eq!(second.queues.len(), 3);
    assert_eq!(second.warnings, Vec::<String>::new());
    let lines = |text: &str| text.replace("NO-CARRIER,", "").replace("linkdown ", "");
    assert!(pod.ip("address show dev eth0").contains("10.9.1.1/24"), "what others added stays");
    assert_eq!(lines(&before.1), lines(&pod.ip("route")));
    assert_eq!(pod.ip("-6 route").matches("default").count(), before.2.matches("default").count());
}

pub(crate) fn not_persistent() {
    let pod = Namespace::new("pod");
    let opened = tap::open(&TapConfig { persistent: false, ..config(&pod, 1) }).unwrap();
    drop(opened);
    // A child that another test has just forked holds the descriptor until it executes its program.
    let deadline = Instant::now() + Duration::from_secs(10);
    while tap::status(Some(&pod.path()), "eth0").unwrap() != Status::Missing {
        assert!(Instant::now() < deadline, "the device is still there");
    }
}

pub(crate) fn name_taken() {
    let pod = Namespace::new("pod");
    pod.ip("link add eth0 type bridge");
    assert!(matches!(tap::open(&config(&pod, 1)), Err(TapError::NameTaken { .. })));
    assert!(matches!(tap::remove(Some(&pod.path()), "eth0"), Err(TapError::NameTaken { .. })));
    pod.ip("link del eth0");
    pod.ip("tuntap add dev eth0 mode tap");
    assert!(matches!(tap::open(&config(&pod, 1)), Err(TapError::NameTaken { .. })), "one queue only");
    pod.ip("tuntap del dev eth0 mode tap");
    pod.ip("tuntap add dev eth0 mode tun multi_queue");
    assert!(matches!(tap::open(&config(&pod, 1)), Err(TapError::NameTaken { .. })), "a TUN");
}

pub(crate) fn in_use() {
    let pod = Namespace::new("pod");
    let first = tap::open(&config(&pod, 1)).unwrap();
    assert!(matches!(tap::open(&config(&pod, 1)), Err(TapError::InUse { queues: 1, .. })));
    let closer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        drop(first);
    });
    assert!(tap::open(&config(&pod, 1)).unwrap().adopted);
    closer.join().unwrap();
}

pub(crate) fn removed_on_failure() {
    let pod = Namespace::new("pod");
    let config = TapConfig { mtu_bytes: 1_000_000, ..config(&pod, 1) };
    let error = tap::open(&config).expect_err("no such MTU");
    assert!(error.to_string().contains("MTU 1000000"), "{error}");
    let deadline = Instant::now() + Duration::from_secs(10);
    while tap::status(Some(&pod.path()), "eth0").unwrap() != Status::Missing {
        assert!(Instant::now() < deadline, "the device is still there");
    }
}

pub(crate) fn gateway_on_link() {
    let pod = Namespace::new("pod");
    let config = TapConfig {
        addresses: vec!["10.9.0.5/32".parse().unwrap()],
        default_routes: vec!["169.254.1.1".parse().unwrap()],
        ..config(&pod, 1)
    };
    let opened = tap::open(&config).unwrap();
    assert_eq!(opened.mac, mac(1));
    assert!(pod.ip("route show default").contains("onlink"));
}

pub(crate) fn quickly_added() {
    let pod = Namespace::new("pod");
    let mut times: Vec<_> = (0..20)
        .map(|index| {
            let config = TapConfig {
                device: format!("eth{index}"),
                addresses: vec![format!("{}/32", address(index)).parse().unwrap()],
                ..config(&pod, index)
            };
            let before = Instant::now();
            drop(tap::open(&config).unwrap());
            before.elapsed()
        })
        .collect();
    times.sort();
    eprintln!("adding a TAP: shortest {:?}, median {:?}", times[0], times[10]);
    // The shortest, since other tests run at the same time and contend for the kernel's one lock (RTNL).
    assert!(times[0] < Duration::from_millis(20), "{times:?}");
}
