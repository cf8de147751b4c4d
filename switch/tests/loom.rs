//! All interleavings of few writers and readers on a tiny table.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p switch --test loom --release`
//!
//! Loom remembers of each atomic only the last access. A writer that loads a word before it swaps it so hides
//! the loads that a reader did before, if the first run lets the reader go first. The spawned thread runs
//! second, so it is the reader where there is one; [`explore`] holds that more than one run took place.
#![cfg(loom)]

use loom::sync::Arc;
use loom::thread;
use packet::{MacAddress, PortId};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use switch::{EntryKind, Fdb, FdbLimits, Learned};

const LIMITS: FdbLimits = FdbLimits { macs_max: 4, macs_per_port_max: 0, aging_ms: 300_000 };
const M: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const X: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const Y: MacAddress = MacAddress([2, 0, 0, 0, 0, 3]);

fn port(index: u16) -> PortId {
    PortId::new(index).expect("a port")
}

/// Runs the scene in every order that loom finds to matter.
fn explore(limits: FdbLimits, scene: impl Fn(Arc<Fdb>) + Sync + Send + 'static) {
    let runs = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&runs);
    let mut model = loom::model::Builder::new();
    model.max_branches = 10_000;
    model.check(move || {
        counted.fetch_add(1, Ordering::Relaxed);
        scene(Arc::new(Fdb::new(limits, 7)));
    });
    let runs = runs.load(Ordering::Relaxed);
    println!("{runs} runs");
    assert!(runs > 1, "loom saw nothing to explore");
}

fn together(fdb: &Arc<Fdb>, first: impl FnOnce(&Fdb), second: impl FnOnce(&Fdb) + 'static) {
    let shared = Arc::clone(fdb);
    let thread = thread::spawn(move || second(&shared));
    first(fdb);
    thread.join().expect("the other thread ends");
}

/// While nobody writes: no address twice, and the counts are those of the entries.
fn is_sound(fdb: &Fdb) {
    let entries = fdb.entries(0);
    let macs: BTreeSet<MacAddress> = entries.iter().map(|entry| entry.mac).collect();
    assert_eq!(macs.len(), entries.len(), "an address twice in {entries:?}");
    let learned = |index| {
        let of_port =
            |entry: &&switch::FdbEntry| entry.kind == EntryKind::Learned && entry.port == port(index);
        entries.iter().filter(of_port).count()
    };
    for index in 0..4 {
        assert_eq!(fdb.learned_by(port(index)), learned(index), "port {index} in {entries:?}");
    }
    let statistics = fdb.statistics();
    assert_eq!(statistics.learned, (0..4).map(learned).sum::<usize>());
    assert_eq!(statistics.learned + statistics.statics, entries.len());
}

#[test]
fn one_address_entered_twice_at_once_stays_once() {
    explore(LIMITS, |fdb| {
        fdb.learn(X, port(0), 0);
        // While X goes, the two may choose different slots.
        let removes_and_learns = |fdb: &Fdb| {
            fdb.remove(X);
            fdb.learn(M, port(2), 0);
        };
        let learns = |fdb: &Fdb| {
            fdb.learn(M, port(1), 0);
        };
        together(&fdb, removes_and_learns, learns);
        assert!([Some(port(1)), Some(port(2))].contains(&fdb.lookup(M, 0)));
        is_sound(&fdb);
    });
}

#[test]
fn a_new_address_is_seen_on_its_port_or_not_at_all() {
    explore(LIMITS, |fdb| {
        let learns = |fdb: &Fdb| assert_eq!(fdb.learn(M, port(1), 900_000), Learned::New);
        let reads = |fdb: &Fdb| {
            let seen = [fdb.lookup(M, 900_000), fdb.lookup(M, 900_000)];
            let in_order = [[None, None], [None, Some(port(1))], [Some(port(1)), Some(port(1))]];
            assert!(in_order.contains(&seen), "{seen:?}");
        };
        fdb.age(900_000);
        together(&fdb, learns, reads);
        is_sound(&fdb);
    });
}

#[test]
fn an_address_that_moves_is_never_lost_nor_elsewhere() {
    explore(LIMITS, |fdb| {
        fdb.learn(M, port(1), 0);
        let moves = |fdb: &Fdb| assert_eq!(fdb.learn(M, port(2), 0), Learned::Moved { from: port(1) });
        let reads = |fdb: &Fdb| {
            let seen = [fdb.lookup(M, 0), fdb.lookup(M, 0)];
            let in_order = [[1, 1], [1, 2], [2, 2]].map(|pair| pair.map(|index| Some(port(index))));
            assert!(in_order.contains(&seen), "{seen:?}");
        };
        together(&fdb, moves, reads);
        assert_eq!(fdb.lookup(M, 0), Some(port(2)));
        is_sound(&fdb);
    });
}

