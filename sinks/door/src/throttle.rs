// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A delay that grows with each wrong password, for each network on its own.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use vfio_display_sinks::network;

/// How wrong passwords are answered. The defaults let a person mistype, and let a machine try some
/// 300 passwords in a day.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries without a delay.
    pub free: u32,
    /// After the last of them; it doubles with each that follows.
    pub first: Duration,
    /// It grows no further.
    pub longest: Duration,
    /// So long after the last try, one of them is forgotten, and another after as long again. Not
    /// less than `longest`, or that is never reached.
    pub forget: Duration,
    /// Networks that are told apart. Beyond that, new ones are counted together.
    pub networks: usize,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            free: 3,
            first: Duration::from_secs(1),
            longest: Duration::from_secs(300),
            forget: Duration::from_secs(600),
            networks: 4096,
        }
    }
}

/// Counts for those that found no room: few, so that they are never a way to a count of one's own.
const SHARED: usize = 256;

/// Tries of one network, as far as they are not forgotten.
#[derive(Clone, Copy, Debug)]
struct Count {
    tries: u32,
    last: Instant,
}

/// Who tried how often.
///
/// A try counts from when it is made, so that many at once are many, and is taken back where the
/// password was right. The earlier ones stay: who has one password must not be able to wipe out his
/// tries for another's. A count is only ever dropped when all of it is forgotten. Where there is no
/// room for another, the new network shares one with its neighbours: of 2^16 for IPv4, of 2^96 for
/// IPv6, whose larger networks are handed out to anybody.
#[derive(Debug)]
pub struct Throttle {
    patience: Patience,
    own: HashMap<IpAddr, Count>,
    shared: Vec<Option<Count>>,
    /// Random for each process, so that nobody chooses with whom he shares.
    hasher: RandomState,
}

impl Throttle {
    /// One that has seen nobody yet.
    pub fn new(patience: Patience) -> Self {
        let hasher = RandomState::new();
        Self { patience, own: HashMap::new(), shared: vec![None; SHARED], hasher }
    }

    /// Counts a try.
    ///
    /// # Errors
    ///
    /// How long it is too soon for one. It is not counted then.
    pub fn begin(&mut self, from: IpAddr, now: Instant) -> Result<(), Duration> {
        let place = self.place(from, now);
        let tries = match self.get(place) {
            Some(count) => {
                let tries = self.patience.left(count, now);
                let wait = self.patience.delay(tries);
                let wait = (count.last + wait).saturating_duration_since(now);
                if !wait.is_zero() {
                    return Err(wait);
                }
                tries
            }
            None => 0,
        };
        self.set(place, Count { tries: tries.saturating_add(1), last: now });
        Ok(())
    }

    /// The try was a good one, or there was none after all.
    pub fn take_back(&mut self, from: IpAddr, now: Instant) {
        let place = self.place(from, now);
        if let Some(count) = self.get(place) {
            self.set(place, Count { tries: count.tries.saturating_sub(1), ..count });
        }
    }

    /// Networks that have a count of their own.
    pub fn networks(&self) -> usize {
        self.own.len()
    }

    fn place(&mut self, from: IpAddr, now: Instant) -> Place {
        let network = network(from);
        let Self { patience, own, .. } = self;
        if own.len() >= patience.networks && !own.contains_key(&network) {
            own.retain(|_, count| patience.left(*count, now) > 0);
            if own.len() >= patience.networks {
                return Place::Shared(self.hasher.hash_one(neighbours(network)) as usize % SHARED);
            }
        }
        Place::Own(network)
    }

    fn get(&self, place: Place) -> Option<Count> {
        match place {
            Place::Own(network) => self.own.get(&network).copied(),
            Place::Shared(index) => self.shared[index],
        }
    }

    fn set(&mut self, place: Place, count: Count) {
        match place {
            Place::Own(network) => _ = self.own.insert(network, count),
            Place::Shared(index) => self.shared[index] = Some(count),
        }
    }
}

/// Where a count is kept.
#[derive(Clone, Copy, Debug)]
enum Place {
    Own(IpAddr),
    Shared(usize),
}

impl Patience {
    /// Tries that are not forgotten yet.
    fn left(&self, count: Count, now: Instant) -> u32 {
        let since = now.saturating_duration_since(count.last).as_nanos();
        let forgotten = since.checked_div(self.forget.as_nanos()).unwrap_or(u128::MAX);
        count.tries.saturating_sub(u32::try_from(forgotten).unwrap_or(u32::MAX))
    }

    /// From a try to the next, after so many.
    fn delay(&self, tries: u32) -> Duration {
        match tries.checked_sub(self.free) {
            None => Duration::ZERO,
            Some(doubled) => {
                let times = 1_u32.checked_shl(doubled).unwrap_or(u32::MAX);
                self.first.saturating_mul(times).min(self.longest)
            }
        }
    }
}

