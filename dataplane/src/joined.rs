//! Which frames of a burst ride along with another one's transmission (see [`packet::coalesce`]).

use packet::coalesce::UdpRun;
use packet::{Burst, Layout};

#[derive(Debug)]
struct Run {
    /// Position of the job whose frame leads.
    job: usize,
    leader: u16,
    udp: UdpRun,
}

/// The runs of the jobs that wait to be sent.
#[derive(Debug, Default)]
pub(crate) struct Joined {
    runs: Vec<Run>,
    /// Frame and the job that it rides with.
    riders: Vec<(u16, usize)>,
}

impl Joined {
    /// Joins frame `follower` to the last job, `job`, whose frame is `leader`. False if it does not belong
    /// there; the frame then needs a job of its own.
    pub(crate) fn join(
        &mut self,
        job: usize,
        leader: u16,
        follower: u16,
        layouts: &[Option<Layout>],
        burst: &mut Burst,
    ) -> bool {
        let (leading, following) = (usize::from(leader), usize::from(follower));
        // Frames are sent in the order of the burst, so the leader stands before its followers.
        let Some((before, from)) = burst.frames_mut().split_at_mut_checked(following) else { return false };
        let (Some(leader_frame), Some(follower_frame)) = (before.get_mut(leading), from.first()) else {
            return false;
        };
        let (Some(leader_layout), Some(layout)) = (&layouts[leading], &layouts[following]) else {
            return false;
        };
        if self.runs.last().is_none_or(|run| run.job != job) {
            let Some(udp) = UdpRun::of(leader_frame, leader_layout) else { return false };
            self.runs.push(Run { job, leader, udp });
        }
        let Some(run) = self.runs.last_mut() else { return false };
        let joined = run.udp.join(leader_frame, follower_frame, layout);
        if joined {
            self.riders.push((follower, job));
        }
        joined
    }

    /// Makes the leaders what is to be sent.
    pub(crate) fn seal(&self, burst: &mut Burst) {
        for run in &self.runs {
            run.udp.seal(&mut burst.frames_mut()[usize::from(run.leader)]);
        }
    }

    /// Makes the leaders again what was received.
    pub(crate) fn restore(&self, burst: &mut Burst) {
        for run in &self.runs {
            run.udp.restore(&mut burst.frames_mut()[usize::from(run.leader)]);
        }
    }

    /// Each frame that rode along, with the position of its job.
    pub(crate) fn riders(&self) -> impl Iterator<Item = (u16, usize)> + '_ {
        self.riders.iter().copied()
    }

    pub(crate) fn clear(&mut self) {
        self.runs.clear();
        self.riders.clear();
    }
}
