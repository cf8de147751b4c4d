//! The handoff's wake-up under every interleaving: `RUSTFLAGS="--cfg loom" cargo test -p dataplane --test loom --release`.
#![cfg(loom)]

use std::collections::VecDeque;

use dataplane::sleep::SleepFlag;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// The ring and the eventfd, as far as the protocol sees them.
struct Model {
    flag: SleepFlag,
    ring: Mutex<VecDeque<u32>>,
    wakes: Mutex<u32>,
    woken: Condvar,
}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            flag: SleepFlag::new(),
            ring: Mutex::new(VecDeque::new()),
            wakes: Mutex::new(0),
            woken: Condvar::new(),
        })
    }

    fn send(&self, value: u32) {
        self.ring.lock().unwrap().push_back(value);
        if self.flag.must_wake() {
            *self.wakes.lock().unwrap() += 1;
            self.woken.notify_one();
        }
    }

    /// The worker's loop until it has `count` values. A lost wake-up is a deadlock, which loom reports.
    fn receive(&self, count: usize) -> Vec<u32> {
        let mut values = Vec::new();
        loop {
            values.extend(self.ring.lock().unwrap().drain(..));
            if values.len() >= count {
                return values;
            }
            if self.flag.may_sleep(|| !self.ring.lock().unwrap().is_empty()) {
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

#[test]
fn loom_a_worker_that_falls_asleep_never_misses_a_frame() {
    loom::model(|| {
        let model = Model::new();
        let sender = Arc::clone(&model);
        let handle = thread::spawn(move || sender.send(1));
        assert_eq!(model.receive(1), [1]);
        handle.join().unwrap();
    });
}

#[test]
fn loom_two_senders_at_once_wake_the_worker_for_both_frames() {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(|| {
        let model = Model::new();
        let handles: Vec<_> = (1..=2)
            .map(|value| {
                let sender = Arc::clone(&model);
                thread::spawn(move || sender.send(value))
            })
            .collect();
        let mut values = model.receive(2);
        values.sort_unstable();
        assert_eq!(values, [1, 2]);
        for handle in handles {
            handle.join().unwrap();
        }
    });
}
