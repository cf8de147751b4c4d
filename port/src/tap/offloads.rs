//! What the kernel and we leave to one another, with a fall-back for kernels that know less.

use packet::Offloads;
use rustix::io::{Errno, Result};

const TSO_FLAGS: u32 = libc::TUN_F_CSUM | libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;
/// The driver takes both or none: "for now USO4 and USO6 should work simultaneously" (`set_offload`).
const USO_FLAGS: u32 = libc::TUN_F_USO4 | libc::TUN_F_USO6;

/// From the best on; USO came with Linux 6.2.
const STEPS: [(u32, Offloads); 4] = [
    (TSO_FLAGS | USO_FLAGS, Offloads::ALL),
    (TSO_FLAGS, Offloads { uso: false, ..Offloads::ALL }),
    (libc::TUN_F_CSUM, Offloads { checksum: true, ..Offloads::NONE }),
    (0, Offloads::NONE),
];

/// Asks `set` for the most, of what is within `most`, that it does not refuse with `EINVAL`.
pub(super) fn negotiate(most: Offloads, mut set: impl FnMut(u32) -> Result<()>) -> Result<Offloads> {
    for (flags, offloads) in STEPS.into_iter().filter(|(_, offloads)| is_within(*offloads, most)) {
        match set(flags) {
            Ok(()) => return Ok(offloads),
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::INVAL)
}

fn is_within(offloads: Offloads, most: Offloads) -> bool {
    let parts = |of: Offloads| [of.checksum, of.tso4, of.tso6, of.tso_ecn, of.uso];
    parts(offloads).into_iter().zip(parts(most)).all(|(wanted, allowed)| allowed || !wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kernel that knows the flags in `known` only.
    fn kernel(known: u32) -> impl FnMut(u32) -> Result<()> {
        move |flags| if flags & !known == 0 { Ok(()) } else { Err(Errno::INVAL) }
    }

    #[test]
    fn a_kernel_without_uso_still_gives_tso() {
        let negotiate = |known| negotiate(Offloads::ALL, kernel(known));
        assert_eq!(negotiate(u32::MAX), Ok(Offloads::ALL));
        assert_eq!(negotiate(TSO_FLAGS), Ok(Offloads { uso: false, ..Offloads::ALL }));
        assert_eq!(negotiate(TSO_FLAGS | libc::TUN_F_USO4), Ok(Offloads { uso: false, ..Offloads::ALL }));
        let checksum = Offloads { checksum: true, ..Offloads::NONE };
        assert_eq!(negotiate(libc::TUN_F_CSUM), Ok(checksum));
        assert_eq!(negotiate(libc::TUN_F_CSUM | libc::TUN_F_TSO4), Ok(checksum));
        assert_eq!(negotiate(0), Ok(Offloads::NONE));
    }

    #[test]
    fn each_step_asks_for_less_until_one_is_taken() {
        let asked = |most, known| {
            let (mut asked, mut set) = (Vec::new(), kernel(known));
            let outcome = negotiate(most, |flags| {
                asked.push(flags);
                set(flags)
            });
            assert!(outcome.is_ok());
            asked
        };
        let steps = [TSO_FLAGS | USO_FLAGS, TSO_FLAGS, libc::TUN_F_CSUM, 0];
        assert_eq!(asked(Offloads::ALL, 0), steps);
        assert_eq!(asked(Offloads::ALL, TSO_FLAGS), steps[..2]);
        assert_eq!(asked(Offloads { uso: false, ..Offloads::ALL }, u32::MAX), steps[1..2]);
        assert_eq!(asked(Offloads { checksum: true, uso: true, ..Offloads::NONE }, u32::MAX), steps[2..3]);
        assert_eq!(asked(Offloads::NONE, u32::MAX), steps[3..]);
    }

    #[test]
    fn an_error_other_than_unknown_flags_is_not_hidden() {
        assert_eq!(negotiate(Offloads::ALL, |_| Err(Errno::BADFD)), Err(Errno::BADFD));
    }
}
