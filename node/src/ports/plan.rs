//! From the ports that there are to the ports that the configuration file wants.

use std::collections::BTreeMap;

use crate::api::types::Origin;
use crate::config::PortConfig;

/// One thing to do, in the order given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Remove the port and its device.
    Remove(String),
    /// The port of the API is now one of the file's, unchanged.
    Adopt(String),
    /// Only who may speak on it changes; its queues stay.
    Rebind(PortConfig),
    /// The same device with other properties: it is opened anew and keeps its number and its counters.
    Reopen(PortConfig),
    /// Add the port.
    Add(PortConfig),
}

/// What to do so that the ports of the file are `wanted`. Ports of the API stay, but for those whose name
/// the file now uses.
#[must_use]
pub fn plan<'a>(
    present: impl IntoIterator<Item = (Origin, &'a PortConfig)>,
    wanted: &[PortConfig],
) -> Vec<Change> {
    let present: BTreeMap<&str, (Origin, &PortConfig)> = present
        .into_iter()
        .filter(|(origin, _)| !matches!(origin, Origin::Host | Origin::Uplink))
        .map(|(origin, port)| (port.name.as_str(), (origin, port)))
        .collect();
    let mut removals = Vec::new();
    let mut changes = Vec::new();
    let mut additions = Vec::new();
    for (name, (origin, _)) in &present {
        if *origin == Origin::Config && !wanted.iter().any(|port| port.name == *name) {
            removals.push(Change::Remove((*name).to_owned()));
        }
    }
    for port in wanted {
        match present.get(port.name.as_str()) {
            None => additions.push(Change::Add(port.clone())),
            Some((origin, present)) if *present == port => {
                if *origin == Origin::Api {
                    changes.push(Change::Adopt(port.name.clone()));
                }
            }
            Some((Origin::Config, present)) if is_same_place(present, port) => {
                let rebound = PortConfig { anti_spoof: port.anti_spoof, ..(*present).clone() };
                let change = if rebound == *port { Change::Rebind } else { Change::Reopen };
                changes.push(change(port.clone()));
            }
            Some(_) => {
                removals.push(Change::Remove(port.name.clone()));
                additions.push(Change::Add(port.clone()));
            }
        }
    }
    removals.append(&mut changes);
    removals.append(&mut additions);
    removals
}

/// True if both mean the same device of the kernel, whatever its properties.
fn is_same_place(a: &PortConfig, b: &PortConfig) -> bool {
    let place = |port: &PortConfig| {
        let files = (port.replay.clone(), port.record.clone(), port.pace, port.socket.clone());
        (port.port_type, port.netns.clone(), port.device_name().to_owned(), files)
    };
    place(a) == place(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(name: &str) -> PortConfig {
        PortConfig {
            name: name.into(),
            netns: Some(format!("/run/netns/{name}").into()),
            ..PortConfig::default()
        }
    }

    fn addressed(name: &str, address: &str) -> PortConfig {
        PortConfig { addresses: vec![address.parse().unwrap()], ..port(name) }
    }

    #[test]
    fn nothing_is_done_to_what_is_as_it_should_be() {
        let (a, host) = (port("a"), port("cni0"));
        assert_eq!(plan([(Origin::Config, &a), (Origin::Host, &host)], std::slice::from_ref(&a)), []);
        assert_eq!(plan([(Origin::Api, &a), (Origin::Host, &host)], &[]), [], "the API's ports stay");
    }

    #[test]
    fn what_left_the_file_goes_before_what_is_new_comes() {
        let (a, b) = (port("a"), port("b"));
        assert_eq!(
            plan([(Origin::Config, &a)], std::slice::from_ref(&b)),
            [Change::Remove("a".into()), Change::Add(b)]
        );
    }

    #[test]
    fn a_port_is_disturbed_no_more_than_its_change_needs() {
        let a = addressed("a", "10.0.0.2/24");
        let free = PortConfig { anti_spoof: Some(false), ..a.clone() };
        let moved = addressed("a", "10.0.0.3/24");
        let elsewhere = PortConfig { device: Some("eth1".into()), ..a.clone() };
        let to = |wanted: &PortConfig| plan([(Origin::Config, &a)], std::slice::from_ref(wanted));
        assert_eq!(to(&free), [Change::Rebind(free.clone())]);
        assert_eq!(to(&moved), [Change::Reopen(moved.clone())]);
        assert_eq!(to(&elsewhere), [Change::Remove("a".into()), Change::Add(elsewhere.clone())]);
    }

    #[test]
    fn the_file_takes_over_a_port_of_the_api_that_has_its_name() {
        let a = port("a");
        let other = addressed("a", "10.0.0.2/24");
        assert_eq!(plan([(Origin::Api, &a)], std::slice::from_ref(&a)), [Change::Adopt("a".into())]);
        assert_eq!(
            plan([(Origin::Api, &a)], std::slice::from_ref(&other)),
            [Change::Remove("a".into()), Change::Add(other)]
        );
    }
}
