//! Ports in columns.

use crate::output::{Hue, Output, Table, paint};
use node::api::types::{Port, PortState};

/// One line a port; counters too with `-s`.
pub(crate) fn ports(ports: &[Port], output: Output) -> String {
    let mut titles =
        vec!["NAME", "TYPE", "STATE", "MAC", "ADDRESSES", ">MTU", "DEVICE", "NETNS", ">MACS", "ORIGIN"];
    if output.statistics {
        titles.extend([">RX-PACKETS", ">RX-BYTES", ">RX-DROPPED", ">TX-PACKETS", ">TX-BYTES", ">TX-DROPPED"]);
    }
    let mut table = Table::new(&titles);
    for port in ports {
        table.row(row(port, output));
    }
    let mut text = table.render();
    for port in ports {
        if let Some(reason) = &port.reason {
            text.push_str(&format!("{}: {reason}\n", port.ifname));
        }
    }
    text
}

fn row(port: &Port, output: Output) -> Vec<String> {
    let hue = if port.state == PortState::Up { Hue::Good } else { Hue::Bad };
    let netns = port.netns.as_deref().unwrap_or_default();
    let origin = serde_json::to_value(port.origin).ok();
    let mut cells = vec![
        paint(output.color, Hue::Name, &port.ifname),
        port.port_type.clone(),
        paint(output.color, hue, port.state.name()),
        paint(output.color, Hue::Address, &port.address.to_string()),
        port.addresses.join(","),
        port.mtu.to_string(),
        port.device.clone().unwrap_or_default(),
        // Named namespaces are known by their names.
        netns.rsplit_once("/netns/").map_or(netns, |(_, name)| name).to_owned(),
        port.macs.to_string(),
        origin.as_ref().and_then(|origin| origin.as_str()).unwrap_or_default().to_owned(),
    ];
    if output.statistics {
        for direction in [port.stats64.rx, port.stats64.tx] {
            cells.extend([direction.packets, direction.bytes, direction.dropped].map(|n| n.to_string()));
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<Port> {
        let port = |name: &str, state: &str, netns: serde_json::Value, reason: serde_json::Value| {
            serde_json::json!({
                "ifindex": 1, "ifname": name, "flags": ["BROADCAST", "UP"], "mtu": 1500, "operstate": "UP",
                "txqlen": 4096, "link_type": "ether", "address": "02:00:00:00:00:11",
                "broadcast": "ff:ff:ff:ff:ff:ff",
                "stats64": {"rx": {"bytes": 98, "packets": 1, "dropped": 0},
                            "tx": {"bytes": 196, "packets": 2, "dropped": 3}},
                "type": "tap", "state": state, "reason": reason, "origin": "config", "netns": netns,
                "device": "eth0", "addresses": ["10.244.1.9/24", "fd00::9/64"], "anti_spoof": true, "queues": 1,
                "features": ["csum", "tso4"], "macs": 1
            })
        };
        serde_json::from_value(serde_json::json!([
            port("pod1", "up", "/var/run/netns/pod1".into(), serde_json::Value::Null),
            port("pod2", "gone", "/proc/77/ns/net".into(), "its namespace was removed".into()),
        ]))
        .unwrap()
    }

    #[test]
    fn a_port_is_a_line_and_trouble_is_explained() {
        let output = Output { json: false, pretty: false, statistics: false, color: false };
        insta::assert_snapshot!(ports(&example(), output), @"
        NAME   TYPE   STATE   MAC                 ADDRESSES                   MTU   DEVICE   NETNS             MACS   ORIGIN
        pod1   tap    up      02:00:00:00:00:11   10.244.1.9/24,fd00::9/64   1500   eth0     pod1                 1   config
        pod2   tap    gone    02:00:00:00:00:11   10.244.1.9/24,fd00::9/64   1500   eth0     /proc/77/ns/net      1   config
        pod2: its namespace was removed
        ");
    }

    #[test]
    fn statistics_add_both_directions() {
        let output = Output { json: false, pretty: false, statistics: true, color: false };
        let text = ports(&example(), output);
        let line = text.lines().nth(1).unwrap();
        assert!(line.ends_with("1         98            0            2        196            3"), "{line}");
    }
}
