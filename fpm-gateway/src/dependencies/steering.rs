//! The parameters that tell PHP where its database and its cache are.
//!
//! They are formatted when they change and shared by all requests until they change again: a request pays for a
//! load and for counting three references.

use arc_swap::ArcSwap;
use bytes::Bytes;
use common::fastcgi::Params;
use common::net::Endpoint;

/// What is set on every request.
#[derive(Debug, Default)]
pub struct Steering(ArcSwap<Values>);

/// What is not known is not set: PHP then uses what it finds in its own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Values {
    writer: Option<Bytes>,
    readers: Option<Bytes>,
    /// Empty when it is known that no server can be used.
    memcached: Option<Bytes>,
}

impl Steering {
    pub fn galera(&self, writer: &Endpoint, readers: &[Endpoint]) {
        let (writer, readers) = (list(std::slice::from_ref(writer)), list(readers));
        self.0.rcu(|values| Values {
            writer: Some(writer.clone()),
            readers: Some(readers.clone()),
            memcached: values.memcached.clone(),
        });
    }

    pub fn memcached(&self, servers: &[Endpoint]) {
        let servers = list(servers);
        self.0.rcu(|values| Values { memcached: Some(servers.clone()), ..Values::clone(values) });
    }

    /// Sets the parameters, which were stripped of what came from outside; gives back the writer that PHP is told.
    pub fn apply(&self, params: &mut Params) -> Option<Bytes> {
        let values = self.0.load();
        let named = [
            ("GALERA_WRITER", &values.writer),
            ("GALERA_READERS", &values.readers),
            ("MEMCACHED_SERVERS", &values.memcached),
        ];
        for (name, value) in named {
            if let Some(value) = value {
                params.push(name, value.clone());
            }
        }
        values.writer.clone()
    }
}

/// `host:port`, separated by commas.
fn list(endpoints: &[Endpoint]) -> Bytes {
    let texts: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    texts.join(",").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(last: u8, port: u16) -> Endpoint {
        Endpoint::Tcp(([10, 0, 0, last], port).into())
    }

    fn set(steering: &Steering) -> Vec<(String, String)> {
        let mut params = Params::new();
        steering.apply(&mut params);
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        params.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    #[test]
    fn what_is_known_is_set() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let steering = Steering::default();
        assert_eq!(set(&steering), []);
        steering.memcached(&[endpoint(7, 11211), endpoint(8, 11211)]);
        assert_eq!(set(&steering), [pair("MEMCACHED_SERVERS", "10.0.0.7:11211,10.0.0.8:11211")]);
        let (first, second) =
            (endpoint(1, 3306), Endpoint::Tcp("[fd00::1]:3306".parse().unwrap_or(([0; 4], 0).into())));
        steering.galera(&second, &[first, second.clone()]);
        steering.memcached(&[]);
        assert_eq!(
            set(&steering),
            [
                pair("GALERA_WRITER", "[fd00::1]:3306"),
                pair("GALERA_READERS", "10.0.0.1:3306,[fd00::1]:3306"),
                pair("MEMCACHED_SERVERS", ""),
            ]
        );
    }
}
