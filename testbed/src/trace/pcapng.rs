//! The frames of a run as a pcapng file (draft-ietf-opsawg-pcapng): one
//! interface a host, and on each frame that the wire touched a comment.

use super::Trace;

const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;

const OPT_COMMENT: u16 = 1;
const SHB_OS: u16 = 3;
const SHB_USERAPPL: u16 = 4;
const IF_NAME: u16 = 2;
const IF_TSRESOL: u16 = 9;

const LINKTYPE_ETHERNET: u16 = 1;
const NANOSECONDS: u8 = 9;

impl Trace {
    /// The file's bytes. Wireshark shows a touched frame's comment above its
    /// decoded headers; `tshark -Y frame.comment` lists those frames.
    pub fn to_pcapng(&self) -> Vec<u8> {
        let mut file = Vec::new();
        block(&mut file, SECTION, &self.section());
        for host in &self.hosts {
            block(&mut file, INTERFACE, &interface(&host.name));
        }
        for (event, frame) in self.frames() {
            let sender = self.hosts.iter().position(|h| h.name == event.host);
            let Some(sender) = sender else { continue };
            let time = self.epoch_ns + event.t_ns;
            let mut body = Vec::with_capacity(frame.bytes.len() + 64);
            for word in [
                sender as u32,
                (time >> 32) as u32,
                time as u32,
                frame.bytes.len() as u32,
                frame.length as u32,
            ] {
                body.extend(word.to_le_bytes());
            }
            body.extend(&frame.bytes);
            pad(&mut body);
            if !frame.wire.is_empty() {
                option(
                    &mut body,
                    OPT_COMMENT,
                    frame.wire.join("; ").as_bytes(),
                );
                end_of_options(&mut body);
            }
            block(&mut file, ENHANCED_PACKET, &body);
        }
        file
    }

    fn section(&self) -> Vec<u8> {
        let mut body = Vec::new();
        body.extend(0x1A2B_3C4D_u32.to_le_bytes()); // byte order
        body.extend([1, 0, 0, 0]); // version 1.0
        body.extend([0xff; 8]); // length not given
        option(&mut body, SHB_OS, format!("Linux {}", self.kernel).as_bytes());
        option(&mut body, SHB_USERAPPL, b"testbed");
        end_of_options(&mut body);
        body
    }
}

fn interface(name: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(LINKTYPE_ETHERNET.to_le_bytes());
    body.extend([0; 6]); // reserved; no limit on a frame's length
    option(&mut body, IF_NAME, format!("{name} eth0").as_bytes());
    option(&mut body, IF_TSRESOL, &[NANOSECONDS]);
    end_of_options(&mut body);
    body
}

fn block(file: &mut Vec<u8>, kind: u32, body: &[u8]) {
    let length = (body.len() as u32 + 12).to_le_bytes();
    file.extend(kind.to_le_bytes());
    file.extend(length);
    file.extend(body);
    file.extend(length);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = &value[..value.len().min(usize::from(u16::MAX))];
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

fn end_of_options(body: &mut Vec<u8>) {
    body.extend([0; 4]);
}

fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}
