//! This gateway's part of each replica's workers.
//!
//! Gateways do not talk to each other. Each knows how many there are (`--gateways`), and where they are found by name also
//! which of them it is: the list is the same for all, in the same order. So all workers are given away and none twice, but
//! for the moment in which one learns of a change before the other.

use std::net::{IpAddr, UdpSocket};
use std::str::FromStr;
use std::sync::Arc;

use common::discovery::{DiscoveryOptions, DnsError, Endpoints, Target, discover};
use common::net::Endpoint;
use common::shutdown::Shutdown;

use crate::admission::Admission;

/// How many gateways share the replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gateways {
    Count(u32),
    /// As many as this name has addresses.
    Named(Target),
}

impl FromStr for Gateways {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(count) = text.parse::<u32>() {
            return if count > 0 { Ok(Self::Count(count)) } else { Err("expected at least 1".into()) };
        }
        let expected = |_| "expected a number, or a name such as dns://tasks.fpm-gateway:9001".to_owned();
        text.parse().map(Self::Named).map_err(expected)
    }
}

/// The part of `workers` that the gateway in this place of `gateways` gets; without a place, what each gets at least. At
/// least one in any case: a gateway without would be of no use.
pub const fn part(workers: u32, gateways: u32, place: Option<u32>) -> u32 {
    let gateways = if gateways == 0 { 1 } else { gateways };
    let rest = workers % gateways;
    let one_more = matches!(place, Some(place) if place < rest);
    let part = workers / gateways + one_more as u32;
    if part == 0 { 1 } else { part }
}

/// Follows the number of gateways for as long as the service runs.
pub fn follow(
    gateways: &Gateways,
    discovery: &DiscoveryOptions,
    admission: &Arc<Admission>,
    shutdown: &Shutdown,
) -> Result<(), DnsError> {
    let target = match gateways {
        Gateways::Count(count) => {
            admission.divide(*count, None);
            return Ok(());
        }
        Gateways::Named(target) => target.clone(),
    };
    let mut endpoints = discover(vec![target], discovery, shutdown)?;
    let admission = Arc::clone(admission);
    shutdown.spawn_until_drain(async move {
        loop {
            let known = Endpoints::clone(&endpoints.borrow_and_update());
            let (count, place) = among(&known, is_ours);
            tracing::info!(gateways = count, ?place, "gateways share the replicas' workers");
            admission.divide(count, place);
            if endpoints.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    });
    Ok(())
}

/// How many there are, and which of them this is. None is known before the first answer: then there is only this one.
fn among(endpoints: &[Endpoint], is_ours: impl Fn(IpAddr) -> bool) -> (u32, Option<u32>) {
    let mut addresses: Vec<IpAddr> = endpoints
        .iter()
        .filter_map(|endpoint| match endpoint {
            Endpoint::Tcp(address) => Some(address.ip()),
            Endpoint::Unix(_) => None,
        })
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let place = addresses.iter().position(|address| is_ours(*address));
    (count, place.and_then(|place| u32::try_from(place).ok()))
}

/// An address of this machine, or container, can be bound; another cannot.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn all_workers_are_given_away_once() {
        for (workers, gateways) in [(8, 1), (8, 2), (8, 3), (10, 4), (3, 3), (1, 1), (100, 7)] {
            let sum: u32 = (0..gateways).map(|place| part(workers, gateways, Some(place))).sum();
            assert_eq!(sum, workers, "{workers} among {gateways}");
            assert!(part(workers, gateways, None) * gateways <= workers);
        }
        assert_eq!((part(2, 3, Some(0)), part(2, 3, Some(2)), part(5, 0, None)), (1, 1, 5));
    }

    #[test]
    fn places_are_the_same_for_all() {
        let endpoint = |last: u8| Endpoint::Tcp(([10, 0, 0, last], 9001).into());
        let list = [endpoint(7), endpoint(3), endpoint(3), endpoint(5)];
        let place = |ours: u8| among(&list, |address| address == IpAddr::from([10, 0, 0, ours]));
        assert_eq!(
            [place(3), place(5), place(7), place(9)],
            [(3, Some(0)), (3, Some(1)), (3, Some(2)), (3, None)]
        );
        assert_eq!(among(&[], |_| true), (1, None));
        assert!(is_ours(IpAddr::from([127, 0, 0, 1])) && !is_ours(IpAddr::from([192, 0, 2, 1])));
    }

    #[test]
    fn as_it_is_written() {
        assert_eq!("3".parse(), Ok(Gateways::Count(3)));
        assert!(matches!("dns://tasks.fpm-gateway:9001".parse(), Ok(Gateways::Named(_))));
        assert!("0".parse::<Gateways>().is_err());
    }
}
