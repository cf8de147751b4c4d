//! The forwarding database as `bridge fdb show` prints it.

use crate::output::{Hue, Output, paint};
use node::api::types::FdbEntry;

/// One line an entry: `02:00:00:00:00:11 dev pod1 master cni0 permanent`.
pub(crate) fn fdb(entries: &[FdbEntry], output: Output) -> String {
    entries.iter().map(|entry| line(entry, output) + "\n").collect()
}

fn line(entry: &FdbEntry, output: Output) -> String {
    let mac = paint(output.color, Hue::Address, &entry.mac.to_string());
    let mut words = vec![mac, "dev".to_owned(), paint(output.color, Hue::Name, &entry.ifname)];
    if let (true, Some(idle_ms)) = (output.statistics, entry.idle_ms) {
        // The kernel tells when an entry was last used and last updated; here every use is an update.
        let seconds = idle_ms / 1000;
        words.push(format!("used {seconds}/{seconds}"));
    }
    words.extend(entry.flags.iter().cloned());
    words.push(format!("master {}", entry.master));
    if !entry.state.is_empty() {
        words.push(entry.state.clone());
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<FdbEntry> {
        serde_json::from_value(serde_json::json!([
            {"mac": "02:00:00:00:00:01", "ifname": "cni0", "flags": [], "master": "cni0", "state": "permanent"},
            {"mac": "02:00:00:00:00:11", "ifname": "pod1", "flags": [], "master": "cni0", "state": "",
             "idle_ms": 12_345},
            {"mac": "02:00:00:00:00:22", "ifname": "pod2", "flags": [], "master": "cni0", "state": "static"}
        ]))
        .unwrap()
    }

    #[test]
    fn lines_are_those_of_bridge_fdb_show() {
        let output = Output { json: false, pretty: false, statistics: false, color: false };
        insta::assert_snapshot!(fdb(&entries(), output), @"
        02:00:00:00:00:01 dev cni0 master cni0 permanent
        02:00:00:00:00:11 dev pod1 master cni0
        02:00:00:00:00:22 dev pod2 master cni0 static
        ");
    }

    #[test]
    fn statistics_tell_when_an_entry_was_used() {
        let output = Output { json: false, pretty: false, statistics: true, color: false };
        assert!(fdb(&entries(), output).contains("dev pod1 used 12/12 master cni0\n"));
    }
}
