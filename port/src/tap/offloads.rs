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

/// Asks `set` for the most that it does not refuse with `EINVAL`.
pub(super) fn negotiate(mut set: impl FnMut(u32) -> Result<()>) -> Result<Offloads> {
    for (flags, offloads) in STEPS {
        match set(flags) {
            Ok(()) => return Ok(offloads),
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::INVAL)
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
        assert_eq!(negotiate(kernel(u32::MAX)), Ok(Offloads::ALL));
        assert_eq!(negotiate(kernel(TSO_FLAGS)), Ok(Offloads { uso: false, ..Offloads::ALL }));
        let checksum = Offloads { checksum: true, ..Offloads::NONE };
        assert_eq!(negotiate(kernel(libc::TUN_F_CSUM)), Ok(checksum));
        assert_eq!(negotiate(kernel(0)), Ok(Offloads::NONE));
    }

    #[test]
    fn an_error_other_than_unknown_flags_is_not_hidden() {
        assert_eq!(negotiate(|_| Err(Errno::BADFD)), Err(Errno::BADFD));
    }
}
