//! How a port comes to harm and recovers.
//!
//! A worker reports a fault once and leaves the port alone; a link that is set down is heard of by netlink;
//! and once a second the control side looks whether the file of each namespace still stands for the same one
//! (one `stat`), since nothing else tells. At ports in trouble, and at no other, it looks more closely:
//!
//! - *link down*: the device is set down, or has no carrier. Once it is up again, the workers are told, and a
//!   device of ours is given back the addresses and routes that the kernel took from it.
//! - *gone*: the device or its namespace is not there. It is opened anew, which makes the device if the
//!   namespace is there (again), at most once a second. A port of the API whose namespace stays away for [`REAP_MS`] is given up:
//!   its pod is no more. A configured port waits for ever.
//!   A device that is somebody else's (`type = "packet"`) is waited for, however long it takes, and opened as
//!   soon as a link event tells of it.
//! - *failed*: the system refuses. It is tried again, ever more rarely, up to [`RETRY_MS_MAX`].

use port::PortFault;

use crate::api::types::{Origin, PortState};
use crate::devices::{OpenError, Presence};

/// How long a port of the API may be without its namespace before it is removed.
pub const REAP_MS: u64 = 30_000;
/// Time between the first attempts to open a device that the system refuses.
pub const RETRY_MS: u64 = 1_000;
/// Longest time between two attempts.
pub const RETRY_MS_MAX: u64 = 30_000;

/// How a port is, apart from what the operator set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Condition {
    /// Its device carries frames.
    Working,
    /// Its device is set down.
    LinkDown,
    /// Its device or namespace is not there.
    Gone {
        /// Since when.
        since_ms: u64,
        /// When to try to open it anew.
        retry_ms: u64,
        /// What was seen.
        reason: String,
    },
    /// The system refuses.
    Failed {
        /// What it says.
        reason: String,
        /// When to try again.
        retry_ms: u64,
        /// Attempts so far.
        attempts: u32,
    },
}

/// What to do next with a port that is not working.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Tell the workers that the device is usable again.
    Revive,
    /// The device that the workers hold is not there any more: the port is gone.
    Lose,
    /// Let go of what is left of the device and open it anew.
    Reopen,
}

impl Condition {
    /// Its device or namespace was seen to be missing just now.
    #[must_use]
    pub fn gone(now_ms: u64, reason: String) -> Self {
        Self::Gone { since_ms: now_ms, retry_ms: now_ms.saturating_add(RETRY_MS), reason }
    }

    /// How the port is after a worker met `fault`.
    #[must_use]
    pub fn after_fault(&self, fault: PortFault, now_ms: u64) -> Self {
        match (self, fault) {
            // The other workers report the same; the first report counts.
            (Self::Gone { .. } | Self::Failed { .. }, _) => self.clone(),
            (_, PortFault::LinkDown) => Self::LinkDown,
            (_, PortFault::Gone) => Self::gone(now_ms, fault.to_string()),
            (_, PortFault::Io(_)) => Self::Failed {
                reason: fault.to_string(),
                retry_ms: now_ms.saturating_add(RETRY_MS),
                attempts: 0,
            },
        }
    }

    /// How the port is after its device could not be opened, or `None` if it is to be given up.
    #[must_use]
    pub fn after_refusal(&self, error: &OpenError, origin: Origin, now_ms: u64) -> Option<Self> {
        let reason = error.to_string();
        if let OpenError::NoNamespace(_) = error {
            let since_ms = if let Self::Gone { since_ms, .. } = self { *since_ms } else { now_ms };
            let is_over = origin == Origin::Api && now_ms.saturating_sub(since_ms) >= REAP_MS;
            let retry_ms = now_ms.saturating_add(RETRY_MS);
            return (!is_over).then_some(Self::Gone { since_ms, retry_ms, reason });
        }
        if let OpenError::NoDevice(_) = error {
            let retry_ms = now_ms.saturating_add(RETRY_MS);
            return Some(Self::Gone { since_ms: now_ms, retry_ms, reason });
        }
        let attempts = if let Self::Failed { attempts, .. } = self { attempts.saturating_add(1) } else { 0 };
        let pause_ms = RETRY_MS.saturating_mul(1 << attempts.min(10)).min(RETRY_MS_MAX);
        Some(Self::Failed { reason, retry_ms: now_ms.saturating_add(pause_ms), attempts })
    }

    /// True if `presence` has to be asked for before [`next`](Self::next).
    #[must_use]
    pub const fn needs_look(&self) -> bool {
        matches!(self, Self::LinkDown)
    }

    /// What to do now, given what the device looks like and which one the workers hold.
    #[must_use]
    pub fn next(&self, presence: Option<Presence>, identity: u64, now_ms: u64) -> Step {
        match self {
            Self::Working => Step::Wait,
            Self::LinkDown => match presence {
                Some(Presence::There { identity: seen, up, .. }) if seen == identity => {
                    if up {
                        Step::Revive
                    } else {
                        Step::Wait
                    }
                }
                // A device that is removed is set down first, and either may be seen.
                Some(_) => Step::Lose,
                None => Step::Wait,
            },
            Self::Gone { retry_ms, .. } | Self::Failed { retry_ms, .. } if now_ms >= *retry_ms => {
                Step::Reopen
            }
            Self::Gone { .. } | Self::Failed { .. } => Step::Wait,
        }
    }

