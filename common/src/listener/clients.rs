use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// How many connections each client has open, and how many it may have.
///
/// A client is an IPv4 address, or a /64 of IPv6, which is what a household or a host is given. Only clients with a
/// connection are remembered.
#[derive(Debug)]
pub struct Clients {
    max: u32,
    shards: Vec<Mutex<HashMap<Client, u32>>>,
    hasher: RandomState,
}

/// One connection among its client's; dropping it gives the place back.
#[derive(Debug)]
pub struct ClientPlace {
    clients: Arc<Clients>,
    client: Client,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    V4(Ipv4Addr),
    V6(u64),
}

/// So many that accepting threads rarely meet at one.
const SHARDS: usize = 64;
/// A map that was large once gives its memory back when it is emptier than this.
const ROOMY: usize = 64;

impl Clients {
    /// `max`: connections at once of each client.
    pub fn new(max: u32) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self { max, shards, hasher: RandomState::new() }
    }

    /// A place for one more connection of this client; `None` when it has all that it may have.
    pub fn enter(self: &Arc<Self>, ip: IpAddr) -> Option<ClientPlace> {
        let client = Client::of(ip);
        {
            let mut shard = self.shard(client)?.lock().unwrap_or_else(PoisonError::into_inner);
            let open = shard.entry(client).or_insert(0);
            if *open >= self.max {
                return None;
            }
            *open += 1;
        }
        Some(ClientPlace { clients: Arc::clone(self), client })
    }

    /// Clients that have a connection.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// There always is one.
    fn shard(&self, client: Client) -> Option<&Mutex<HashMap<Client, u32>>> {
        self.shards.get(self.hasher.hash_one(client) as usize % SHARDS)
    }

    fn leave(&self, client: Client) {
        let Some(shard) = self.shard(client) else { return };
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = shard.get_mut(&client) {
            *open -= 1;
            if *open == 0 {
                shard.remove(&client);
                if shard.capacity() > ROOMY && shard.len() * 8 < shard.capacity() {
                    let room = shard.len() * 2;
                    shard.shrink_to(room);
                }
            }
        }
    }
}

impl Drop for ClientPlace {
    fn drop(&mut self) {
        self.clients.leave(self.client);
    }
}

impl Client {
    fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6((ip.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn each_client_has_its_own_places() {
        let clients = Arc::new(Clients::new(2));
        let enter = |ip: &str| clients.enter(ip.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let _second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let _other = enter("192.0.2.2").unwrap();
        drop(first);
        let _third = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        // A /64 is one client, its neighbour another.
        let _v6 = [enter("2001:db8:0:1::1").unwrap(), enter("2001:db8:0:1:ffff::2").unwrap()];
        assert!(enter("2001:db8:0:1:1::").is_none());
        assert!(enter("2001:db8:0:2::1").is_some());
    }

    #[test]
    fn nothing_is_left_of_those_who_have_left() {
        let clients = Arc::new(Clients::new(1));
        let ips = (0..100_000_u32).map(|number| IpAddr::V4(Ipv4Addr::from_bits(number)));
        let places: Vec<ClientPlace> = ips.map(|ip| clients.enter(ip).unwrap()).collect();
        assert_eq!(clients.len(), 100_000);
        drop(places);
        assert!(clients.is_empty());
        let rooms = clients.shards.iter().map(|shard| shard.lock().unwrap().capacity());
        assert!(rooms.sum::<usize>() <= SHARDS * ROOMY);
    }

    #[test]
    fn threads_that_come_and_go() {
        let clients = Arc::new(Clients::new(5));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for number in 0..10_000_u32 {
                        let ip = IpAddr::V4(Ipv4Addr::from_bits(number % 3));
                        drop(clients.enter(ip));
                    }
                });
            }
        });
        assert!(clients.is_empty());
    }
}
