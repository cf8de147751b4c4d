//! How the device looks inside its namespace: link, addresses, routes, and the settings that the CNI bridge
//! plugin gives a pod's interface.

use std::fs;
use std::io;
use std::net::IpAddr;

use ipnet::IpNet;

use super::netlink::{Link, LinkChange, Netlink};
use super::{TapConfig, TapError};

/// Brings the device into the configured state and up; returns its index.
pub(super) fn apply(
    netlink: &mut Netlink,
    config: &TapConfig,
    warnings: &mut Vec<String>,
) -> Result<u32, TapError> {
    let device = &config.device;
    let failed = |action: String| move |error| TapError::configure(device, action, error);
    let link = super::find(netlink, device)?
        .ok_or_else(|| TapError::configure(device, "find", io::ErrorKind::NotFound))?;
    let change = LinkChange {
        mac: (link.mac != Some(config.mac)).then_some(config.mac),
        mtu_bytes: (link.mtu_bytes != config.mtu_bytes).then_some(config.mtu_bytes),
        queue_frames: (link.queue_frames != config.queue_frames).then_some(config.queue_frames),
        ..LinkChange::default()
    };
    if change != LinkChange::default() {
        let action = format!(
            "set MAC {}, MTU {} and queue length {} of",
            config.mac, config.mtu_bytes, config.queue_frames
        );
        netlink.change_link(link.index, &change).map_err(failed(action))?;
    }
    set_sysctls(config, warnings);
    for &address in &config.addresses {
        netlink.put_address(link.index, address).map_err(failed(format!("give address {address} to")))?;
    }
    // The TAP's own ring is queue enough, as it is for the veth that this replaces: a discipline before it
    // would cost a lock and a detour for every frame.
    if let Err(error) = netlink.put_noqueue(link.index) {
        warnings.push(format!("{device}: cannot set its queueing discipline to noqueue: {error}"));
    }
    if let Err(error) = set_carrier(netlink, config, &link) {
        warnings.push(format!("{device}: cannot set its carrier: {error}"));
    }
    // Up after the addresses, so that arp_notify announces them.
    let up = LinkChange { up: true, ..LinkChange::default() };
    netlink.change_link(link.index, &up).map_err(failed("set up".to_owned()))?;
    for &gateway in &config.default_routes {
        if !add_default_route(netlink, config, link.index, gateway)? && !link.up {
            warnings.push(format!("{device}: there is a default route already; {gateway} was not added"));
        }
    }
    Ok(link.index)
}

/// Sets the carrier and, if the device is up, puts back what is missing of addresses and default routes; says
/// what that was. Nothing is taken away, and a default route by another gateway stays as it is.
pub(super) fn restore(
    netlink: &mut Netlink,
    config: &TapConfig,
    link: &Link,
) -> Result<Vec<String>, TapError> {
    let mut restored = Vec::new();
    let failed = |action: String| move |error| TapError::configure(&config.device, action, error);
    if set_carrier(netlink, config, link).map_err(failed("set the carrier of".to_owned()))? {
        restored.push(format!("carrier {}", if config.carrier { "on" } else { "off" }));
    }
    if !link.up {
        return Ok(restored);
    }
    for &address in &config.addresses {
        let added = netlink.add_address(link.index, address);
        if added.map_err(failed(format!("give address {address} to")))? {
            restored.push(format!("address {address}"));
        }
    }
    for &gateway in &config.default_routes {
        if add_default_route(netlink, config, link.index, gateway)? {
            restored.push(format!("default route by {gateway}"));
        }
    }
    Ok(restored)
}

/// True if that was a change.
fn set_carrier(netlink: &mut Netlink, config: &TapConfig, link: &Link) -> io::Result<bool> {
    if link.carrier == config.carrier {
        return Ok(false);
    }
    let change = LinkChange { carrier: Some(config.carrier), ..LinkChange::default() };
    netlink.change_link(link.index, &change).map(|()| true)
}

/// False if there is a default route already.
fn add_default_route(
    netlink: &mut Netlink,
    config: &TapConfig,
    index: u32,
    gateway: IpAddr,
) -> Result<bool, TapError> {
    let on_link = !config.addresses.iter().any(|net| net.contains(&gateway));
    let action = || format!("add the default route by {gateway} to");
    netlink
        .add_default_route(index, gateway, on_link)
        .map_err(|error| TapError::configure(&config.device, action(), error))
}

/// The settings under `/proc/sys/net`, which show the namespace of the thread that opens them. None keeps
/// frames from passing, so a failure (a read-only `/proc/sys`, say) is a warning.
fn set_sysctls(config: &TapConfig, warnings: &mut Vec<String>) {
    let device = &config.device;
    let mut set = |path: String, value: &str| match fs::write(&path, value) {
        // No such file: the kernel has no IPv6, or not on this device.
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            warnings.push(format!("{device}: cannot write {value} to {path}: {error}"));
        }
        _ => {}
    };
    // Announce addresses when the device comes up.
    set(format!("/proc/sys/net/ipv4/conf/{device}/arp_notify"), "1");
    let ipv6 = format!("/proc/sys/net/ipv6/conf/{device}");
    set(format!("{ipv6}/ndisc_notify"), "1");
    set(format!("{ipv6}/accept_dad"), "0");
    set(format!("{ipv6}/keep_addr_on_down"), "1");
    let wants_ipv6 = config.addresses.iter().any(|net| matches!(net, IpNet::V6(_)))
        || config.default_routes.iter().any(IpAddr::is_ipv6);
    if wants_ipv6 && fs::read_to_string(format!("{ipv6}/disable_ipv6")).is_ok_and(|text| text.trim() == "1") {
        set(format!("{ipv6}/disable_ipv6"), "0");
    }
}
