//! The few requests to rtnetlink that a TAP needs, in the namespace of the thread that connected.

use std::io;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, Nla,
};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, Stats64,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::tc::{TcAttribute, TcHandle, TcMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use packet::MacAddress;

/// The kernel's own limit for one message is 32 KiB (`NLMSG_GOODSIZE` bounds what it builds).
const REPLY_BYTES: usize = 64 * 1024;

/// `IFLA_TUN_TYPE`, `_MULTI_QUEUE` and `_NUM_QUEUES` of `linux/if_link.h`, which the crate leaves unparsed.
const IFLA_TUN_TYPE: u16 = 3;
const IFLA_TUN_MULTI_QUEUE: u16 = 7;
const IFLA_TUN_NUM_QUEUES: u16 = 8;

/// What a device is, as far as a TAP's owner wants to know.
#[derive(Debug, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) up: bool,
    pub(crate) running: bool,
    pub(crate) carrier: bool,
    pub(crate) mac: Option<MacAddress>,
    pub(crate) mtu_bytes: u32,
    pub(crate) queue_frames: u32,
    /// A TAP (not a TUN) that takes several queues.
    pub(crate) multi_queue_tap: bool,
    /// Queues that are open, here or in another process.
    pub(crate) queues_open: u32,
    pub(crate) stats: Stats64,
}

/// What to change of a device; `None` leaves it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LinkChange {
    pub(super) mac: Option<MacAddress>,
    pub(super) mtu_bytes: Option<u32>,
    pub(super) queue_frames: Option<u32>,
    /// As if a cable was put in or pulled; TAPs know it since Linux 5.0.
    pub(super) carrier: Option<bool>,
    pub(super) up: bool,
}

/// A socket to the kernel's rtnetlink.
pub(crate) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    pub(crate) fn connect() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: Vec::with_capacity(REPLY_BYTES) })
    }

    /// The device with this name, if there is one.
    pub(crate) fn link(&mut self, device: &str) -> io::Result<Option<Link>> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(device.to_owned()));
        match self.request(RouteNetlinkMessage::GetLink(message), 0) {
            Ok(Some(RouteNetlinkMessage::NewLink(message))) => Ok(Some(read_link(&message))),
            Ok(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "no link in the kernel's answer")),
            Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn change_link(&mut self, index: u32, change: &LinkChange) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        if change.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        let attributes = &mut message.attributes;
        attributes.extend(change.mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
        attributes.extend(change.mtu_bytes.map(LinkAttribute::Mtu));
        attributes.extend(change.queue_frames.map(LinkAttribute::TxQueueLen));
        attributes.extend(change.carrier.map(|carrier| LinkAttribute::Carrier(carrier.into())));
        self.request(RouteNetlinkMessage::SetLink(message), 0).map(drop)
    }

    pub(super) fn delete_link(&mut self, index: u32) -> io::Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        self.request(RouteNetlinkMessage::DelLink(message), 0).map(drop)
    }

    /// Replaces the queueing discipline before the device by none (`noqueue`).
    pub(super) fn put_noqueue(&mut self, index: u32) -> io::Result<()> {
        let mut message = TcMessage::default();
        message.header.index = i32::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
        message.header.parent = TcHandle::ROOT;
        message.attributes.push(TcAttribute::Kind("noqueue".to_owned()));
        let flags = NLM_F_CREATE | NLM_F_REPLACE;
        self.request(RouteNetlinkMessage::NewQueueDiscipline(message), flags).map(drop)
    }

    /// Gives the device an address, or puts it in the place of the one that is there. IPv6 addresses are usable
    /// at once (`IFA_F_NODAD`), as those that the CNI bridge plugin configures.
    pub(super) fn put_address(&mut self, index: u32, address: IpNet) -> io::Result<()> {
        self.new_address(index, address, NLM_F_CREATE | NLM_F_REPLACE)
    }

    /// Gives the device an address that it has not; `Ok(false)` if it has.
    pub(super) fn add_address(&mut self, index: u32, address: IpNet) -> io::Result<bool> {
        is_new(self.new_address(index, address, NLM_F_CREATE | NLM_F_EXCL))
    }

    fn new_address(&mut self, index: u32, address: IpNet, flags: u16) -> io::Result<()> {
        let mut message = AddressMessage::default();
        message.header.family = family(address.addr());
        message.header.prefix_len = address.prefix_len();
        message.header.index = index;
        message.attributes =
            vec![AddressAttribute::Local(address.addr()), AddressAttribute::Address(address.addr())];
        match address {
            IpNet::V4(net) if net.prefix_len() < 31 => {
                message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
            }
            IpNet::V4(_) => {}
            IpNet::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
        }
        self.request(RouteNetlinkMessage::NewAddress(message), flags).map(drop)
    }

    /// Adds a default route by `gateway`; `on_link` if no address of the device covers it. `Ok(false)` if
    /// there is a default route already.
    pub(super) fn add_default_route(
        &mut self,
        index: u32,
        gateway: IpAddr,
        on_link: bool,
    ) -> io::Result<bool> {
        let mut message = RouteMessage::default();
        message.header.address_family = family(gateway);
        message.header.table = RouteHeader::RT_TABLE_MAIN;
        message.header.protocol = RouteProtocol::Boot;
        message.header.scope = RouteScope::Universe;
        message.header.kind = RouteType::Unicast;
        if on_link {
            message.header.flags = RouteFlags::Onlink;
        }
        message.attributes =
            vec![RouteAttribute::Oif(index), RouteAttribute::Gateway(RouteAddress::from(gateway))];
        is_new(self.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL).map(drop))
    }

    /// Sends one request and waits for its answer: an acknowledgement, or one message and then that.
    fn request(
        &mut self,
        message: RouteNetlinkMessage,
        flags: u16,
    ) -> io::Result<Option<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0)?;
        let mut answer = None;
        loop {
            self.buffer.clear();
            self.socket.recv(&mut self.buffer, 0)?;
            let mut rest = &self.buffer[..];
            while !rest.is_empty() {
                let reply = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)
                    .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?;
                // Each message is padded to four bytes (NLMSG_ALIGN).
                let length = (reply.header.length as usize).next_multiple_of(4);
                rest = rest.get(length.max(4)..).unwrap_or(&[]);
                if reply.header.sequence_number != self.sequence {
                    continue;
                }
                match reply.payload {
                    NetlinkPayload::Error(error) if error.code.is_some() => return Err(error.to_io()),
                    NetlinkPayload::Error(_) => return Ok(answer),
                    NetlinkPayload::InnerMessage(message) => answer = Some(message),
                    _ => {}
                }
            }
        }
    }
}

