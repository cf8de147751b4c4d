use super::*;

fn host(number: u32) -> IpAddr {
    IpAddr::V4(number.into())
}

fn port(index: u16) -> PortId {
    PortId::new(index).unwrap()
}

/// Takes one token exactly.
const EVEN: u64 = 0x8000_8000;

fn errors() -> RateLimiter {
    RateLimiter::new(Limits::ICMP_ERRORS, 42)
}

#[test]
fn a_destination_is_told_six_times_at_once_and_then_once_a_second() {
    let mut limiter = errors();
    let told = |limiter: &mut RateLimiter, now_ms| {
        (0..100).filter(|_| limiter.allow(host(1), port(1), now_ms, EVEN)).count()
    };
    assert_eq!(told(&mut limiter, 10_000), 6);
    assert_eq!(told(&mut limiter, 10_999), 0);
    assert_eq!(told(&mut limiter, 11_000), 1);
    assert_eq!(told(&mut limiter, 13_500), 2);
    assert_eq!(told(&mut limiter, 1_000_000), 6);
}

#[test]
fn fractions_of_a_token_are_not_lost() {
    let mut limiter = errors();
    let told = (0..60_000).filter(|now_ms| limiter.allow(host(1), port(1), 10_000 + now_ms, EVEN)).count();
    assert_eq!(told, 6 + 59);
}

#[test]
fn one_port_cannot_use_up_what_others_are_told_with() {
    let mut limiter = errors();
    let flood = (0..100_000).filter(|number| limiter.allow(host(*number), port(1), 5000, EVEN)).count();
    assert_eq!(flood, 25);
    assert!(limiter.allow(host(200_000), port(2), 5000, EVEN));
}

#[test]
fn all_ports_together_are_bounded() {
    let mut limiter = errors();
    let mut told = 0;
    for number in 0..4000_u16 {
        told += usize::from(limiter.allow(host(u32::from(number) << 8), port(number), 5000, EVEN));
    }
    assert_eq!(told, 50);
}

#[test]
fn who_is_refused_takes_nothing_from_others() {
    let mut limiter = errors();
    for _ in 0..100_000 {
        limiter.allow(host(1), port(1), 5000, EVEN);
    }
    let others =
        (2..100_u16).filter(|number| limiter.allow(host(u32::from(*number)), port(*number), 5000, EVEN));
    assert!(others.count() >= 43, "six of fifty are gone");
}

/// How many messages pass at once, by a hundred different sequences of random numbers. `of` says for which port and
/// destination the message with a number is.
fn bursts(of: fn(u16) -> (PortId, IpAddr)) -> std::collections::BTreeSet<usize> {
    let mut random = 1_u64;
    let burst = |seed| {
        let mut limiter = RateLimiter::new(Limits::ICMP_ERRORS, seed);
        (0..1000_u16)
            .filter(|number| {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let (port, destination) = of(*number);
                limiter.allow(destination, port, 5000, random >> 32)
            })
            .count()
    };
    (0..100).map(burst).collect()
}

#[test]
fn what_passes_in_a_burst_varies_with_the_random_numbers() {
    let of_all = bursts(|number| (port(number), host(number.into())));
    assert!(of_all.len() >= 10 && of_all.iter().all(|count| (35..75).contains(count)), "{of_all:?}");
    let of_one_port = bursts(|number| (port(1), host(number.into())));
    assert!(
        of_one_port.len() >= 8 && of_one_port.iter().all(|count| (15..45).contains(count)),
        "{of_one_port:?}"
    );
}

#[test]
fn a_destination_that_shares_one_bucket_with_a_flooded_one_is_still_told() {
    let limits = Limits {
        port: Rate { per_second: 1_000_000, burst: 1_000_000 },
        worker: Rate { per_second: 1_000_000, burst: 1_000_000 },
        ..Limits::ICMP_ERRORS
    };
    let mut limiter = RateLimiter::new(limits, 42);
    for _ in 0..100 {
        limiter.allow(host(1), port(1), 5000, EVEN);
    }
    assert!(!limiter.allow(host(1), port(1), 5000, EVEN));
    let [first, second] = limiter.rows(host(1));
    let mut met = [0; 2];
    for number in 2..20_000 {
        let [other_first, other_second] = limiter.rows(host(number));
        if (other_first == first) != (other_second == second) {
            met[usize::from(other_second == second)] += 1;
            assert!(limiter.allow(host(number), port(1), 5000, EVEN), "{number}");
        }
    }
    assert!(met.iter().all(|count| *count >= 5), "{met:?}");
}

#[test]
fn a_clock_that_stands_still_goes_back_or_jumps_far_does_no_harm() {
    let mut limiter = errors();
    let times = [5000, 5000, 4000, 0, u64::MAX, 0, u64::MAX].repeat(10);
    let told = times.iter().filter(|now_ms| limiter.allow(host(1), port(1), **now_ms, EVEN)).count();
    assert_eq!(told, 4 + 6, "what there was, and one refill");
    let extreme = Rate { per_second: u32::MAX, burst: u32::MAX };
    let limits = Limits { destination: extreme, port: extreme, worker: extreme };
    let mut limiter = RateLimiter::new(limits, 0);
    assert!([0, 1, u64::MAX].iter().all(|now_ms| limiter.allow(host(1), port(1), *now_ms, u64::MAX)));
    let none = Rate { per_second: 0, burst: 0 };
    let mut limiter = RateLimiter::new(Limits { worker: none, ..limits }, 0);
    assert!(!limiter.allow(host(1), port(1), u64::MAX, 0));
}
