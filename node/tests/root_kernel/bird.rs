//! A foreign source of routes.

use std::collections::BTreeMap;

use e2e::Bird;
use node::kernel::{FollowOptions, KernelRouteKey, KernelRouteKind};

use crate::rig::Rig;

pub(crate) fn the_routes_of_bird_come_and_go_with_it() {
    let options = FollowOptions { tables: vec![254], protocols: vec![12], ..FollowOptions::default() };
    let rig = Rig::start(options);
    assert!(rig.told().known.routes.is_empty());
    let v4 = "route 192.168.0.0/24 via 10.0.0.2; route 192.168.1.0/24 via 10.0.0.2 via 10.0.1.2; \
              route 192.168.2.0/24 blackhole;";
    let bird = Bird::start(&rig.namespace, v4, "route fd99::/64 via fd00::2;");
    rig.await_routes("the routes of BIRD are told", |routes| routes.len() == 4);
    rig.compare("BIRD runs");
    let key = KernelRouteKey {
        table: 254,
        protocol: 12,
        prefix: "192.168.1.0/24".parse().expect("a network"),
        metric: 32,
    };
    let Some(KernelRouteKind::Hops(hops)) = rig.told().known.routes.get(&key).cloned() else {
        panic!("no such route: {:?}", rig.told().known.routes)
    };
    assert_eq!(
        hops.iter().filter_map(|hop| hop.gateway).map(|gateway| gateway.to_string()).collect::<Vec<_>>(),
        ["10.0.0.2", "10.0.1.2"]
    );
    bird.stop();
    rig.await_routes("they are gone", BTreeMap::is_empty);
    rig.compare("BIRD has ended");
}
