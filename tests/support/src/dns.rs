//! A DNS server with one answer, which it gives only from a certain moment on.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::gate::Gate;

/// Answers every question with loopback's address once the gate is open; questions before that get no answer.
#[derive(Debug)]
pub struct FakeDns {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl FakeDns {
    pub async fn start(gate: &Gate) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let gate = gate.clone();
        let task = tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut packet).await {
                if gate.is_open()
                    && let Some(answer) = packet.get(..length).and_then(answer)
                {
                    // Whoever has gone asks no more.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Self { address, task })
    }

    /// For `--dns-server`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }
}

impl Drop for FakeDns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The question ends after its name's zero byte, type and class (RFC 1035, section 4.1.2).
fn answer(question: &[u8]) -> Option<Vec<u8>> {
    let name_end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)?;
    let mut answer = question.get(..name_end + 5)?.to_vec();
    answer.get_mut(2..12)?.copy_from_slice(&[0x84, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    // The name again, type A, class IN, 600 s, four bytes.
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 2, 88, 0, 4]);
    answer.extend(Ipv4Addr::LOCALHOST.octets());
    Some(answer)
}
