//! What is measured, in which unit, and which way is better.

use crate::traffic::handle::{self, Agent};
use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;
use std::net::IpAddr;
use std::time::Duration;

/// A kind of traffic.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Bulk TCP on one stream.
    #[value(name = "tcp1")]
    TcpOne,
    /// Bulk TCP on many streams.
    #[value(name = "tcp")]
    TcpMany,
    /// 64-byte frames of UDP, as fast as the sender can.
    Udp,
    /// TCP ping-pong.
    #[value(name = "rtt")]
    RoundTrip,
    /// TCP connections, one after the other, with a request and a response each.
    Connections,
}

/// One number of a measure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Figure {
    /// Gigabits of payload a second.
    Throughput,
    /// Busy CPU-seconds of the whole machine per gigabit of payload.
    CpuPerGigabit,
    /// Packets a second that reached the receiving program, in millions.
    DeliveredRate,
    /// Part of the packets sent that did not reach it, in percent.
    Loss,
    /// Busy CPU-seconds of the whole machine per million delivered packets.
    CpuPerMillionPackets,
    /// Median round trip in microseconds.
    RoundTripP50,
    /// 99th percentile of the round trips in microseconds.
    RoundTripP99,
    /// Connections a second.
    ConnectionRate,
}

/// Which way is better.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Better {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// What one measurement gave.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Sample {
    /// In the order of [`Measure::figures`].
    pub values: Vec<f64>,
    /// Part of the machine's time that went to others, 0 to 1.
    pub steal_share: f64,
}

impl Measure {
    /// All of them, in the order in which they are taken.
    pub(crate) const ALL: [Self; 5] =
        [Self::TcpOne, Self::TcpMany, Self::Udp, Self::RoundTrip, Self::Connections];

    /// What it is called in a table; `streams` are those of [`Self::TcpMany`].
    pub(crate) fn title(self, streams: u16) -> String {
        match self {
            Self::TcpOne => "TCP, 1 stream".to_owned(),
            Self::TcpMany => format!("TCP, {streams} streams"),
            Self::Udp => "UDP, 64-byte frames".to_owned(),
            Self::RoundTrip => "TCP round trip".to_owned(),
            Self::Connections => "TCP connections".to_owned(),
        }
    }

    /// The numbers that one sample of it has.
    pub(crate) fn figures(self) -> &'static [Figure] {
        match self {
            Self::TcpOne | Self::TcpMany => &[Figure::Throughput, Figure::CpuPerGigabit],
            Self::Udp => &[Figure::DeliveredRate, Figure::CpuPerMillionPackets, Figure::Loss],
            Self::RoundTrip => &[Figure::RoundTripP50, Figure::RoundTripP99],
            Self::Connections => &[Figure::ConnectionRate],
        }
    }

    /// Takes one sample: traffic from `client` to `server`, which has `address`.
    #[expect(clippy::cast_precision_loss, reason = "counts of a few seconds fit the mantissa well enough")]
    pub(crate) fn sample(
        self,
        client: &mut Agent,
        server: &mut Agent,
        address: IpAddr,
        duration: Duration,
        streams: u16,
    ) -> Result<Sample> {
        let (values, cpu) = match self {
            Self::TcpOne | Self::TcpMany => {
                let streams = if self == Self::TcpOne { 1 } else { streams };
                let bulk = handle::bulk(client, server, address, (streams, false), duration)?;
                let gigabits = bulk.value.bytes as f64 * 8e-9;
                let cpu_per_gigabit = quotient(bulk.cpu.busy_seconds, gigabits);
                (vec![bulk.value.bits_per_second() * 1e-9, cpu_per_gigabit], bulk.cpu)
            }
            Self::Udp => {
                let packets = handle::datagrams(client, server, address, duration)?;
                let (sent, came) = packets.value;
                let delivered = came.delivered as f64;
                let cpu_per_million = quotient(packets.cpu.busy_seconds, delivered * 1e-6);
                let loss = 100.0 * (1.0 - quotient(delivered, sent as f64));
                (vec![came.packets_per_second() * 1e-6, cpu_per_million, loss], packets.cpu)
            }
            Self::RoundTrip => {
                let times = handle::round_trips(client, server, address, duration)?;
                (vec![times.value.p50_ns as f64 * 1e-3, times.value.p99_ns as f64 * 1e-3], times.cpu)
            }
            Self::Connections => {
                let made = handle::connections(client, server, address, duration)?;
                (vec![made.value.per_second()], made.cpu)
            }
        };
        Ok(Sample { values, steal_share: cpu.steal_share() })
    }
}

fn quotient(dividend: f64, divisor: f64) -> f64 {
    if divisor > 0.0 { dividend / divisor } else { 0.0 }
}

impl Figure {
    /// Its unit.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Throughput => "Gbit/s",
            Self::CpuPerGigabit => "CPU-s/Gbit",
            Self::DeliveredRate => "Mpkt/s",
            Self::CpuPerMillionPackets => "CPU-s/Mpkt",
            Self::Loss => "% lost",
            Self::RoundTripP50 => "µs p50",
            Self::RoundTripP99 => "µs p99",
            Self::ConnectionRate => "1/s",
        }
    }

    /// Which way is better.
    pub(crate) fn better(self) -> Better {
        match self {
            Self::Throughput | Self::DeliveredRate | Self::ConnectionRate => Better::Higher,
            _ => Better::Lower,
        }
    }

    /// Whether a ratio says anything: a loss can be 0, and a sender that is never slowed down loses more.
    pub(crate) fn is_compared(self) -> bool {
        self != Self::Loss
    }
}

impl Better {
    /// A word for a table.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_figures_and_a_title_of_its_own() {
        let titles: std::collections::BTreeSet<_> = Measure::ALL.iter().map(|m| m.title(8)).collect();
        assert_eq!(titles.len(), Measure::ALL.len());
        assert!(Measure::ALL.iter().all(|measure| !measure.figures().is_empty()));
    }

    #[test]
    fn a_rate_is_better_higher_and_a_time_lower() {
        assert_eq!(Figure::Throughput.better(), Better::Higher);
        assert_eq!(Figure::RoundTripP99.better(), Better::Lower);
        assert_eq!(Figure::CpuPerGigabit.better(), Better::Lower);
    }
}