#[test]
fn two_that_move_an_address_leave_it_on_one_port() {
    explore(LIMITS, |fdb| {
        fdb.learn(M, port(0), 0);
        let moves = |to| {
            move |fdb: &Fdb| {
                fdb.learn(M, port(to), 0);
            }
        };
        together(&fdb, moves(1), moves(2));
        assert!([Some(port(1)), Some(port(2))].contains(&fdb.lookup(M, 0)));
        is_sound(&fdb);
    });
}

#[test]
fn a_sweep_and_a_learner_leave_sound_counts() {
    explore(LIMITS, |fdb| {
        fdb.learn(M, port(1), 0);
        fdb.age(300_000);
        let sweeps = |fdb: &Fdb| {
            fdb.age(320_000);
        };
        let learns = |fdb: &Fdb| {
            assert_eq!(fdb.learn(M, port(2), 320_000), Learned::New);
            assert!([None, Some(port(2))].contains(&fdb.lookup(M, 320_000)));
        };
        together(&fdb, sweeps, learns);
        assert_eq!(fdb.len(), usize::from(fdb.lookup(M, 320_000).is_some()));
        assert_eq!(fdb.learned_by(port(1)), 0);
        assert_eq!(fdb.learned_by(port(2)), fdb.len());
    });
}

#[test]
fn a_sweep_takes_no_live_entry_from_a_reader() {
    explore(LIMITS, |fdb| {
        fdb.learn(X, port(1), 0);
        fdb.age(300_000);
        fdb.learn(M, port(2), 300_000);
        let sweeps = |fdb: &Fdb| assert_eq!(fdb.age(320_000), 1);
        let reads = |fdb: &Fdb| {
            assert_eq!((fdb.lookup(M, 320_000), fdb.lookup(X, 320_000)), (Some(port(2)), None));
        };
        together(&fdb, sweeps, reads);
        assert_eq!((fdb.len(), fdb.learned_by(port(2))), (1, 1));
    });
}

#[test]
fn a_static_entry_wins_over_a_learner() {
    explore(LIMITS, |fdb| {
        fdb.learn(X, port(1), 0);
        let fixes = |fdb: &Fdb| {
            fdb.remove(X);
            assert_eq!(fdb.add_static(M, port(0)), Ok(()));
        };
        let learns = |fdb: &Fdb| {
            fdb.learn(M, port(1), 0);
        };
        together(&fdb, fixes, learns);
        assert_eq!(fdb.lookup(M, 0), Some(port(0)));
        assert_eq!((fdb.statistics().statics, fdb.statistics().learned), (1, 0));
        assert_eq!(fdb.learn(M, port(1), 0), Learned::Protected);
        is_sound(&fdb);
    });
}

#[test]
fn a_static_entry_wins_over_a_move() {
    explore(LIMITS, |fdb| {
        fdb.learn(M, port(1), 0);
        let fixes = |fdb: &Fdb| assert_eq!(fdb.add_static(M, port(0)), Ok(()));
        let moves = |fdb: &Fdb| {
            fdb.learn(M, port(2), 0);
        };
        together(&fdb, fixes, moves);
        assert_eq!((fdb.lookup(M, 0), fdb.len()), (Some(port(0)), 1));
        is_sound(&fdb);
    });
}

#[test]
fn an_eviction_shows_each_address_on_its_port_or_not_at_all() {
    explore(FdbLimits { macs_max: 2, ..LIMITS }, |fdb| {
        fdb.learn(X, port(1), 0);
        fdb.learn(Y, port(1), 0);
        let learns = |fdb: &Fdb| assert_eq!(fdb.learn(M, port(2), 0), Learned::New);
        let reads = |fdb: &Fdb| {
            for (mac, only) in [(X, port(1)), (Y, port(1)), (M, port(2))] {
                let found = fdb.lookup(mac, 0);
                assert!(found.is_none_or(|found| found == only), "{mac} on {found:?}");
            }
        };
        together(&fdb, learns, reads);
        assert_eq!((fdb.statistics().learned, fdb.lookup(M, 0)), (2, Some(port(2))));
        is_sound(&fdb);
    });
}

#[test]
fn a_limit_holds_against_two_learners() {
    explore(FdbLimits { macs_per_port_max: 1, ..LIMITS }, |fdb| {
        let learns = |mac| {
            move |fdb: &Fdb| {
                fdb.learn(mac, port(1), 0);
                assert!(fdb.entries(0).len() <= 1);
            }
        };
        together(&fdb, learns(X), learns(Y));
        is_sound(&fdb);
    });
}

#[test]
fn a_removed_port_and_a_mover_leave_sound_counts() {
    explore(LIMITS, |fdb| {
        fdb.learn(M, port(1), 0);
        let removes = |fdb: &Fdb| {
            fdb.remove_port(port(1));
        };
        let moves = |fdb: &Fdb| {
            fdb.learn(M, port(2), 0);
            assert_eq!(fdb.lookup(M, 0), Some(port(2)), "only port 1 was removed");
        };
        together(&fdb, removes, moves);
        is_sound(&fdb);
    });
}
