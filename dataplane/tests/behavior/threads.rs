//! The workers on threads of their own: commands, sleep, and what happens when one of them fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dataplane::counters::WorkerCounters;
use dataplane::{CommandError, Dataplane, DataplaneConfig, Event, PortEntry, Snapshot, Watchdog};
use packet::{DropReason, Frame, Offload, PortId};
use port::memory::{Link, MemoryEnd};
use port::{EngineKind, Intake, PortFault, PortQueue, PortSetOptions, Queue};
use switch::Fdb;

use crate::frames::{STRANGER, broadcast, mac, udp};
use crate::rig::{Plan, assert_balanced, fdb, port};

/// Longer than anything here takes, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running switch, its ports' other ends, and what it is to do.
struct Running {
    dataplane: Dataplane,
    fdb: Arc<Fdb>,
    entries: Vec<PortEntry>,
    ends: Vec<MemoryEnd>,
    notified: Arc<AtomicU64>,
}

fn config(workers: usize, engine: EngineKind) -> DataplaneConfig {
    let ports = PortSetOptions { engine, buffers: 128, ..PortSetOptions::default() };
    DataplaneConfig { workers, ports, ..DataplaneConfig::default() }
}

fn boxed(queue: impl PortQueue + 'static) -> Queue {
    Queue::Other(Box::new(queue))
}

impl Running {
    fn start(config: &DataplaneConfig, plans: &[Plan]) -> Self {
        let fdb = fdb();
        let workers = config.workers;
        let entries: Vec<_> =
            plans.iter().enumerate().map(|(index, plan)| plan.entry(index, workers)).collect();
        let notified = Arc::new(AtomicU64::new(0));
        let notify = Arc::clone(&notified);
        let snapshot = Snapshot::new(Arc::clone(&fdb), entries.clone(), Vec::new());
        let notify = move || _ = notify.fetch_add(1, Ordering::Relaxed);
        let dataplane = Dataplane::start(config, snapshot, notify).unwrap();
        let mut ends = Vec::new();
        for (index, plan) in plans.iter().enumerate() {
            let (queues, end) = plan.queues(workers);
            let first = queues[0].0;
            let queues = queues.into_iter().map(|(_, queue)| boxed(queue)).collect();
            dataplane.attach(port(index), queues, first).unwrap();
            ends.push(end);
        }
        for index in 0..plans.len() {
            fdb.learn(mac(index), port(index), 0);
        }
        Self { dataplane, fdb, entries, ends, notified }
    }

    /// `plans` behind two workers on `epoll`.
    fn two_workers(plans: &[Plan]) -> Self {
        Self::start(&config(2, EngineKind::Epoll), plans)
    }

    fn send(&self, port: usize, frame: &[u8]) {
        self.ends[port].send(frame, Offload::NONE).unwrap();
    }

    #[track_caller]
    fn assert_arrives(&self, port: usize, frame: &[u8]) {
        let (got, _) = self.ends[port].receive_within(PATIENCE).expect("the frame arrives");
        assert_eq!(got, frame);
    }

    fn publish(&self) -> u64 {
        let entries = self.entries.clone();
        self.dataplane.publish(Snapshot::new(Arc::clone(&self.fdb), entries, Vec::new()))
    }

    fn sum(&self, count: fn(&WorkerCounters) -> u64) -> u64 {
        self.dataplane.counters().map(count).sum()
    }

    fn event(&self) -> Event {
        let mut event = None;
        wait_until(|| {
            event = self.dataplane.events().next();
            event.is_some()
        });
        event.expect("waited for")
    }
}

#[track_caller]
fn wait_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn frames_pass_with_either_engine_from_every_worker_to_every_worker() {
    for engine in [EngineKind::Epoll, EngineKind::Auto] {
        let plans = [Plan::owned_by(0), Plan::owned_by(1), Plan::default()];
        let running = Running::start(&config(2, engine), &plans);
        for from in 0..3 {
            for to in (0..3).filter(|to| *to != from) {
                running.send(from, &udp(from, to, b"hello"));
                running.assert_arrives(to, &udp(from, to, b"hello"));
            }
        }
        wait_until(|| running.sum(|counters| counters.received.get()) == 6);
        assert_balanced(running.dataplane.counters(), &running.entries);
    }
}

