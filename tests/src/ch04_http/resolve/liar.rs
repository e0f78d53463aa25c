//! A name server that does not only tell the truth.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use crate::stage::{Halt, KONGMING, Role, Stage};

const DNS_PORT: u16 = 53;
const HEADER: usize = 12;
/// What the lies say.
const FORGED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 66);
const SERVER_FAILURE: u8 = 2;
/// A timeout of 0 would be none (socket(7), SO_RCVTIMEO).
const SHORTEST: Duration = Duration::from_millis(1);
/// How often it is seen whether the program has ended.
const GLANCE: Duration = Duration::from_millis(20);

/// The server, and somebody else on the same host.
pub struct Liar {
    /// Its address.
    pub address: IpAddr,
    socket: UdpSocket,
    other: UdpSocket,
    names: HashMap<String, (String, Ipv4Addr)>,
    asked: HashMap<String, usize>,
}

impl Liar {
    pub fn listen(stage: &mut Stage) -> Result<Liar, Halt> {
        let other = stage.address(KONGMING)?;
        let server = SocketAddr::new(other.ip(), DNS_PORT);
        let bind = |address| -> Result<UdpSocket, Halt> {
            let bound =
                stage.net.host(KONGMING)?.at(|| UdpSocket::bind(address))?;
            bound.map_err(|err| Halt::Missed(format!("bind {address}: {err}")))
        };
        Ok(Liar {
            address: other.ip(),
            socket: bind(server)?,
            other: bind(other)?,
            names: HashMap::new(),
            asked: HashMap::new(),
        })
    }

    pub fn knows(&mut self, name: &str, kind: &str, address: Ipv4Addr) {
        self.names.insert(name.to_string(), (kind.to_string(), address));
    }

    /// Answers until the program has ended.
    pub fn serve(
        &mut self,
        stage: &mut Stage,
        program: Role,
    ) -> Result<(), Halt> {
        stage.patiently(|stage, glance| {
            let gone = stage.program(program).has_closed_its_output();
            let limit = glance.min(GLANCE).max(SHORTEST);
            let mut query = [0; 512];
            let set = self.socket.set_read_timeout(Some(limit));
            set.map_err(|err| Halt::Missed(format!("setsockopt: {err}")))?;
            if let Ok((length, from)) = self.socket.recv_from(&mut query) {
                self.answer(&query[..length], from);
            } else if gone {
                return Ok(Some(()));
            }
            Ok(None)
        })?;
        Ok(())
    }

    fn answer(&mut self, query: &[u8], from: SocketAddr) {
        let Some(name) = name_of(query) else { return };
        let times = self.asked.entry(name.clone()).or_default();
        *times += 1;
        let first = *times == 1;
        let Some((kind, address)) = self.names.get(&name) else { return };
        let right = message(query, 0, *address);
        let forged = message(query, 0, FORGED);
        let say = |bytes: &[u8]| drop(self.socket.send_to(bytes, from));
        match kind.as_str() {
            "silence" => return,
            "another number" => {
                let mut wrong = forged;
                wrong[1] ^= 1;
                say(&wrong);
            }
            "another sender" => drop(self.other.send_to(&forged, from)),
            "another name" => {
                let mut wrong = forged;
                wrong[HEADER + 1] = b'-';
                say(&wrong);
            }
            "a server that cannot say" if first => {
                let mut no = query.to_vec();
                no[2] |= 0x80;
                no[3] = 0x80 | SERVER_FAILURE;
                return say(&no);
            }
            _ => (),
        }
        say(&right);
    }
}

/// The name that a query asks for.
pub fn name_of(query: &[u8]) -> Option<String> {
    let mut at = HEADER;
    let mut labels = Vec::new();
    loop {
        let length = usize::from(*query.get(at)?);
        if length == 0 {
            return Some(labels.join(".").to_ascii_lowercase());
        }
        let label = query.get(at + 1..at + 1 + length)?;
        labels.push(String::from_utf8_lossy(label).into_owned());
        at += 1 + length;
    }
}

/// The query as an answer, with one address.
fn message(query: &[u8], code: u8, address: Ipv4Addr) -> Vec<u8> {
    let mut message = query.to_vec();
    message[2] |= 0x84; // QR and AA
    message[3] = 0x80 | code;
    message[7] = 1;
    message.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    message.extend(address.octets());
    message
}