/// What a network has neighbours in: a /16 of IPv4, a /32 of IPv6.
fn neighbours(network: IpAddr) -> u32 {
    match network {
        IpAddr::V4(network) => network.to_bits() >> 16,
        IpAddr::V6(network) => (network.to_bits() >> 96) as u32,
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Tries as often as it is let for so long; answers with how often that was.
    fn tries(throttle: &mut Throttle, from: IpAddr, mut now: Instant, time: Duration) -> u32 {
        let end = now + time;
        let mut count = 0;
        while now < end {
            match throttle.begin(from, now) {
                Ok(()) => count += 1,
                Err(wait) => {
                    let early = now + wait - Duration::from_nanos(1);
                    assert!(throttle.begin(from, early).is_err(), "not a nanosecond sooner");
                    now += wait;
                }
            }
        }
        count
    }

    #[test]
    fn a_machine_gets_few_tries() {
        let start = Instant::now();
        for (time, most) in [(MINUTE, 8), (60 * MINUTE, 22), (24 * 60 * MINUTE, 298)] {
            let mut throttle = Throttle::new(Patience::default());
            let count = tries(&mut throttle, address("192.0.2.1"), start, time);
            println!("{count} tries in {time:?}");
            assert_eq!(count, most, "in {time:?}");
        }
    }

    #[test]
    fn the_delay_grows_and_is_forgotten() {
        let mut throttle = Throttle::new(Patience::default());
        let from = address("192.0.2.1");
        let mut now = Instant::now();
        (0..3).for_each(|_| throttle.begin(from, now).unwrap());
        for seconds in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            assert_eq!(throttle.begin(from, now), Err(Duration::from_secs(seconds)));
            // Asking is not trying.
            assert_eq!(throttle.begin(from, now), Err(Duration::from_secs(seconds)));
            now += Duration::from_secs(seconds);
            throttle.begin(from, now).unwrap();
        }
        // 14 tries; each is forgotten after ten minutes.
        now += 121 * MINUTE;
        (0..1).for_each(|_| throttle.begin(from, now).unwrap());
        assert_eq!(throttle.begin(from, now), Err(Duration::from_secs(1)));
        // Others have waited for nothing of it.
        throttle.begin(address("192.0.2.2"), now).unwrap();
    }

    #[test]
    fn a_right_password_takes_back_its_own_try_alone() {
        let mut throttle = Throttle::new(Patience::default());
        let from = address("192.0.2.1");
        let mut now = Instant::now();
        for _ in 0..1000 {
            throttle.begin(from, now).unwrap();
            throttle.take_back(from, now);
        }
        // He who has one password tries for another's, and shows his own in between.
        let mut wrong = 0;
        for _ in 0..60 {
            if throttle.begin(from, now).is_ok() {
                wrong += 1;
            }
            if throttle.begin(from, now).is_ok() {
                throttle.take_back(from, now);
            }
            now += Duration::from_secs(1);
        }
        assert!((4..=8).contains(&wrong), "{wrong} in a minute; without his own it is 8");
    }

    #[test]
    fn neighbours_by_ipv6_are_one() {
        let mut throttle = Throttle::new(Patience::default());
        let now = Instant::now();
        for host in ["2001:db8:0:7::1", "2001:db8:0:7::2", "2001:db8:0:7:ffff::1"] {
            throttle.begin(address(host), now).unwrap();
        }
        assert!(throttle.begin(address("2001:db8:0:7::3"), now).is_err());
        throttle.begin(address("2001:db8:0:8::1"), now).unwrap();
        // An IPv4 address is the same whatever socket it comes by.
        (0..3).for_each(|_| throttle.begin(address("192.0.2.1"), now).unwrap());
        assert!(throttle.begin(address("::ffff:192.0.2.1"), now).is_err());
        throttle.begin(address("192.0.2.2"), now).unwrap();
    }

    #[test]
    fn a_flood_of_networks_takes_no_memory_and_resets_nobody() {
        let patience = Patience { networks: 100, ..Patience::default() };
        let mut throttle = Throttle::new(patience);
        let now = Instant::now();
        let known = address("192.0.2.1");
        (0..3).for_each(|_| throttle.begin(known, now).unwrap());
        // A /48, of which anybody can have one.
        let mut let_try = 0;
        for network in 0..20_000_u128 {
            let from = Ipv6Addr::from((0x2001_0db8_0001 << 80) | network << 64).into();
            let_try += u32::from(throttle.begin(from, now).is_ok());
        }
        assert_eq!(throttle.networks(), 100);
        assert_eq!(let_try, 99 + patience.free, "those that shared, as one");
        assert!(throttle.begin(known, now).is_err(), "it is still known");
        // Of those who come from elsewhere meanwhile, one in 256 shares with the flood.
        let elsewhere = (0..200_u8).map(|i| IpAddr::from([11, i, 0, 1]));
        let held_up = elsewhere.filter(|from| throttle.begin(*from, now).is_err()).count();
        assert!(held_up < 20, "{held_up} of 200");
        // When all is forgotten there is room again.
        let later = now + 40 * MINUTE;
        throttle.begin(address("198.51.100.1"), later).unwrap();
        assert_eq!(throttle.networks(), 1);
    }

    #[test]
    fn a_clock_that_goes_back_is_no_way_in() {
        let mut throttle = Throttle::new(Patience::default());
        let from = address("192.0.2.1");
        let now = Instant::now() + MINUTE;
        (0..3).for_each(|_| throttle.begin(from, now).unwrap());
        assert_eq!(throttle.begin(from, now - MINUTE), Err(MINUTE + Duration::from_secs(1)));
    }
}