#[test]
fn a_sleeping_worker_is_woken_by_a_frame_for_its_own_port_and_by_one_from_another_worker() {
    let running = Running::two_workers(&[Plan::owned_by(0), Plan::owned_by(1)]);
    for round in 0..50 {
        let slept = running.sum(|counters| counters.sleeps.get());
        running.send(0, &udp(0, 1, &[round]));
        running.assert_arrives(1, &udp(0, 1, &[round]));
        // Both have gone back to sleep.
        wait_until(|| running.sum(|counters| counters.sleeps.get()) >= slept + 2);
    }
}

#[test]
fn an_idle_worker_sleeps_and_goes_round_only_when_poked() {
    let running = Running::two_workers(&[Plan::default()]);
    wait_until(|| running.sum(|counters| counters.sleeps.get()) >= 2);
    let rounds = || running.dataplane.heartbeats().sum::<u64>();
    // From here on nobody wakes them, but a wake that was under way may still arrive.
    let mut before = rounds();
    wait_until(|| {
        std::thread::sleep(Duration::from_millis(50));
        std::mem::replace(&mut before, rounds()) == before
    });
    running.dataplane.poke();
    wait_until(|| rounds() >= before + 2);
}

#[test]
fn whoever_waits_for_a_generation_knows_that_the_older_one_is_no_longer_used() {
    let mut running = Running::two_workers(&vec![Plan::default(); 2]);
    for round in 0..20 {
        running.entries[0].up = round % 2 == 1;
        let generation = running.publish();
        running.dataplane.wait_for(generation).unwrap();
        assert_eq!(running.dataplane.snapshot().generation(), generation);
        running.send(0, &udp(0, 1, &[round]));
        if round % 2 == 1 {
            running.assert_arrives(1, &udp(0, 1, &[round]));
        } else {
            let drops = u64::from(round / 2) + 1;
            wait_until(|| running.sum(WorkerCounters::dropped_total) == drops);
        }
    }
    assert_eq!(running.sum(|counters| counters.dropped[DropReason::IngressDown.index()].get()), 10);
}

#[test]
fn a_port_comes_and_goes_while_others_talk() {
    let running = Running::two_workers(&vec![Plan::default(); 3]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let talk = |from: usize, to: usize| {
            let (running, done) = (&running, &done);
            scope.spawn(move || {
                let mut sent = 0_u64;
                while !done.load(Ordering::Relaxed) {
                    let queue = usize::from(sent.is_multiple_of(2));
                    let frame =
                        if sent.is_multiple_of(16) { broadcast(from, b"") } else { udp(from, to, b"") };
                    sent += u64::from(running.ends[from].send_on(queue, &frame, Offload::NONE).is_ok());
                    running.ends[from].receive_with(|_, _| ());
                }
                sent
            })
        };
        let talkers = [talk(0, 1), talk(1, 2)];
        for _ in 0..50 {
            running.dataplane.detach(port(2)).unwrap();
            let (queues, _) = Plan::default().queues(2);
            let queues = queues.into_iter().map(|(_, queue)| boxed(queue)).collect();
            running.dataplane.attach(port(2), queues, 0).unwrap();
            running.publish();
        }
        done.store(true, Ordering::Relaxed);
        let sent: u64 = talkers.into_iter().map(|talker| talker.join().unwrap()).sum();
        wait_until(|| running.sum(|counters| counters.received.get()) == sent);
    });
    wait_until(|| running.dataplane.counters().all(|counters| counters.received.get() > 0));
    running.dataplane.detach(port(0)).unwrap();
    assert_balanced(running.dataplane.counters(), &running.entries);
}

