//! Where a packet is sent.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::claims::Seen;
use crate::claims::bytes::v4;
use crate::claims::ground::{Ground, ROUTER, SOON, yes};
use crate::stage::{Halt, KONGMING, LAPTOP};

/// How long one waits for what is not to come.
const SHORT: Duration = Duration::from_millis(300);
const LAN: &str = "192.168.1.0/24";
/// RTF_UP, RTF_GATEWAY and RTF_HOST of <linux/route.h>, as `route` names them.
const FLAGS: [(u32, char); 3] = [(1, 'U'), (2, 'G'), (4, 'H')];

/// 2.4-1
pub(super) fn longest_prefix(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (router, kongming) = (ground.ip(ROUTER)?, ground.ip(KONGMING)?);
    let outside = |last| Ipv4Addr::new(203, 0, 113, last);
    let laptop = ground.host(LAPTOP)?;
    laptop.add_route(&format!("203.0.113.0/24 via {router}"))?;
    laptop.add_route(&format!("203.0.113.64/26 via {kongming}"))?;
    let inner = ground.next_hop(outside(80))?;
    let outer = ground.next_hop(outside(10))?;
    let evidence = format!(
        "with routes to 203.0.113.0/24 by the router and 203.0.113.64/26 by \
         Kongming20: .80, which is in both, by {inner}; .10 by {outer}"
    );
    let longest = inner == KONGMING && outer == ROUTER;
    Ok(Seen::other(!longest, longest, evidence))
}

/// 2.4-2
pub(super) fn flags(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let router = v4(ground.ip(ROUTER)?);
    let server = Ipv4Addr::new(203, 0, 113, 53);
    let laptop = ground.host(LAPTOP)?;
    laptop.add_route(&format!("{server} via {router}"))?;
    if ground.broken {
        laptop.add_route(&format!("{router} dev eth0"))?;
        laptop.replace_route(&format!("{LAN} via {router}"))?;
    }
    let table = ground.host(LAPTOP)?.net_table("route")?;
    let network = Ipv4Addr::new(192, 168, 1, 0);
    let row = |to: Ipv4Addr| {
        let to = format!("{:08X}", u32::from_ne_bytes(to.octets()));
        let rows = table.lines().map(|l| l.split('\t').collect::<Vec<_>>());
        let mut rows = rows.filter(|row| row.get(1) == Some(&to.as_str()));
        let row = rows.next()?;
        let bits = u32::from_str_radix(row.get(3)?, 16).ok()?;
        let flags = FLAGS.iter().filter(|(bit, _)| bits & bit != 0);
        let flags: String = flags.map(|(_, letter)| letter).collect();
        Some((flags, row.get(2)? != &"00000000"))
    };
    let [default, lan, host] = [Ipv4Addr::UNSPECIFIED, network, server]
        .map(|to| row(to).unwrap_or_default());
    let told = |(flags, gateway): &(String, bool)| match gateway {
        true => format!("{flags} with a gateway"),
        false => format!("{flags} without"),
    };
    let evidence = format!(
        "default: {}; the LAN: {}; one host: {}",
        told(&default),
        told(&lan),
        told(&host)
    );
    let so = default == ("UG".into(), true)
        && lan == ("U".into(), false)
        && host == ("UGH".into(), true);
    Ok(Seen::so(so, evidence))
}

/// 2.4-3
pub(super) fn host_route_alone(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let kongming = v4(ground.ip(KONGMING)?);
    let laptop = ground.host(LAPTOP)?;
    laptop.add_route(&format!("{kongming} dev eth0"))?;
    laptop.replace_route(&format!("default via {kongming}"))?;
    laptop.delete_route(LAN)?;
    let itself = ground.ping(LAPTOP, kongming.into(), 8, SOON)?;
    let other = ground.ping(LAPTOP, ground.ip(ROUTER)?, 8, SHORT)?;
    let forwards = ground.setting(KONGMING, "net.ipv4.ip_forward")?;
    let evidence = format!(
        "Kongming20 answers: {itself}; another machine of the LAN: {other}, \
         with ip_forward {forwards} on Kongming20",
        itself = yes(itself),
        other = yes(other),
    );
    Ok(Seen::so(itself && !other, evidence))
}
