//! What the kernel's own stack says on a device that a port is opened on.
//!
//! It hears what the port hears. Frames for other MACs it leaves alone, but it answers an ARP request for any
//! address of its namespace, on whatever device that address is (`arp_ignore` 0, the default): whoever is
//! behind the device would then have two answers for the gateway.

use std::fs;

/// The modes of `arp_ignore` in which an address of another device is not answered for: 1, 2 (RFC 1122 §3.3.4)
/// and 8.
const QUIET: [u32; 3] = [1, 2, 8];

/// A sentence if the kernel would answer ARP beside us; looked at in the calling thread's namespace.
pub(super) fn answers_beside_us(device: &str) -> Option<String> {
    let setting = |of: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{of}/arp_ignore")).ok()?;
        text.trim().parse::<u32>().ok()
    };
    // The larger of the two counts (`IN_DEV_ARP_IGNORE`).
    let mode = setting("all")?.max(setting(device)?);
    let routes = fs::read_to_string("/proc/thread-self/net/fib_trie").ok()?;
    (!QUIET.contains(&mode) && has_local_address(&routes)).then(|| {
        format!(
            "{device}: the kernel answers ARP requests there for its own addresses, beside flyover; to keep it \
             from that: sysctl net.ipv4.conf.{device}.arp_ignore=8"
        )
    })
}

/// True if the namespace's IPv4 routes name a local address other than the loopback's.
fn has_local_address(fib_trie: &str) -> bool {
    let mut address = "";
    fib_trie.lines().any(|line| {
        let line = line.trim_start();
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf;
        }
        line == "/32 host LOCAL" && !address.starts_with("127.")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: &str = "Local:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                            \u{20}    |-- 127.0.0.1\n           /32 host LOCAL\n";

    #[test]
    fn the_loopback_alone_answers_nobody() {
        assert!(!has_local_address(""));
        assert!(!has_local_address(LOOPBACK));
        assert!(has_local_address(&format!("{LOOPBACK}     |-- 10.244.1.1\n           /32 host LOCAL\n")));
        assert!(!has_local_address(&format!(
            "{LOOPBACK}     |-- 10.244.1.255\n           /32 link BROADCAST\n"
        )));
    }
}
