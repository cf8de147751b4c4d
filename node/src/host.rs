//! The host's own port: a TAP in the daemon's namespace with the gateway addresses, by which the host and
//! its pods reach each other and the kernel routes what is not for the bridge.

use std::net::IpAddr;
use std::path::Path;

use crate::config::{Config, PortConfig};
use crate::identity;

/// The host port as a port, or `None` if the configuration has none.
#[must_use]
pub fn host_port(config: &Config) -> Option<PortConfig> {
    let gateways = config.gateways();
    config.host.enabled.then(|| PortConfig {
        name: config.host.name.clone(),
        device: Some(config.host.name.clone()),
        mac: Some(identity::gateway_mac(&gateways)),
        addresses: gateways,
        // The host speaks for everybody whose packets it routes.
        anti_spoof: Some(false),
        ..PortConfig::default()
    })
}

/// What to do about a device that is in the host port's way.
#[must_use]
pub fn in_the_way(name: &str, why: &str) -> String {
    format!(
        "host port {name}: {why}; if it is a kernel bridge, such as that of the CNI bridge plugin, remove it once \
         its pods are gone (ip link delete {name}), or give the host port another name (host.name)"
    )
}

/// The kernel settings that the host port needs, as paths under `/proc/sys` with their values: those that
/// the CNI bridge plugin makes for a gateway.
#[must_use]
pub fn kernel_settings(port: &PortConfig) -> Vec<(String, &'static str)> {
    let mut settings = Vec::new();
    if port.hosts().any(|address| matches!(address, IpAddr::V4(_))) {
        settings.push(("net/ipv4/ip_forward".to_owned(), "1"));
        // Answers to service traffic from other nodes are given to the kernel by this device, which is not the one that
        // the way back leads to. Who may say what has been checked by flyover.
        settings.push((format!("net/ipv4/conf/{}/rp_filter", port.name), "2"));
        // Nobody goes past the gateway: see the drop reason `host_redirect`.
        settings.push((format!("net/ipv4/conf/{}/send_redirects", port.name), "0"));
    }
    if port.hosts().any(|address| matches!(address, IpAddr::V6(_))) {
        settings.push(("net/ipv6/conf/all/forwarding".to_owned(), "1"));
    }
    // Pods do not configure the host.
    settings.push((format!("net/ipv6/conf/{}/accept_ra", port.name), "0"));
    settings
}

/// Makes the settings under `root` (`/proc/sys`) that are not so already, and returns a sentence for each
/// that could not be made. What a kernel without IPv6 does not have is passed over.
#[must_use]
pub fn apply_settings(root: &Path, settings: &[(String, &str)]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (name, value) in settings {
        let path = root.join(name);
        match std::fs::read_to_string(&path) {
            Ok(present) if present.trim() == *value => continue,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && name.starts_with("net/ipv6/") => {
                continue;
            }
            _ => {}
        }
        if let Err(error) = std::fs::write(&path, value) {
            complaints.push(format!("cannot set {} to {value}: {error}", path.display()));
        }
    }
    complaints
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        crate::config::parse(text, None, &crate::config::Machine::default()).unwrap().config
    }

    #[test]
    fn the_host_port_carries_the_gateway_addresses_and_a_mac_that_never_changes() {
        let text = "[node]\ncluster_cidrs = [\"10.0.0.0/8\", \"fd00::/16\"]\npod_cidrs = [\"10.1.0.0/16\", \"fd00::/64\"]\n";
        let port = host_port(&config(text)).unwrap();
        assert_eq!((port.name.as_str(), port.device_name()), ("cni0", "cni0"));
        assert_eq!(port.addresses, ["10.1.0.1/16".parse().unwrap(), "fd00::1/64".parse().unwrap()]);
        assert_eq!(port.mac.unwrap().to_string(), "0a:58:0a:01:00:01");
        assert!(!port.is_bound());
        let settings = kernel_settings(&port);
        assert_eq!(settings[0], ("net/ipv4/ip_forward".to_owned(), "1"));
        assert_eq!(settings[1], ("net/ipv4/conf/cni0/rp_filter".to_owned(), "2"));
        assert_eq!(settings[2], ("net/ipv4/conf/cni0/send_redirects".to_owned(), "0"));
        assert_eq!(settings[3], ("net/ipv6/conf/all/forwarding".to_owned(), "1"));
        assert_eq!(settings[4], ("net/ipv6/conf/cni0/accept_ra".to_owned(), "0"));
    }

    #[test]
    fn a_bare_switch_has_no_host_port() {
        assert_eq!(host_port(&config("[host]\nenabled = false\n")), None);
    }

    #[test]
    fn settings_are_made_once_and_failures_named() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("net/ipv4/conf/cni0")).unwrap();
        let forward = root.path().join("net/ipv4/ip_forward");
        std::fs::write(&forward, "0\n").unwrap();
        let settings = kernel_settings(&host_port(&Config::default()).unwrap());
        assert_eq!(apply_settings(root.path(), &settings), Vec::<String>::new());
        assert_eq!(std::fs::read_to_string(&forward).unwrap(), "1");
        std::fs::remove_dir_all(root.path().join("net")).unwrap();
        let complaints = apply_settings(root.path(), &settings);
        assert_eq!(complaints.len(), 3);
        assert!(complaints[0].contains("net/ipv4/ip_forward to 1"), "{}", complaints[0]);
    }
}
