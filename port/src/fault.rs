//! What a device's error numbers mean.

use packet::DropReason;
use rustix::io::Errno;

/// Why a port went quiet. A port is reported once; then nothing is sent to it until it is revived or
/// detached.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PortFault {
    /// The device is administratively down. It may come back: [`PortSet::revive`](crate::PortSet::revive).
    /// A TAP says so only when something is sent to it (`EIO`), never when it is read.
    #[error("the device is down")]
    LinkDown,
    /// The device was removed, or its namespace was (`EBADFD`).
    #[error("the device is gone")]
    Gone,
    /// Another error number from a read or a write of the device.
    #[error("the device fails: {}", std::io::Error::from_raw_os_error(*.0))]
    Io(i32),
}

impl PortFault {
    /// The fault that an error of a *read* means, or `None` for "nothing to read now, try again later".
    ///
    /// Source: `tun_chr_read_iter` and `tun_ring_recv` of Linux 6.18 (`EBADFD` once the device is
    /// unregistered, `EFAULT` for a reader that slept meanwhile).
    pub(crate) fn of_read(errno: Errno) -> Option<Self> {
        match errno {
            Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM | Errno::CANCELED => None,
            Errno::BADFD | Errno::NODEV | Errno::NXIO | Errno::FAULT => Some(Self::Gone),
            Errno::IO | Errno::NETDOWN => Some(Self::LinkDown),
            other => Some(Self::Io(other.raw_os_error())),
        }
    }

    /// What an error of a *write* means for the frame and, if it is not the frame's fault, for the port.
    ///
    /// Source: `tun_get_user` of Linux 6.18 (`EIO` without `IFF_UP`, `EBADFD` once the device is
    /// unregistered, `EAGAIN` when `TUNSETSNDBUF` is exceeded, `EINVAL` for metadata it refuses).
    pub(crate) fn of_write(errno: Errno) -> (DropReason, Option<Self>) {
        match errno {
            Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::INTR => (DropReason::TxQueueFull, None),
            Errno::IO | Errno::NETDOWN => (DropReason::EgressDown, Some(Self::LinkDown)),
            Errno::BADFD | Errno::NODEV | Errno::NXIO => (DropReason::EgressDown, Some(Self::Gone)),
            // A packet socket's device, whose MTU may have changed since it was last looked at.
            Errno::MSGSIZE => (DropReason::EgressMtu, None),
            _ => (DropReason::TxError, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_frame_is_not_the_ports_fault() {
        assert_eq!(PortFault::of_write(Errno::INVAL), (DropReason::TxError, None));
        assert_eq!(PortFault::of_write(Errno::AGAIN), (DropReason::TxQueueFull, None));
        assert_eq!(PortFault::of_write(Errno::MSGSIZE), (DropReason::EgressMtu, None));
    }

    #[test]
    fn a_device_that_is_down_can_come_back_and_one_that_is_gone_cannot() {
        assert_eq!(PortFault::of_write(Errno::IO), (DropReason::EgressDown, Some(PortFault::LinkDown)));
        assert_eq!(PortFault::of_write(Errno::BADFD), (DropReason::EgressDown, Some(PortFault::Gone)));
        assert_eq!(PortFault::of_read(Errno::BADFD), Some(PortFault::Gone));
        assert_eq!(PortFault::of_read(Errno::AGAIN), None);
    }
}
