//! `route` and `neigh`, and a route in iproute2's words.

use std::net::IpAddr;

use clap::Subcommand;
use node::api::types::{NewNextHop, NewRoute, RouteType};
use serde_json::{Value, json};

use super::{Device, usage_error};

#[derive(Debug, Subcommand)]
pub(crate) enum RouteAction {
    /// Show the routes of all sources.
    #[command(visible_aliases = ["list", "ls"])]
    Show {
        /// The node's own addresses too, and what is left to its host.
        #[arg(short, long)]
        all: bool,
    },
    /// Show what becomes of packets to an address, from the tables that are in use.
    Get {
        /// The address.
        address: IpAddr,
    },
    /// Add a route; it comes back after a restart of the daemon.
    ///
    /// DST via ADDRESS [dev LINK] [metric N], DST dev LINK, DST nexthop via ADDRESS [dev LINK] [weight N] nexthop …,
    /// or blackhole, prohibit or unreachable DST. LINK is the uplink's device, or the host port's name for the bridge.
    Add {
        /// The route, in iproute2's words.
        #[arg(required = true, value_name = "WORDS")]
        words: Vec<String>,
    },
    /// Delete a route that was added: DST [metric N].
    #[command(visible_alias = "delete")]
    Del {
        /// The route, in iproute2's words; what is not needed to find it is passed over.
        #[arg(required = true, value_name = "WORDS")]
        words: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NeighAction {
    /// Show all neighbors or those on one link.
    #[command(visible_aliases = ["list", "ls"])]
    Show {
        #[command(flatten)]
        device: Device,
    },
    /// Forget what was learned, on all links or on one.
    Flush {
        #[command(flatten)]
        device: Device,
    },
}

/// What tells a route from the others of the API.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RouteKey {
    /// The destinations.
    pub dst: String,
    /// `None`: the best one.
    pub metric: Option<u32>,
}

/// The route that `words` add.
///
/// # Errors
/// A usage error that says what was expected.
pub(crate) fn parse_route(words: &[String]) -> Result<NewRoute, clap::Error> {
    let mut words = Words(words);
    let first = words.next("a destination")?;
    let (kind, dst) = match first {
        "blackhole" => (RouteType::Blackhole, words.next("a destination")?),
        "prohibit" => (RouteType::Prohibit, words.next("a destination")?),
        "unreachable" => (RouteType::Unreachable, words.next("a destination")?),
        "unicast" => (RouteType::Unicast, words.next("a destination")?),
        dst => (RouteType::Unicast, dst),
    };
    let (mut gateway, mut dev, mut metric, mut nexthops) = (None, None, 0, Vec::new());
    while let Some(word) = words.take() {
        match word {
            "via" => gateway = Some(words.gateway()?),
            "dev" => dev = Some(words.next("the name of a link")?.to_owned()),
            "metric" => metric = words.number("a metric")?,
            "nexthop" => nexthops.push(next_hop(&mut words)?),
            other => return Err(unexpected(other)),
        }
    }
    let of_v6 = gateway.or_else(|| nexthops.first().map(|hop: &NewNextHop| hop.gateway));
    let dst = destination(dst, of_v6.is_some_and(|gateway| gateway.is_ipv6()));
    // The destination is the API's to understand.
    let mut route: NewRoute = from_json(json!({ "dst": dst }))?;
    (route.kind, route.gateway, route.dev, route.metric, route.nexthops) =
        (kind, gateway, dev, metric, nexthops);
    Ok(route)
}

/// The route that `words` delete. Its next hops may be said, as they are to `ip route del`, but do not matter.
///
/// # Errors
/// A usage error that says what was expected.
pub(crate) fn parse_route_key(words: &[String]) -> Result<RouteKey, clap::Error> {
    let route = parse_route(words)?;
    let has_metric = words.iter().any(|word| word == "metric");
    Ok(RouteKey { dst: route.dst.to_string(), metric: has_metric.then_some(route.metric) })
}

fn next_hop(words: &mut Words<'_>) -> Result<NewNextHop, clap::Error> {
    let expected = words.next("`via ADDRESS`")?;
    if expected != "via" {
        return Err(unexpected(expected));
    }
    let mut hop = NewNextHop { gateway: words.gateway()?, dev: None, weight: 1 };
    while let Some(word) = words.peek() {
        match word {
            "dev" => {
                words.take();
                hop.dev = Some(words.next("the name of a link")?.to_owned());
            }
            "weight" => {
                words.take();
                hop.weight = words.number("a weight up to 255")?;
            }
            _ => break,
        }
    }
    Ok(hop)
}

/// `default` is of the family of the gateway.
fn destination(word: &str, is_v6: bool) -> &str {
    match word {
        "default" if is_v6 => "::/0",
        "default" => "0.0.0.0/0",
        other => other,
    }
}

fn from_json(value: Value) -> Result<NewRoute, clap::Error> {
    serde_json::from_value(value).map_err(|error| usage_error(&error.to_string()))
}

fn unexpected(word: &str) -> clap::Error {
    usage_error(&format!("`via`, `dev`, `metric` or `nexthop` was expected, not `{word}`"))
}

/// Words, one after the other.
struct Words<'a>(&'a [String]);

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.0.first().map(String::as_str)
    }

    fn take(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    fn next(&mut self, expected: &str) -> Result<&'a str, clap::Error> {
        self.take().ok_or_else(|| usage_error(&format!("{expected} was expected")))
    }

    fn gateway(&mut self) -> Result<IpAddr, clap::Error> {
        let mut word = self.next("the address of a gateway")?;
        if matches!(word, "inet" | "inet6") {
            word = self.next("the address of a gateway")?;
        }
        word.parse().map_err(|_| usage_error(&format!("the address of a gateway was expected, not `{word}`")))
    }

    fn number<T: std::str::FromStr>(&mut self, expected: &str) -> Result<T, clap::Error> {
        let word = self.next(expected)?;
        word.parse().map_err(|_| usage_error(&format!("{expected} was expected, not `{word}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    fn parsed(line: &str) -> Value {
        serde_json::to_value(parse_route(&words(line)).unwrap()).unwrap()
    }

    #[test]
    fn a_route_is_what_iproute2_s_words_say() {
        let cases = [
            ("10.9.0.0/16 via 192.168.0.1", json!({"dst": "10.9.0.0/16", "gateway": "192.168.0.1"})),
            (
                "default via fe80::1 dev eth0 metric 5",
                json!({"dst": "::/0", "gateway": "fe80::1", "dev": "eth0", "metric": 5}),
            ),
            ("default via 192.168.0.1", json!({"dst": "0.0.0.0/0", "gateway": "192.168.0.1"})),
            ("10.9.0.1 dev eth0", json!({"dst": "10.9.0.1/32", "dev": "eth0"})),
            ("blackhole 10.9.0.0/16", json!({"dst": "10.9.0.0/16", "type": "blackhole"})),
            ("prohibit fd00::/8 metric 1", json!({"dst": "fd00::/8", "type": "prohibit", "metric": 1})),
            ("unreachable 10.9.0.0/16", json!({"dst": "10.9.0.0/16", "type": "unreachable"})),
            (
                "10.9.0.0/16 metric 3 nexthop via 192.168.0.1 weight 2 nexthop via 192.168.0.2 dev eth0",
                json!({"dst": "10.9.0.0/16", "metric": 3, "nexthops": [
                    {"gateway": "192.168.0.1", "weight": 2}, {"gateway": "192.168.0.2", "dev": "eth0"}
                ]}),
            ),
        ];
        for (line, expected) in cases {
            assert_eq!(parsed(line), expected, "{line}");
        }
        let key = parse_route_key(&words("10.9.0.0/16 via 192.168.0.1 metric 4")).unwrap();
        assert_eq!(key, RouteKey { dst: "10.9.0.0/16".to_owned(), metric: Some(4) });
        assert_eq!(parse_route_key(&words("10.9.0.0/16")).unwrap().metric, None);
    }

    #[test]
    fn what_is_no_route_is_told_what_was_expected() {
        for (line, expected) in [
            ("blackhole", "a destination was expected"),
            ("10.9.0.0/16 by 10.0.0.1", "`via`, `dev`, `metric` or `nexthop` was expected, not `by`"),
            ("10.9.0.0/16 via", "the address of a gateway was expected"),
            ("10.9.0.0/16 via nowhere", "the address of a gateway was expected, not `nowhere`"),
            ("10.9.0.0/16 dev eth0 metric -1", "a metric was expected, not `-1`"),
            ("10.9.0.0/16 nexthop dev eth0", "not `dev`"),
            ("10.9.0.0/16 nexthop via 10.0.0.1 weight 256", "a weight up to 255 was expected"),
            ("10.9.0.0/33 via 10.0.0.1", "\"10.9.0.0/33\" is not a network or an address"),
        ] {
            let error = parse_route(&words(line)).unwrap_err();
            assert!(error.to_string().contains(expected), "{line}: {error}");
            assert_eq!(error.exit_code(), 2);
        }
    }
}
