//! What leaves the router is sound: padding, checksums that were left to complete.

use packet::{Offload, Offloads};

use crate::frames::{FAMILIES, checked_payload, link};
use crate::rig::Plan;
use crate::routed::{GATEWAY, NEXT_HOP, NODE, Routed, UPLINK, outbound, routed};

#[test]
fn padding_is_left_behind_where_it_came() {
    for family in FAMILIES {
        let mut routed_rig = Routed::new();
        let packet = outbound(family, b"x");
        let mut frame = packet.clone();
        // More of it than the next link would carry.
        frame.extend([0xaa; 1600]);
        routed_rig.rig.send(0, &frame);
        routed_rig.rig.run();
        assert_eq!(routed_rig.rig.frames(UPLINK), [routed(&packet, NODE, NEXT_HOP)]);
        routed_rig.rig.assert_balanced();
    }
}

#[test]
fn padding_is_not_summed_where_a_checksum_is_left_to_complete() {
    for family in FAMILIES {
        let mut routed_rig = Routed::with(1, Plan::with(Offloads::NONE));
        let plain = outbound(family, b"datagram");
        let flow = packet::FiveTuple::read(&plain, &packet::parse(&plain).unwrap()).unwrap();
        let (mut frame, offload) =
            packet::build::super_frame(link(0, GATEWAY), &flow, b"datagram", 1000).unwrap();
        frame.extend([0xaa; 7]);
        routed_rig.rig.send_unfinished(0, &frame, Offload { segmentation: None, ..offload });
        routed_rig.rig.run();
        let sent = routed_rig.rig.frames(UPLINK);
        assert_eq!(checked_payload(&sent[0]), b"datagram");
    }
}