#[test]
fn dropping_it_under_traffic_stops_the_workers() {
    let running = Running::two_workers(&[Plan::owned_by(0), Plan::owned_by(1)]);
    let Running { dataplane, ends, .. } = running;
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // Once its queue is gone, it is full for ever.
                let _ = ends[0].send(&udp(0, 1, b""), Offload::NONE);
                ends[1].receive_with(|_, _| ());
            }
        });
        assert!(ends[1].receive_within(PATIENCE).is_some() || ends[0].send(b"", Offload::NONE).is_ok());
        let start = Instant::now();
        drop(dataplane);
        assert!(start.elapsed() < Duration::from_secs(2));
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_port_is_not_attached_twice_and_keeps_what_it_has() {
    let running = Running::two_workers(&vec![Plan::default(); 2]);
    let (queues, _) = Plan::owned_by(1).queues(2);
    let queues = queues.into_iter().map(|(_, queue)| boxed(queue)).collect();
    let again = running.dataplane.attach(port(1), queues, 1);
    assert!(matches!(again, Err(CommandError::Attach { worker: 1, .. })), "{again:?}");
    for queue in [0, 1] {
        running.ends[0].send_on(queue, &udp(0, 1, b"still there"), Offload::NONE).unwrap();
        running.assert_arrives(1, &udp(0, 1, b"still there"));
    }
}

#[test]
fn a_port_with_more_queues_than_workers_leaves_nothing_behind() {
    let running = Running::two_workers(&[Plan::default()]);
    let too_many = Plan::default().queues(3).0.into_iter().map(|(_, queue)| boxed(queue)).collect();
    let attached = running.dataplane.attach(port(1), too_many, 0);
    assert!(matches!(attached, Err(CommandError::NoWorker { worker: 2 })), "{attached:?}");
    let enough = Plan::default().queues(2).0.into_iter().map(|(_, queue)| boxed(queue)).collect();
    running.dataplane.attach(port(1), enough, 0).unwrap();
}

#[test]
fn the_switch_speaks_for_itself_past_learning_and_security() {
    let running = Running::two_workers(&[Plan::owned_by(0), Plan::owned_by(1)]);
    let frame = udp(STRANGER, 1, b"from the switch");
    running.dataplane.originate(port(1), vec![frame.clone(); 3], 1).unwrap();
    for _ in 0..3 {
        running.assert_arrives(1, &frame);
    }
    wait_until(|| running.sum(|counters| counters.originated.get()) == 3);
    assert_eq!(running.sum(|counters| counters.received.get()), 0);
    assert_eq!(running.fdb.lookup(mac(STRANGER), 0), None);
    assert_balanced(running.dataplane.counters(), &running.entries);
}

#[test]
fn however_many_frames_the_switch_says_itself_all_are_sent_in_order_or_counted() {
    // Fewer buffers than a burst has frames, then more.
    for buffers in [5, 128] {
        let mut config = config(1, EngineKind::Epoll);
        config.ports.buffers = buffers;
        let running = Running::start(&config, &[Plan::default(), Plan::default()]);
        let mut frames: Vec<_> = (0..200_u8).map(|n| udp(STRANGER, 1, &[n; 20])).collect();
        running.dataplane.originate(port(1), frames.clone(), 0).unwrap();
        for frame in &frames {
            running.assert_arrives(1, frame);
        }
        // The longest fill a burst by their bytes; one beyond them is no frame.
        frames = vec![vec![2; packet::FRAME_BYTES_MAX]; 20];
        frames.insert(10, vec![2; packet::FRAME_BYTES_MAX + 1]);
        running.dataplane.originate(port(0), frames, 0).unwrap();
        wait_until(|| {
            running.sum(|counters| counters.originated.get() + counters.copies_dropped.get()) >= 221
        });
        let totals = running.entries[0].counters.totals();
        // They exceed the port's MTU, except where it is not looked at.
        assert_eq!((totals.tx_packets + totals.tx_dropped, running.sum(|c| c.originated.get())), (21, 220));
        assert_balanced(running.dataplane.counters(), &running.entries);
    }
}

