//! A DNS server on loopback that answers as it is told, over UDP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    Addresses(Vec<Ipv4Addr>),
    /// NOERROR without a record.
    Empty,
    /// SERVFAIL
    Failure,
    /// NXDOMAIN
    NoSuchName,
    /// None at all.
    Silence,
    /// This much later.
    Late(Duration, Vec<Ipv4Addr>),
}

pub(crate) struct Names {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

struct State {
    answer: Answer,
    asked: usize,
}

const A: [u8; 2] = [0, 1];

impl Names {
    pub(crate) async fn start(answer: Answer) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { answer, asked: 0 }));
        let told = Arc::clone(&state);
        let task = tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                let answer = {
                    let mut state = told.lock().unwrap();
                    state.asked += 1;
                    state.answer.clone()
                };
                let (question, socket) = (packet[..length].to_vec(), Arc::clone(&socket));
                tokio::spawn(async move {
                    if let Answer::Late(time, _) = answer {
                        tokio::time::sleep(time).await;
                    }
                    if let Some(reply) = reply(&question, &answer) {
                        socket.send_to(&reply, from).await.unwrap();
                    }
                });
            }
        });
        Self { address, state, task }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn say(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// RFC 1035, section 4.1.
fn reply(question: &[u8], answer: &Answer) -> Option<Vec<u8>> {
    let (addresses, code): (&[Ipv4Addr], u8) = match answer {
        Answer::Addresses(addresses) | Answer::Late(_, addresses) => (addresses, 0),
        Answer::Empty => (&[], 0),
        Answer::Failure => (&[], 2),
        Answer::NoSuchName => (&[], 3),
        Answer::Silence => return None,
    };
    let name_end = 12 + question[12..].iter().position(|byte| *byte == 0)?;
    let mut reply = question[..name_end + 5].to_vec();
    let addresses = if question[name_end + 1..name_end + 3] == A { addresses } else { &[] };
    let count = u8::try_from(addresses.len()).ok()?;
    reply[2..12].copy_from_slice(&[0x84, 0x80 | code, 0, 1, 0, count, 0, 0, 0, 0]);
    for address in addresses {
        // The name above, A, IN, 600 s as Swarm has it.
        reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4]);
        reply.extend(address.octets());
    }
    Some(reply)
}
