//! What a router does, and what it says.

use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;

use crate::claims::Seen;
use crate::claims::bytes::{self, Datagram, IP, UDP, v4};
use crate::claims::ground::{Call, Ground, ROUTER, SOON, WWW, list, yes};
use crate::stage::{Halt, KONGMING, LAPTOP};

/// How long one waits for what is not to come.
const SHORT: Duration = Duration::from_millis(300);
/// More than what the kernel leaves between the first two redirects to a host
/// (RT_REDIRECT_LOAD in net/ipv4/route.c).
const BETWEEN_REDIRECTS: Duration = Duration::from_millis(100);
const REDIRECT: u8 = 5;
const TIME_EXCEEDED: u8 = 11;

/// 2.2-7
pub(super) fn time_to_live(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let www = ground.ip(WWW)?;
    let first = if ground.broken { 2 } else { 1 };
    for ttl in [first, 64] {
        let socket = ground.udp(LAPTOP)?;
        SockRef::from(&socket).set_ttl_v4(ttl).call("setsockopt")?;
        socket.connect(SocketAddr::new(www, 9)).call("connect")?;
        socket.send(b"hello").call("send")?;
        let _ = socket.recv(&mut [0]); // Until ICMP says that it is over.
    }
    let behind = ttls_behind(ground)?;
    let said = ground.icmp_from(ROUTER)?;
    let exceeded = said.iter().filter(|m| m[0] == TIME_EXCEEDED).count();
    let evidence = format!(
        "of datagrams with TTL {first} and 64 those with {behind} were seen \
         behind the router, which sent {exceeded} time exceeded",
        behind = list(&behind),
    );
    Ok(Seen::so(behind == [63] && exceeded == 1, evidence))
}

/// 2.5-1
pub(super) fn only_if_asked(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    ground.by_way_of_kongming()?;
    let www = ground.ip(WWW)?;
    let name = "net.ipv4.ip_forward";
    let was = ground.setting(KONGMING, name)?;
    let before = ground.ping(LAPTOP, www, 8, SHORT)?;
    ground.set_on(KONGMING, name, "1")?;
    let after = ground.ping(LAPTOP, www, 8, SOON)?;
    let evidence = format!(
        "by way of Kongming20 an echo request is answered: {before} with \
         ip_forward {was}, {after} with 1",
        before = yes(before),
        after = yes(after),
    );
    Ok(Seen::so(!before && after, evidence))
}

/// 2.5-2
pub(super) fn steps(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let redirect = provoke_redirect(ground)?;
    let Some(redirect) = redirect else {
        return Err(Halt::Missed("waited for a redirect".into()));
    };
    let ttl = redirect[8 + 8];
    let evidence = format!(
        "a datagram with TTL 64 that is redirected is quoted with TTL {ttl}"
    );
    Ok(Seen::other(ttl == 64, ttl == 63, evidence))
}

/// 2.5-3
pub(super) fn arrives_with_one(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let (laptop, www) = ground.ends(LAPTOP, WWW)?;
    let router = v4(ground.ip(ROUTER)?);
    // The router learns whom to answer, and is known.
    ground.ping(LAPTOP, router.into(), 8, SOON)?;
    let udp = bytes::udp((laptop, www), (2001, 9), b"hello");
    let mut datagram = Datagram::new((laptop, www), UDP, &udp);
    datagram.ttl = 1;
    ground.throw(LAPTOP, &datagram.frame(router))?;
    ground.ping(LAPTOP, router.into(), 8, SOON)?;
    let said = ground.icmp_from(ROUTER)?;
    let exceeded = said.iter().filter(|m| m[0] == TIME_EXCEEDED).count();
    let behind = ttls_behind(ground)?;
    let evidence = format!(
        "a datagram that arrives with TTL 1: {exceeded} time exceeded, and \
         {} behind the router",
        behind.len()
    );
    Ok(Seen::other(behind == [0], exceeded == 1 && behind.is_empty(), evidence))
}