#[test]
fn a_fault_is_told_to_the_control_side_and_mended_by_it() {
    let running = Running::two_workers(&[Plan::owned_by(0), Plan::owned_by(1)]);
    running.ends[1].set_link(Link::Down);
    let fault = Event::PortFault { worker: 1, port: port(1), fault: PortFault::LinkDown };
    assert_eq!(running.event(), fault);
    wait_until(|| running.notified.load(Ordering::Relaxed) == 1);
    running.send(0, &udp(0, 1, b"lost"));
    wait_until(|| running.sum(|counters| counters.dropped[DropReason::EgressDown.index()].get()) == 1);
    running.ends[1].set_link(Link::Up);
    running.dataplane.revive(port(1)).unwrap();
    running.send(0, &udp(0, 1, b"found"));
    running.assert_arrives(1, &udp(0, 1, b"found"));
}

/// A queue that does not do what a queue has to.
struct Broken<F>(F);

impl<F: FnMut() + Send> PortQueue for Broken<F> {
    fn receive(&mut self, _: PortId, _: &mut Intake<'_>) -> Result<(), PortFault> {
        (self.0)();
        Ok(())
    }

    fn transmit(&mut self, _: &mut Frame, _: u16) -> Result<(), DropReason> {
        Err(DropReason::TxError)
    }
}

#[test]
fn a_worker_that_panics_is_reported_and_the_others_go_on() {
    let running = Running::two_workers(&[Plan::owned_by(1), Plan::owned_by(1)]);
    let broken = boxed(Broken(|| std::panic::panic_any("a bug, on purpose")));
    // The worker may die before or after it has answered.
    let _ = running.dataplane.attach(port(5), vec![broken], 0);
    assert_eq!(running.event(), Event::WorkerDied { worker: 0 });
    running.send(0, &udp(0, 1, b"still here"));
    running.assert_arrives(1, &udp(0, 1, b"still here"));
    let refused = running.dataplane.detach(port(5));
    assert!(matches!(refused, Err(CommandError::NoAnswer { worker: 0 })), "{refused:?}");
}

#[test]
fn a_worker_that_hangs_is_found_by_the_watchdog_and_the_others_go_on() {
    let running = Running::two_workers(&[Plan::owned_by(1), Plan::owned_by(1)]);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let hanging = boxed(Broken(move || _ = released.recv_timeout(PATIENCE)));
    running.dataplane.attach(port(5), vec![hanging], 0).unwrap();
    let mut watchdog = Watchdog::new(2);
    let start = Instant::now();
    let mut stalled = Vec::new();
    wait_until(|| {
        stalled = watchdog.observe(start.elapsed(), running.dataplane.heartbeats());
        running.dataplane.poke();
        !stalled.is_empty()
    });
    assert_eq!(stalled, [0]);
    running.send(0, &udp(0, 1, b"still here"));
    running.assert_arrives(1, &udp(0, 1, b"still here"));
    // Gone, the channel blocks nobody any more.
    drop(release);
    wait_until(|| {
        running.dataplane.poke();
        watchdog.observe(start.elapsed(), running.dataplane.heartbeats()).is_empty()
    });
}

#[test]
fn a_hanging_worker_does_not_keep_the_rest_from_ending() {
    let Running { dataplane, .. } = Running::two_workers(&[Plan::owned_by(1)]);
    let (release, released) = std::sync::mpsc::channel::<()>();
    let hanging = boxed(Broken(move || _ = released.recv_timeout(PATIENCE)));
    dataplane.attach(port(5), vec![hanging], 0).unwrap();
    let start = Instant::now();
    drop(dataplane);
    assert!(start.elapsed() < PATIENCE / 2);
    drop(release);
}

#[test]
fn a_cpu_that_does_not_exist_is_refused_by_name() {
    let config = DataplaneConfig { cpus: vec![900], ..config(1, EngineKind::Epoll) };
    let snapshot = Snapshot::new(fdb(), [], Vec::new());
    let error = Dataplane::start(&config, snapshot, || ()).expect_err("no such CPU").to_string();
    assert!(error.starts_with("worker 0 cannot be pinned to CPU 900"), "{error}");
}
