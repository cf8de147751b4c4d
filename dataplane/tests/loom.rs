//! The handoff's wake-up under every interleaving: `RUSTFLAGS="--cfg loom" cargo test -p dataplane --test loom --release`.
#![cfg(loom)]

use dataplane::sleep::SleepFlag;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// The rings and the eventfd, as far as the protocol sees them.
///
/// A ring is the number of frames ever put into it, with the orderings of a ring (what is put in is released,
/// who looks acquires) and nothing stronger: the fences of the flag alone have to do.
struct Model {
    flag: SleepFlag,
    rings: Vec<AtomicUsize>,
    wakes: Mutex<u32>,
    woken: Condvar,
}

impl Model {
    fn new(senders: usize) -> Arc<Self> {
        Arc::new(Self {
            flag: SleepFlag::new(),
            rings: (0..senders).map(|_| AtomicUsize::new(0)).collect(),
            wakes: Mutex::new(0),
            woken: Condvar::new(),
        })
    }

    /// Each ring has one sender.
    fn send(&self, ring: usize) {
        let before = self.rings[ring].load(Ordering::Relaxed);
        self.rings[ring].store(before + 1, Ordering::Release);
        if self.flag.must_wake() {
            *self.wakes.lock().unwrap() += 1;
            self.woken.notify_one();
        }
    }

    fn sent(&self) -> usize {
        self.rings.iter().map(|ring| ring.load(Ordering::Acquire)).sum()
    }

    /// The worker's loop until it has seen `count` frames. A lost wake-up is a deadlock, which loom reports.
    fn receive(&self, count: usize) {
        loop {
            let seen = self.sent();
            if seen >= count {
                return;
            }
            if self.flag.may_sleep(|| self.sent() > seen) {
                let mut wakes = self.wakes.lock().unwrap();
                while *wakes == 0 {
                    wakes = self.woken.wait(wakes).unwrap();
                }
                *wakes = 0;
                drop(wakes);
                self.flag.woke();
            }
        }
    }
}

fn loom_check(senders: usize, frames_each: usize) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(move || {
        let model = Model::new(senders);
        let handles: Vec<_> = (0..senders)
            .map(|ring| {
                let model = Arc::clone(&model);
                thread::spawn(move || (0..frames_each).for_each(|_| model.send(ring)))
            })
            .collect();
        model.receive(senders * frames_each);
        for handle in handles {
            handle.join().unwrap();
        }
    });
}

#[test]
fn loom_a_worker_that_falls_asleep_never_misses_a_frame() {
    loom_check(1, 1);
}

#[test]
fn loom_a_worker_that_falls_asleep_again_never_misses_the_next_frame() {
    loom_check(1, 2);
}

#[test]
fn loom_two_senders_at_once_wake_the_worker_for_both_frames() {
    loom_check(2, 1);
}
