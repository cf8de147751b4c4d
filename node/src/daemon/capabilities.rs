//! Which rights the daemon needs, asked for before anything is made.

use crate::config::{Config, PortType};

/// Those that matter, with their numbers in `/proc/self/status` (linux/capability.h).
const NET_ADMIN: (&str, u32) = ("CAP_NET_ADMIN", 12);
const NET_RAW: (&str, u32) = ("CAP_NET_RAW", 13);
const SYS_ADMIN: (&str, u32) = ("CAP_SYS_ADMIN", 21);

/// Whether the process may do what `config` asks for.
///
/// # Errors
/// One line that names the first missing capability.
pub(super) fn check(config: &Config) -> Result<(), String> {
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return Ok(()) };
    match effective(&status) {
        Some(held) => check_against(config, held),
        None => Ok(()),
    }
}

fn check_against(config: &Config, held: u64) -> Result<(), String> {
    let has_taps = config.host.enabled || config.has_port_type(PortType::Tap);
    let has_packet_sockets = config.uplink.is_some() || config.has_port_type(PortType::Packet);
    let enters_namespaces = config.ports.iter().any(|port| port.netns.is_some());
    let needs = [
        (has_taps, NET_ADMIN, "to make and configure TAP devices"),
        (
            config.uplink.is_some(),
            NET_ADMIN,
            "to keep the pods' packets on the uplink from the kernel's stack",
        ),
        (has_packet_sockets, NET_RAW, "to open packet sockets on the devices of ports"),
        (enters_namespaces, SYS_ADMIN, "to enter the network namespaces of ports"),
    ];
    for (is_needed, (name, number), purpose) in needs {
        if is_needed && held & (1 << number) == 0 {
            return Err(format!(
                "{name} is missing: it is needed {purpose}; run flyover as root, or grant it"
            ));
        }
    }
    Ok(())
}

/// The effective set in the text of `/proc/self/status`.
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        crate::config::parse(text, None, &crate::config::Machine::default()).unwrap().config
    }

    #[test]
    fn the_capability_that_is_missing_is_named_with_its_purpose() {
        let pod = config("[[port]]\nname = \"a\"\nnetns = \"/run/netns/a\"\n");
        let error = check_against(&pod, 0).unwrap_err();
        assert!(error.starts_with("CAP_NET_ADMIN is missing: it is needed to make"), "{error}");
        let error = check_against(&pod, 1 << 12).unwrap_err();
        assert!(error.starts_with("CAP_SYS_ADMIN is missing: it is needed to enter"), "{error}");
        assert_eq!(check_against(&pod, 1 << 12 | 1 << 21), Ok(()));
        let packet = "[host]\nenabled = false\n[[port]]\nname = \"a\"\ntype = \"packet\"\ndevice = \"b\"\n";
        let error = check_against(&config(packet), 0).unwrap_err();
        assert!(error.starts_with("CAP_NET_RAW is missing: it is needed to open packet"), "{error}");
        assert_eq!(check_against(&config(""), 1 << 12), Ok(()), "no namespace to enter");
        assert_eq!(check_against(&config("[host]\nenabled = false\n"), 0), Ok(()), "no device to make");
    }

    #[test]
    fn the_kernel_s_text_is_understood() {
        assert_eq!(effective("Name:\tx\nCapInh:\t0000\nCapEff:\t000001ffffffffff\n"), Some(0x1ff_ffff_ffff));
        assert_eq!(effective("Name:\tx\n"), None);
        let own = std::fs::read_to_string("/proc/self/status").unwrap();
        assert!(effective(&own).is_some());
    }
}
