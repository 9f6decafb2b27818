#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;

use super::*;

/// Answers that a test changes while they are polled.
#[derive(Default)]
struct Scripted(Mutex<Option<Vec<IpAddr>>>);

impl Scripted {
    fn say(&self, answer: Option<&[&str]>) {
        *self.0.lock().unwrap() = answer.map(|ips| ips.iter().map(|ip| ip.parse().unwrap()).collect());
    }
}

impl Lookup for Scripted {
    fn lookup<'a>(
        &'a self,
        _: &'a str,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<IpAddr>, DnsError>> + Send + 'a>> {
        let answer = self.0.lock().unwrap().clone();
        Box::pin(async move { answer.ok_or(DnsError::TimedOut) })
    }
}

fn texts(endpoints: &Endpoints) -> Vec<String> {
    endpoints.iter().map(ToString::to_string).collect()
}

#[test]
fn targets() {
    let name = |host: &str, port| Ok(Target::Name { host: host.into(), port });
    assert_eq!("dns://tasks.phpfpm:9000".parse(), name("tasks.phpfpm", 9000));
    assert_eq!("phpfpm:9000".parse(), name("phpfpm", 9000));
    assert_eq!("10.0.0.1:9000".parse(), Ok(Target::Fixed(Endpoint::Tcp(([10, 0, 0, 1], 9000).into()))));
    assert_eq!("unix:/run/fpm.sock".parse(), Ok(Target::Fixed(Endpoint::Unix("/run/fpm.sock".into()))));
    for bad in ["", "phpfpm", ":9000", "phpfpm:0", "dns://unix:/x", "http://x:80", "10.0.0.1:0"] {
        assert_eq!(bad.parse::<Target>(), Err(TargetError), "{bad}");
    }
}

#[tokio::test]
async fn fixed_targets_are_there_at_once_and_once() {
    let shutdown = Shutdown::new(Duration::ZERO);
    let targets = ["10.0.0.2:9000", "10.0.0.1:9000", "10.0.0.2:9000"].map(|t| t.parse().unwrap());
    let endpoints = discover_with(targets.into(), Duration::from_secs(1), None, &shutdown);
    assert_eq!(texts(&endpoints.borrow()), ["10.0.0.1:9000", "10.0.0.2:9000"]);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_followed_and_a_failed_answer_keeps_the_last_good_one() {
    let dns = Arc::new(Scripted::default());
    let shutdown = Shutdown::new(Duration::ZERO);
    let target = "dns://tasks.phpfpm:9000".parse().unwrap();
    let mut endpoints = discover_with(vec![target], Duration::from_secs(1), Some(dns.clone()), &shutdown);
    assert!(endpoints.borrow_and_update().is_empty());

    dns.say(Some(&["10.0.0.2", "10.0.0.1", "10.0.0.2"]));
    endpoints.changed().await.unwrap();
    assert_eq!(texts(&endpoints.borrow_and_update()), ["10.0.0.1:9000", "10.0.0.2:9000"]);

    for bad in [None, Some(&[][..])] {
        dns.say(bad);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(!endpoints.has_changed().unwrap(), "{bad:?}");
    }

    dns.say(Some(&["10.0.0.1"]));
    endpoints.changed().await.unwrap();
    assert_eq!(texts(&endpoints.borrow_and_update()), ["10.0.0.1:9000"]);

    shutdown.drain();
    assert!(endpoints.changed().await.is_err(), "the poll ends with the drain");
    assert_eq!(endpoints.borrow().len(), 1, "and the last list stays");
}

#[tokio::test(start_paused = true)]
async fn who_comes_before_the_first_answer_waits_for_it_and_not_for_ever() {
    let (sender, endpoints) = watch::channel(Endpoints::from([]));
    let patience = Duration::from_secs(2);
    let began = tokio::time::Instant::now();
    assert!(known(&endpoints, patience).await.is_empty());
    assert_eq!(began.elapsed(), patience);

    let one: Endpoints = [Endpoint::Unix("/run/one.sock".into())].into();
    let (found, ()) = tokio::join!(known(&endpoints, patience), async {
        tokio::time::sleep(patience / 2).await;
        sender.send_replace(Endpoints::clone(&one));
    });
    assert_eq!(found, one);
    assert_eq!(began.elapsed(), patience * 3 / 2);

    // What is known is there at once, also when nobody looks any more.
    drop(sender);
    assert_eq!(known(&endpoints, patience).await, one);
    let (sender, never) = watch::channel(Endpoints::from([]));
    drop(sender);
    assert!(known(&never, patience).await.is_empty());
    assert_eq!(began.elapsed(), patience * 3 / 2);
}

/// A DNS server of one answer, to see the real resolver ask a named server over UDP.
#[tokio::test]
async fn the_resolver_asks_the_server_it_is_given() {
    let server = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, from)) = server.recv_from(&mut packet).await {
            // The question ends after its name's zero byte, type and class (RFC 1035, section 4.1.2).
            let name_end = 12 + packet[12..length].iter().position(|b| *b == 0).unwrap();
            let mut answer = packet[..name_end + 5].to_vec();
            answer[2..12].copy_from_slice(&[0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4, 10, 0, 0, 7]);
            server.send_to(&answer, from).await.unwrap();
        }
    });
    let dns = Dns::new(Some(address), Duration::from_secs(2)).unwrap();
    assert_eq!(dns.lookup("tasks.phpfpm").await.unwrap(), ["10.0.0.7".parse::<IpAddr>().unwrap()]);
}
