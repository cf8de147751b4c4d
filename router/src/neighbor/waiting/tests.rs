use super::*;

fn port(index: u16) -> PortId {
    PortId::new(index).unwrap()
}

fn host(number: u8) -> IpAddr {
    IpAddr::from([10, 0, 0, number])
}

fn room(frames: usize, per_neighbor: usize, per_port: usize, neighbors: usize) -> WaitingRoom<u32> {
    let limits = WaitingLimits {
        frames_max: frames,
        frames_per_neighbor_max: per_neighbor,
        frames_per_port_max: per_port,
        neighbors_max: neighbors,
        ..WaitingLimits::default()
    };
    WaitingRoom::new(limits, 11)
}

fn take(room: &mut WaitingRoom<u32>, address: IpAddr) -> Vec<u32> {
    let mut frames = Vec::new();
    let given = room.take(address, |frame| frames.push(frame));
    assert_eq!(given, frames.len());
    frames
}

#[test]
fn frames_leave_in_the_order_in_which_they_came_each_to_its_neighbor() {
    let mut room = room(100, 10, 100, 10);
    for frame in 0..20 {
        let ask = frame < 4;
        assert_eq!(room.push(host(frame % 4), port(1), frame.into(), 0), Queued::Waiting { ask });
    }
    assert_eq!(take(&mut room, host(2)), [2, 6, 10, 14, 18]);
    assert_eq!(take(&mut room, host(2)), []);
    assert_eq!(take(&mut room, host(9)), []);
    assert_eq!((room.len(), room.is_empty()), (15, false));
}

#[test]
fn the_oldest_frame_of_a_neighbor_makes_room_for_the_newest() {
    let mut room = room(100, 3, 100, 10);
    for frame in 0..3 {
        room.push(host(1), port(1), frame, 0);
    }
    assert_eq!(room.push(host(1), port(1), 3, 0), Queued::Replaced { oldest: 0, ask: false });
    assert_eq!(room.push(host(1), port(2), 4, 0), Queued::Replaced { oldest: 1, ask: false });
    assert_eq!(take(&mut room, host(1)), [2, 3, 4]);
}

#[test]
fn a_port_that_has_its_share_waiting_is_refused_and_others_are_not() {
    let mut room = room(100, 3, 4, 10);
    for frame in 0..4 {
        room.push(host(frame), port(1), frame.into(), 0);
    }
    assert_eq!(room.push(host(5), port(1), 5, 0), Queued::Refused(5));
    assert_eq!(room.push(host(5), port(2), 6, 0), Queued::Waiting { ask: true });
    room.push(host(5), port(2), 7, 0);
    room.push(host(5), port(2), 8, 0);
    assert_eq!(
        room.push(host(5), port(1), 9, 0),
        Queued::Refused(9),
        "another port's frame is not pushed out"
    );
    take(&mut room, host(0));
    assert_eq!(room.push(host(6), port(1), 10, 0), Queued::Waiting { ask: true });
}

#[test]
fn ports_that_flood_leave_room_for_others() {
    for flooding in 1..20 {
        let mut room = room(100, 100, 50, 100);
        for round in 0..100 {
            for ingress in 0..flooding {
                room.push(host(round), port(ingress), 0, 0);
            }
        }
        let each = 100 / (usize::from(flooding) + 1);
        assert!(100 - room.len() >= each, "{flooding}: {} wait", room.len());
        assert_eq!(room.push(host(200), port(99), 1, 0), Queued::Waiting { ask: true });
    }
}

#[test]
fn frames_and_neighbors_are_bounded_in_all() {
    let mut few_frames = room(4, 3, 100, 10);
    let mut accepted = |n: u8| few_frames.push(host(n % 4), port(n.into()), 0, 0) != Queued::Refused(0);
    assert_eq!((0..100_u8).filter(|n| accepted(*n)).count(), 4);
    let mut few_neighbors = room(100, 3, 100, 2);
    let accepted = (0..100_u8).filter(|n| few_neighbors.push(host(*n), port(1), 0, 0) != Queued::Refused(0));
    assert_eq!(accepted.count(), 2);
    assert_eq!(few_neighbors.push(host(1), port(1), 7, 0), Queued::Waiting { ask: false });
}

#[test]
fn control_is_asked_again_while_frames_keep_coming() {
    let mut room = room(100, 10, 100, 10);
    let asked: Vec<u64> = (0..30)
        .map(|tenth| tenth * 100)
        .filter(|now_ms| {
            !matches!(
                room.push(host(1), port(1), 0, *now_ms),
                Queued::Waiting { ask: false } | Queued::Replaced { ask: false, .. }
            )
        })
        .collect();
    assert_eq!(asked, [0, 1000, 2000]);
}

#[test]
fn what_has_waited_too_long_is_given_up_in_small_steps() {
    let mut room = room(100, 10, 100, 10);
    for number in 0..10 {
        room.push(host(number), port(1), number.into(), u64::from(number) * 100);
        room.push(host(number), port(1), 100, u64::from(number) * 100);
    }
    let expire = |room: &mut WaitingRoom<u32>, now_ms| {
        let mut given = Vec::new();
        for _ in 0..4 {
            if let Some(address) = room.overdue(now_ms, 1) {
                room.take(address, |frame| given.push((address, frame)));
            }
        }
        given
    };
    assert_eq!(expire(&mut room, 3999), []);
    let mut given = Vec::new();
    for _ in 0..3 {
        given.extend(expire(&mut room, 4200));
    }
    given.sort_unstable();
    let expected: Vec<_> = (0..3).flat_map(|n| [(host(n), n.into()), (host(n), 100)]).collect();
    assert_eq!(given, expected);
    for _ in 0..3 {
        expire(&mut room, u64::MAX);
    }
    assert!(room.is_empty());
    assert_eq!(room.push(host(1), port(1), 1, 0), Queued::Waiting { ask: true });
}

#[test]
fn frames_are_taken_one_by_one_and_their_neighbor_is_forgotten_with_the_last() {
    let mut room = room(10, 10, 10, 10);
    for frame in 0..2 {
        room.push(host(1), port(1), frame, 0);
    }
    room.push(host(2), port(1), 7, 0);
    assert_eq!(room.awaited().collect::<Vec<_>>(), [host(1), host(2)]);
    assert_eq!((room.take_one(host(1)), room.awaits(host(1))), (Some(0), true));
    assert_eq!((room.take_one(host(1)), room.awaits(host(1))), (Some(1), false));
    assert_eq!(room.take_one(host(1)), None);
    assert_eq!(room.awaited().collect::<Vec<_>>(), [host(2)]);
    assert_eq!(room.push(host(1), port(1), 3, 0), Queued::Waiting { ask: true }, "as if it were new");
}

#[test]
fn a_room_without_any_space_refuses_and_gives_back() {
    let mut none = room(0, 0, 0, 0);
    assert_eq!(none.push(host(1), port(1), 1, 0), Queued::Refused(1));
    assert_eq!(none.overdue(0, 10), None);
    let mut one = room(10, 0, 10, 10);
    assert_eq!(one.push(host(1), port(1), 1, 0), Queued::Waiting { ask: true });
    assert_eq!(one.push(host(1), port(1), 2, 0), Queued::Replaced { oldest: 1, ask: false });
}