/// 2.6-1
pub(super) fn redirect(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    let redirect = provoke_redirect(ground)?;
    let Some(message) = redirect else {
        return Ok(Seen::so(false, "there was no redirect"));
    };
    let router = v4(ground.ip(ROUTER)?).octets();
    let (laptop, www) = ground.ends(LAPTOP, WWW)?;
    let quoted = &message[8..];
    let right = quoted[12..16] == laptop.octets()
        && quoted[16..20] == www.octets()
        && quoted[20] == 8;
    let evidence = format!(
        "ICMP type {} code {} naming the router: {}, with the IP header and the \
         first {} bytes of the echo request: {right}",
        message[0],
        message[1],
        yes(message[4..8] == router),
        quoted.len() - 20,
        right = yes(right),
    );
    let so = message[..2] == [REDIRECT, 1] && message[4..8] == router && right;
    Ok(Seen::so(so, evidence))
}

/// 2.6-2
pub(super) fn what_a_redirect_changes(
    ground: &mut Ground<'_>,
) -> Result<Seen, Halt> {
    let table = |ground: &Ground<'_>| {
        Ok::<String, Halt>(ground.host(LAPTOP)?.net_table("route")?)
    };
    let www = v4(ground.ip(WWW)?);
    ground.by_way_of_kongming()?;
    let (before, hop) = (table(ground)?, ground.next_hop(www)?);
    redirect_to(ground)?;
    let (after, next) = (table(ground)?, ground.next_hop(www)?);
    let cache = ground.host(LAPTOP)?.net_table("rt_cache");
    let cached = cache.map_or(0, |text| text.lines().skip(1).count());
    let evidence = format!(
        "after the redirect `ip route get` says {next} in place of {hop}; the \
         routing table has changed: {}; entries in the routing cache: {cached}",
        yes(before != after)
    );
    let instead = next == ROUTER && hop == KONGMING && before == after;
    Ok(Seen::other(cached > 0, instead, evidence))
}

/// 2.6-3
pub(super) fn redirect_settings(ground: &mut Ground<'_>) -> Result<Seen, Halt> {
    ground.by_way_of_kongming()?;
    let www = v4(ground.ip(WWW)?);
    let default =
        ground.setting(LAPTOP, "net.ipv4.conf.eth0.accept_redirects")?;
    let both: &[&str] = &["all", "eth0"];
    let names = if ground.broken { &both[1..] } else { both };
    for name in names {
        let name = format!("net.ipv4.conf.{name}.accept_redirects");
        ground.set_on(LAPTOP, &name, "0")?;
    }
    redirect_to(ground)?;
    let refused = ground.next_hop(www)?;
    for name in names {
        let name = format!("net.ipv4.conf.{name}.accept_redirects");
        ground.set_on(LAPTOP, &name, "1")?;
    }
    std::thread::sleep(BETWEEN_REDIRECTS);
    redirect_to(ground)?;
    let accepted = ground.next_hop(www)?;
    let evidence = format!(
        "accept_redirects is {default}; after a redirect the next hop is \
         {refused} with 0, {accepted} with 1"
    );
    let so = default == "1" && refused == KONGMING && accepted == ROUTER;
    Ok(Seen::so(so, evidence))
}

/// The redirect that Kongming20 sends to a host that should have asked the
/// router, if it sends one.
pub(in crate::claims) fn provoke_redirect(
    ground: &mut Ground<'_>,
) -> Result<Option<Vec<u8>>, Halt> {
    ground.by_way_of_kongming()?;
    redirect_to(ground)?;
    let said = ground.icmp_from(KONGMING)?;
    Ok(said.into_iter().find(|message| message[0] == REDIRECT))
}

/// An echo request to the Web server by way of Kongming20.
fn redirect_to(ground: &Ground<'_>) -> Result<(), Halt> {
    ground.set_on(KONGMING, "net.ipv4.ip_forward", "1")?;
    let www = ground.ip(WWW)?;
    ground.ping(LAPTOP, www, 8, SOON)?;
    Ok(())
}

/// The TTLs of datagrams for the Web server that the router has sent on.
fn ttls_behind(ground: &Ground<'_>) -> Result<Vec<u8>, Halt> {
    let frames = ground.frames("udp from router")?;
    Ok(frames.iter().map(|frame| frame.2[IP + 8]).collect())
}
