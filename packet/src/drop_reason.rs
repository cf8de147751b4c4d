//! Why a frame was dropped: one closed list, each with a name, a stage and a line of help.

/// Where in the pipeline a frame was dropped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Stage {
    /// Between the port and the parser.
    Receive,
    /// Who may say what on a port.
    PortSecurity,
    /// The learning bridge.
    Bridge,
    /// The router: validation, routes, neighbors.
    Route,
    /// Between the verdict and the leaving port.
    Egress,
}

impl Stage {
    /// The name that statistics show.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::PortSecurity => "port_security",
            Self::Bridge => "bridge",
            Self::Route => "route",
            Self::Egress => "egress",
        }
    }
}

macro_rules! drop_reasons {
    ($($variant:ident, $stage:ident, $name:literal, $help:literal;)*) => {
        /// Why a frame was dropped. Every dropped frame has exactly one reason, counted by the worker that
        /// dropped it.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum DropReason {
            $(#[doc = $help] $variant,)*
        }

        impl DropReason {
            /// All reasons, in the order of their stages.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stage that drops for this reason.
            #[must_use]
            pub const fn stage(self) -> Stage {
                match self { $(Self::$variant => Stage::$stage,)* }
            }

            /// The name that statistics show; it never changes.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// One line for the operator.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

drop_reasons! {
    Truncated, Receive, "truncated", "The frame ends inside its Ethernet header.";
    Oversized, Receive, "oversized", "The frame is longer than any that the switch carries (65557 bytes).";
    BadOffload, Receive, "bad_offload", "The sender's offload metadata contradicts the frame's headers.";
    IngressDown, Receive, "ingress_down", "The frame came from a port that was just removed or set down.";
    SpoofedSource, PortSecurity, "spoofed_source", "The source MAC is not the one that the port is bound to.";
    SpoofedAddress, PortSecurity, "spoofed_address", "The source IP address is not one that the port is bound to.";
    SpoofedArp, PortSecurity, "spoofed_arp", "The ARP sender's MAC or IP address is not the port's own.";
    SpoofedNd, PortSecurity, "spoofed_nd", "The neighbor advertisement or solicitation claims a MAC or address that is not the port's own.";
    RouterAdvertisement, PortSecurity, "router_advertisement", "A pod sent a router advertisement or redirect; only the gateway may.";
    DhcpServer, PortSecurity, "dhcp_server", "A pod sent a DHCP or DHCPv6 server reply.";
    Unverifiable, PortSecurity, "unverifiable", "A bound port sent a frame whose headers are malformed or hide what would have to be checked.";
    InvalidSource, Bridge, "invalid_source", "The source MAC is zero or a group address.";
    ProtectedMac, Bridge, "protected_mac", "The source MAC belongs to another port by a static entry, such as the gateway's.";
    ReservedGroup, Bridge, "reserved_group", "The destination is 01-80-C2-00-00-00 to 0F, which no bridge relays.";
    SamePort, Bridge, "same_port", "The destination is behind the port that the frame came from.";
    NoEgress, Bridge, "no_egress", "The frame was to be flooded, but no other port is up.";
    BadIpHeader, Route, "bad_ip_header", "The packet to route has a malformed header: version, lengths or extension headers.";
    BadIpChecksum, Route, "bad_ip_checksum", "The IPv4 header checksum is wrong.";
    BadIpOptions, Route, "bad_ip_options", "The IPv4 options are malformed.";
    SourceRoute, Route, "source_route", "The packet says which way it wants to go: IPv4 source route or IPv6 routing header of type 0.";
    LinkBroadcast, Route, "link_broadcast", "A packet for one host came in a frame for many.";
    MartianSource, Route, "martian_source", "The source address can be no single host's that is to be answered over a router.";
    MartianDestination, Route, "martian_destination", "The destination address is one that no router forwards to.";
    MulticastNotRouted, Route, "multicast_not_routed", "The destination is a multicast group, which is not routed.";
    DirectedBroadcast, Route, "directed_broadcast", "The destination is the broadcast address of a network that is connected here.";
    TtlExpired, Route, "ttl_expired", "Time to live or hop limit ended here; the sender was told, as far as limits allow.";
    ReversePath, Route, "reverse_path", "The route back to the source address does not lead to the port that the packet came from.";
    NoRoute, Route, "no_route", "No route leads to the destination.";
    RouteBlackhole, Route, "route_blackhole", "The route to the destination is a blackhole.";
    RouteProhibited, Route, "route_prohibited", "The route to the destination is prohibited.";
    RouteUnreachable, Route, "route_unreachable", "The route to the destination is unreachable, or its next hop is.";
    PacketTooBig, Route, "packet_too_big", "The packet exceeds the MTU of the way on and must not be fragmented; the sender was told.";
    BadNeighborMessage, Route, "bad_neighbor_message", "An ARP packet or neighbor discovery message to the gateway breaks a rule of its RFC.";
    BadEcho, Route, "bad_echo", "An echo request to the gateway has a wrong checksum, is a fragment, or cannot be answered.";
    AnswerLimit, Route, "answer_limit", "An echo request to the gateway came when it had answered enough for the time.";
    NotForGateway, Route, "not_for_gateway", "The frame is addressed to the gateway's MAC, but is nothing that a gateway answers or routes.";
    HostRedirect, Route, "host_redirect", "The host's kernel told a pod to go past the gateway, and so past its own translation of services.";
    NeighborUnresolved, Route, "neighbor_unresolved", "The neighbor that was to receive the packet did not answer.";
    NeighborQueueFull, Route, "neighbor_queue_full", "Too many frames already wait for this neighbor, or for neighbors of this port.";
    EgressDown, Egress, "egress_down", "The leaving port is down, or its device is gone.";
    EgressMtu, Egress, "egress_mtu", "The frame exceeds the leaving port's MTU.";
    Unsegmentable, Egress, "unsegmentable", "The leaving port lacks an offload, and the super-frame could not be cut in software.";
    TxQueueFull, Egress, "tx_queue_full", "The leaving port's queue was full.";
    TxError, Egress, "tx_error", "The leaving port's device refused the frame.";
    HandoffFull, Egress, "handoff_full", "The ring to the worker that owns the leaving port was full.";
    NoBuffer, Egress, "no_buffer", "No buffer was free for a segment or a copy.";
}

impl DropReason {
    /// Number of reasons, for arrays of counters.
    pub const COUNT: usize = Self::ALL.len();

    /// The position in [`ALL`](Self::ALL), for arrays of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_distinct_and_indices_dense() {
        let names: BTreeSet<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        assert_eq!(names.len(), DropReason::COUNT);
        for (position, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), position);
        }
    }

    #[test]
    fn reasons_stand_in_the_order_of_the_stages() {
        assert!(DropReason::ALL.is_sorted_by_key(|reason| reason.stage()));
    }
}