    /// The state that listings show, for a port that the operator wants up or not.
    #[must_use]
    pub fn state(&self, wanted_up: bool) -> PortState {
        match self {
            Self::Gone { .. } => PortState::Gone,
            Self::Failed { .. } => PortState::Failed,
            _ if !wanted_up => PortState::Down,
            Self::LinkDown => PortState::LinkDown,
            Self::Working => PortState::Up,
        }
    }

    /// Why it is not working, if it is not.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Working => None,
            Self::LinkDown => Some("the device is set down, or has no carrier"),
            Self::Gone { reason, .. } | Self::Failed { reason, .. } => Some(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Option<Presence> = Some(Presence::There { identity: 7, up: true, mtu_bytes: None });

    fn no_namespace() -> OpenError {
        OpenError::NoNamespace("no such namespace".into())
    }

    #[test]
    fn a_link_that_is_up_again_is_revived_and_a_device_that_is_another_one_is_lost() {
        let down = Condition::Working.after_fault(PortFault::LinkDown, 0);
        assert_eq!(down.state(true), PortState::LinkDown);
        assert_eq!(down.next(HERE, 7, 0), Step::Revive);
        assert_eq!(
            down.next(Some(Presence::There { identity: 7, up: false, mtu_bytes: None }), 7, 0),
            Step::Wait
        );
        assert_eq!(down.next(HERE, 6, 0), Step::Lose);
        assert_eq!(down.next(Some(Presence::Missing), 7, 0), Step::Lose);
        assert_eq!(down.next(None, 7, 0), Step::Wait);
    }

    #[test]
    fn a_device_that_is_gone_is_opened_anew_whoever_reports_what_next() {
        let gone = Condition::Working.after_fault(PortFault::Gone, 5);
        assert_eq!(gone.next(None, 7, 5), Step::Wait, "it is shown for a while");
        assert_eq!(gone.next(None, 7, 5 + RETRY_MS), Step::Reopen);
        assert_eq!(gone.after_fault(PortFault::LinkDown, 9), gone);
        assert_eq!(gone.after_fault(PortFault::Gone, 9), gone);
        let downed = Condition::LinkDown.after_fault(PortFault::Gone, 6);
        assert_eq!(downed.state(true), PortState::Gone);
    }

    #[test]
    fn a_pod_s_port_is_given_up_when_its_namespace_stays_away_and_a_configured_one_never() {
        let gone = Condition::Working.after_fault(PortFault::Gone, 1_000);
        let at = |origin, now_ms| gone.after_refusal(&no_namespace(), origin, now_ms);
        assert!(at(Origin::Api, 1_000 + REAP_MS - 1).is_some());
        assert!(at(Origin::Api, 1_000 + REAP_MS).is_none());
        assert!(at(Origin::Config, u64::MAX).is_some());
        assert!(at(Origin::Host, u64::MAX).is_some());
        let later = at(Origin::Api, 20_000).unwrap();
        assert!(later.after_refusal(&no_namespace(), Origin::Api, 1_000 + REAP_MS).is_none(), "one clock");
    }

    #[test]
    fn somebody_else_s_device_is_waited_for_without_end() {
        let missing = OpenError::NoDevice("there is no device vm1".into());
        let mut condition = Condition::Working;
        for now_ms in [0, REAP_MS, 100 * REAP_MS] {
            condition = condition.after_refusal(&missing, Origin::Api, now_ms).unwrap();
            assert_eq!(condition.state(true), PortState::Gone);
            assert_eq!(condition.reason(), Some("there is no device vm1"));
            assert_eq!(condition.next(None, 0, now_ms), Step::Wait);
            assert_eq!(condition.next(None, 0, now_ms + RETRY_MS), Step::Reopen);
        }
    }

    #[test]
    fn what_the_system_refuses_is_tried_ever_more_rarely() {
        let mut condition = Condition::Working;
        let mut now_ms = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            condition =
                condition.after_refusal(&OpenError::Failed("no".into()), Origin::Api, now_ms).unwrap();
            let Condition::Failed { retry_ms, .. } = condition else { panic!("{condition:?}") };
            assert_eq!(condition.next(None, 0, retry_ms - 1), Step::Wait);
            assert_eq!(condition.next(None, 0, retry_ms), Step::Reopen);
            pauses.push(retry_ms - now_ms);
            now_ms = retry_ms;
        }
        assert_eq!(pauses, [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]);
    }

    #[test]
    fn what_the_operator_set_down_shows_as_down_unless_it_is_worse() {
        assert_eq!(Condition::Working.state(false), PortState::Down);
        assert_eq!(Condition::LinkDown.state(false), PortState::Down);
        assert_eq!(Condition::Working.after_fault(PortFault::Gone, 0).state(false), PortState::Gone);
        assert_eq!(Condition::Working.after_fault(PortFault::Io(5), 0).state(true), PortState::Failed);
    }
}
