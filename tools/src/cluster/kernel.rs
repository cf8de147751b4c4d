//! The kernel in flyover's place: cni0 as the CNI plugin `bridge` makes it with `isDefaultGateway`, a veth pair
//! a pod, and the kernel's own routing behind it.

use super::cloud;
use super::places::{Location, with_prefix_length};
use crate::host::Namespace;
use anyhow::Result;

/// The bridge's name.
const BRIDGE: &str = "cni0";
/// The pods' device.
pub(super) const POD_DEVICE: &str = "eth0";

/// Makes it on node `number` for its `pods`.
pub(super) fn build(number: u8, node: &Namespace, pods: &[&Namespace]) -> Result<()> {
    node.ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    for gateway in Location::Node(number).addresses() {
        node.ip(&["address", "add", &with_prefix_length(gateway), "dev", BRIDGE])?;
    }
    node.ip(&["link", "set", BRIDGE, "up"])?;
    for (pod, index) in pods.iter().zip(1..) {
        let veth = format!("veth{index}");
        node.ip(&["link", "add", &veth, "type", "veth", "peer", "name", POD_DEVICE, "netns", pod.name()])?;
        node.ip(&["link", "set", &veth, "master", BRIDGE])?;
        node.ip(&["link", "set", &veth, "up"])?;
        configure_pod(pod, number, index)?;
    }
    cloud::forward(node, true)
}

/// Gives the device of pod `index` of node `number` its addresses and the default routes.
pub(super) fn configure_pod(pod: &Namespace, number: u8, index: u8) -> Result<()> {
    pod.ip(&["link", "set", POD_DEVICE, "up"])?;
    let gateways = Location::Node(number).addresses();
    for (address, gateway) in Location::Pod(number, index).addresses().into_iter().zip(gateways) {
        pod.ip(&["address", "add", &with_prefix_length(address), "dev", POD_DEVICE])?;
        pod.ip(&["route", "add", "default", "via", &gateway.to_string(), "dev", POD_DEVICE])?;
    }
    Ok(())
}
