//! Devices that leave less to one another than this kernel would: as with a kernel that lacks UDP segmentation
//! (before Linux 6.2), or all of it. Bulk between them and a device that takes everything arrives unaltered, cut
//! and summed up by whichever side has to.
#![expect(clippy::unwrap_used, reason = "a test")]

use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::Arc;

use dataplane::counters::PortCounters;
use dataplane::{Dataplane, DataplaneConfig, PortEntry, PortRole, QueueOwners, Snapshot};
use e2e::{Namespace, Test, bulk_transfer, run_root_tests, send_cut_datagrams, send_datagrams};
use packet::{MacAddress, Offloads, PortId};
use port::Queue;
use port::tap::{self, TapConfig};
use switch::{Fdb, FdbLimits};

const MTU_BYTES: u32 = 1500;
const BULK_BYTES: usize = 20_000_000;
/// Full segments that the bulk needs at least.
const SEGMENTS: u64 = BULK_BYTES as u64 / 1460;

/// A pod whose device takes no more than `offloads`.
struct Pod {
    namespace: Namespace,
    index: u16,
    offloads: Offloads,
}

impl Pod {
    fn addresses(&self) -> [IpAddr; 2] {
        [format!("10.9.0.{}", self.index), format!("fd00:9::{:x}", self.index)]
            .map(|text| text.parse().unwrap())
    }

    fn open(&mut self, workers: usize) -> Vec<Queue> {
        let opened = tap::open(&TapConfig {
            netns: Some(self.namespace.path()),
            device: "eth0".to_owned(),
            mac: MacAddress([2, 0, 0, 0, 0, self.index.to_be_bytes()[1]]),
            mtu_bytes: MTU_BYTES,
            queues: workers,
            addresses: [(0, 24), (1, 64)]
                .map(|(family, bits)| format!("{}/{bits}", self.addresses()[family]).parse().unwrap())
                .into(),
            offloads_max: self.offloads,
            ..TapConfig::default()
        })
        .unwrap();
        // A kernel that really lacks UDP segmentation is as good for the rest.
        let without_uso = Offloads { uso: false, ..self.offloads };
        assert!([self.offloads, without_uso].contains(&opened.offloads), "{:?}", opened.offloads);
        self.offloads = opened.offloads;
        opened.queues.into_iter().map(Queue::Device).collect()
    }

    /// Packets that the device got from us, and gave us.
    fn packets(&self) -> (u64, u64) {
        let counters = tap::counters(Some(&self.namespace.path()), "eth0").unwrap().unwrap();
        (counters.rx_packets, counters.tx_packets)
    }
}

fn start(pods: &mut [Pod], workers: usize) -> Dataplane {
    let queues: Vec<_> = pods.iter_mut().map(|pod| pod.open(workers)).collect();
    let limits = FdbLimits { macs_max: 1024, macs_per_port_max: 0, aging_ms: 300_000 };
    let entries = pods.iter().map(|pod| PortEntry {
        id: PortId::new(pod.index).unwrap(),
        name: format!("p{}", pod.index).into(),
        role: PortRole::Bridge,
        up: true,
        mtu_bytes: MTU_BYTES,
        offloads: pod.offloads,
        binding: None,
        counters: Arc::new(PortCounters::new(workers)),
        queues: QueueOwners::All,
    });
    let snapshot = Snapshot::new(Arc::new(Fdb::new(limits, 7)), entries, Vec::new());
    let config = DataplaneConfig { workers, ..DataplaneConfig::default() };
    let dataplane = Dataplane::start(&config, snapshot, || {}).unwrap();
    for (pod, queues) in pods.iter().zip(queues) {
        dataplane.attach(PortId::new(pod.index).unwrap(), queues, 0).unwrap();
    }
    dataplane
}

/// Packets that left `from` and came to `to` while `talk` ran.
fn passed(from: &Pod, to: &Pod, talk: impl FnOnce()) -> [u64; 2] {
    let before = [from.packets().1, to.packets().0];
    talk();
    [from.packets().1 - before[0], to.packets().0 - before[1]]
}

fn bulk_arrives(from: &Pod, to: &Pod) {
    let (near, far) = (&from.namespace, &to.namespace);
    for address in to.addresses() {
        let takes_tcp = |pod: &Pod| if address.is_ipv4() { pod.offloads.tso4 } else { pod.offloads.tso6 };
        let [sent, received] = passed(from, to, || bulk_transfer(near, far, address, BULK_BYTES));
        assert_eq!(sent < SEGMENTS, takes_tcp(from), "{sent} packets of {:?}", from.offloads);
        let is_whole = takes_tcp(from) && takes_tcp(to);
        assert_eq!(received < SEGMENTS, is_whole, "{received} packets to {:?}", to.offloads);

        send_datagrams(near, far, address, &[0, 1, 17, 1400, 1472, 1473, 9000, 60_000]);
        let [sent, received] = passed(from, to, || {
            for size in [2, 700, 1400] {
                send_cut_datagrams(near, far, address, size, 20);
            }
        });
        let datagrams = 20 * (64 + 64 + 46);
        assert_eq!(sent < datagrams, from.offloads.uso, "{sent} packets of {:?}", from.offloads);
        // What was cut by the sender may or may not be joined before a device that takes it.
        if from.offloads.uso || !to.offloads.uso {
            assert_eq!(received < datagrams, to.offloads.uso, "{received} packets to {:?}", to.offloads);
        }
    }
}

fn bulk_passes_between_devices_of_every_offload(workers: usize) {
    let without_uso = Offloads { uso: false, ..Offloads::ALL };
    let checksum = Offloads { checksum: true, ..Offloads::NONE };
    let mut pods: Vec<Pod> = (1..)
        .zip([Offloads::ALL, without_uso, checksum, Offloads::NONE])
        .map(|(index, offloads)| Pod { namespace: Namespace::new(&format!("o{index}")), index, offloads })
        .collect();
    let dataplane = start(&mut pods, workers);
    let [full, others @ ..] = &pods[..] else { unreachable!("four pods were made") };
    for other in others {
        bulk_arrives(full, other);
        bulk_arrives(other, full);
    }
    bulk_arrives(&pods[1], &pods[3]);
    bulk_arrives(&pods[3], &pods[2]);
    for counters in dataplane.counters() {
        let settled = counters.forwarded.get() + counters.consumed.get() + counters.dropped_total();
        assert_eq!(counters.received.get(), settled);
    }
}

fn main() -> ExitCode {
    let claim = "bulk_passes_between_devices_of_every_offload";
    run_root_tests(
        1,
        Test::with_one_and_two_workers(claim, bulk_passes_between_devices_of_every_offload).into(),
    )
}