/// False if there was one already.
fn is_new(added: io::Result<()>) -> io::Result<bool> {
    match added {
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EEXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

fn read_link(message: &LinkMessage) -> Link {
    let mut link = Link {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        running: message.header.flags.contains(LinkFlags::Running),
        ..Link::default()
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Address(bytes) => link.mac = MacAddress::read(bytes, 0),
            LinkAttribute::Carrier(carrier) => link.carrier = *carrier != 0,
            LinkAttribute::Mtu(mtu_bytes) => link.mtu_bytes = *mtu_bytes,
            LinkAttribute::TxQueueLen(frames) => link.queue_frames = *frames,
            LinkAttribute::Stats64(stats) => link.stats = *stats,
            LinkAttribute::LinkInfo(infos) => read_tun_info(infos, &mut link),
            _ => {}
        }
    }
    link
}

fn read_tun_info(infos: &[LinkInfo], link: &mut Link) {
    if !infos.contains(&LinkInfo::Kind(InfoKind::Tun)) {
        return;
    }
    let (mut tap, mut multi_queue) = (false, false);
    for info in infos {
        let LinkInfo::Data(InfoData::Tun(attributes)) = info else { continue };
        for attribute in attributes {
            let mut value = vec![0; attribute.value_len()];
            attribute.emit_value(&mut value);
            match (attribute.kind(), &value[..]) {
                (IFLA_TUN_TYPE, [kind]) => tap = libc::c_int::from(*kind) == libc::IFF_TAP,
                (IFLA_TUN_MULTI_QUEUE, [flag]) => multi_queue = *flag != 0,
                (IFLA_TUN_NUM_QUEUES, &[a, b, c, d]) => {
                    link.queues_open = u32::from_ne_bytes([a, b, c, d]);
                }
                _ => {}
            }
        }
    }
    link.multi_queue_tap = tap && multi_queue;
}
