//! How often a party may ask, and how often an address may fail to say who it is: token buckets.
//!
//! A bucket that is not known is full. So only a bounded number of them is kept, those that are used most: names that are made
//! up without end cost no more memory, and take nothing from anybody.

use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;

use super::rpc::{Class, Rpc};
use super::status::Failure;
use crate::clock::{RealInstant, real_now};
use crate::domain::{Caller, UserId};

/// How many seconds' worth of tokens a full bucket holds.
const BURST_SECONDS: u32 = 10;

/// How many buckets of a kind are kept: a few MiB with the longest names.
const BUCKETS: usize = 16_384;

/// The texts of a command cost a token more for so many bytes. They are written several times over, and a caller who sends
/// two thousand of the longest a second would fill disks.
const BYTES_PER_TOKEN: usize = 1_024;

/// How many failed logins are logged a second, and ten times as many at once, of all addresses together: an attacker with many
/// of them must not fill the log.
const LOGGED_FAILED_LOGINS: u32 = 20;

/// How many tokens a second each bucket gets, and ten times as many at once; 0 for any number.
#[derive(Clone, Copy, Debug)]
pub struct RateBounds {
    /// For the commands of a party.
    pub commands: u32,
    /// For the reads of a party.
    pub reads: u32,
    /// For the calls of an address that do not say who calls.
    pub failed_logins: u32,
}

/// The address that a client comes from, as the server knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerAddress(pub IpAddr);

/// The buckets of everybody.
#[derive(Debug)]
pub struct Rates {
    commands: Rate<UserId>,
    reads: Rate<UserId>,
    failed_logins: Rate<IpAddr>,
    log: FailedLoginLog,
}

impl Rates {
    /// Full buckets for everybody.
    pub fn new(bounds: RateBounds) -> Self {
        let clock = SinceStart(real_now());
        Self {
            commands: Rate::new(bounds.commands, clock),
            reads: Rate::new(bounds.reads, clock),
            failed_logins: Rate::new(bounds.failed_logins, clock),
            log: FailedLoginLog::new(clock),
        }
    }

    /// Lets a caller make a call, if it may now. Those with a scope are services and agents of the marketplace itself.
    pub(super) fn admit(&self, caller: &Caller, rpc: &Rpc) -> Result<(), Failure> {
        if caller.scope.is_some() {
            return Ok(());
        }
        let admitted = match rpc.class {
            Class::Command => self.commands.take(&caller.user, 1),
            Class::Read | Class::List | Class::Stream => self.reads.take(&caller.user, 1),
            Class::Open => Ok(()),
        };
        admitted.map_err(|wait| Failure::rate_limited("the caller sends too many requests", wait))
    }

    /// A call of a command that only asks what would come of it: it counts as a read, not as a command, which it counted as
    /// so far.
    pub(super) fn only_asks(&self, caller: &Caller) -> Result<(), Failure> {
        if caller.scope.is_some() {
            return Ok(());
        }
        self.commands.give_back(&caller.user);
        let admitted = self.reads.take(&caller.user, 1);
        admitted.map_err(|wait| Failure::rate_limited("the caller sends too many requests", wait))
    }

    /// Takes for the texts of a command what they cost beside the call.
    pub(super) fn admit_texts(&self, caller: &Caller, bytes: usize) -> Result<(), Failure> {
        if caller.scope.is_some() {
            return Ok(());
        }
        let tokens = u32::try_from(bytes / BYTES_PER_TOKEN).unwrap_or(u32::MAX);
        let admitted = self.commands.take(&caller.user, tokens);
        admitted.map_err(|wait| Failure::rate_limited("the caller sends too many long texts", wait))
    }

    /// What a call without a valid credential is told: what is wrong with it, or that there are too many of them. Only these
    /// are counted, so that nobody can lock out those who come from the same address and can say who they are.
    pub(super) fn refuse_login(&self, peer: Option<PeerAddress>, failure: Failure) -> Failure {
        let taken = match peer {
            Some(PeerAddress(address)) if failure.is_of_the_credential() => {
                self.failed_logins.take(&network(address), 1)
            }
            Some(_) | None => Ok(()),
        };
        match taken {
            Ok(()) => {
                self.log.note(peer, &failure);
                failure
            }
            Err(wait) => {
                Failure::rate_limited("too many calls without a valid credential came from this address", wait)
            }
        }
    }
}

/// Logs failed logins, without any part of the credential. Those that are rate limited are not logged; of the others, so many a
/// second whatever the addresses and the flag, and the rest is counted.
#[derive(Debug)]
struct FailedLoginLog<C: Clock = SinceStart> {
    lines: Rate<(), C>,
    /// How many have not been logged since one was.
    suppressed: AtomicU64,
}

impl<C: Clock> FailedLoginLog<C> {
    fn new(clock: C) -> Self {
        Self { lines: Rate::new(LOGGED_FAILED_LOGINS, clock), suppressed: AtomicU64::new(0) }
    }

    fn note(&self, peer: Option<PeerAddress>, failure: &Failure) {
        if !failure.is_of_the_credential() {
            return;
        }
        let Some(suppressed) = self.begin_line() else { return };
        if suppressed > 0 {
            tracing::warn!(suppressed, "too many callers could not be authenticated to log each of them");
        }
        let address = peer.map(|PeerAddress(address)| tracing::field::display(address));
        let reason = failure.reason.as_str_name().trim_start_matches("ERROR_REASON_");
        tracing::warn!(address, reason, why = failure.message, "a caller could not be authenticated");
    }

    /// Returns how many have not been logged since the last one that was, if this one may be logged.
    fn begin_line(&self) -> Option<u64> {
        if self.lines.take(&(), 1).is_err() {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(self.suppressed.swap(0, Ordering::Relaxed))
    }
}

/// Who has one address of IPv6 has all of its network.
fn network(address: IpAddr) -> IpAddr {
    const PREFIX: u128 = u128::MAX << 64;
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & PREFIX).into(),
    }
}

/// Buckets, and how fast they fill.
type Limiter<K, C> = RateLimiter<K, Buckets<K>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// A bucket for each key, or none at all.
struct Rate<K: Key, C: Clock = SinceStart> {
    limiter: Option<Limiter<K, C>>,
    buckets: Buckets<K>,
    /// How many tokens a bucket holds.
    burst: u32,
    /// How long it takes until a token is there.
    interval: Nanos,
}

/// Whose bucket it is.
trait Key: Clone + Eq + Hash {}

impl Key for UserId {}
impl Key for IpAddr {}
/// Everybody together.
impl Key for () {}

impl<K: Key, C: Clock> Rate<K, C> {
    fn new(per_second: u32, clock: C) -> Self {
        let burst = per_second.saturating_mul(BURST_SECONDS);
        let quota = NonZeroU32::new(per_second).zip(NonZeroU32::new(burst));
        let quota = quota.map(|(per_second, burst)| Quota::per_second(per_second).allow_burst(burst));
        let buckets = Buckets(Arc::new(Cache::new(BUCKETS)));
        let interval = quota.map(|quota| quota.replenish_interval().into()).unwrap_or_default();
        let limiter = quota.map(|quota| RateLimiter::new(quota, buckets.clone(), clock));
        Self { limiter, buckets, burst, interval }
    }

    /// Gives back a token that was taken. A bucket that has been full meanwhile is no fuller.
    fn give_back(&self, key: &K) {
        let earlier =
            |time: Option<Nanos>| Ok::<_, Infallible>(((), time.unwrap_or_default().saturating_sub(self.interval)));
        match self.buckets.measure_and_replace(key, earlier) {
            Ok(()) => {}
            Err(impossible) => match impossible {},
        }
    }

    /// Takes so many tokens, or all that a bucket holds if that is less; otherwise none, and returns how long it takes
    /// until they are there.
    fn take(&self, key: &K, tokens: u32) -> Result<(), Duration> {
        let Some((limiter, tokens)) = self.limiter.as_ref().zip(NonZeroU32::new(tokens.min(self.burst))) else {
            return Ok(());
        };
        match limiter.check_key_n(key, tokens) {
            // More than there can be were not asked for.
            Ok(Ok(())) | Err(_) => Ok(()),
            Ok(Err(not_until)) => Err(not_until.wait_time_from(limiter.clock().now())),
        }
    }
}

impl<K: Key, C: Clock> fmt::Debug for Rate<K, C> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Rate").field("burst", &self.burst).finish_non_exhaustive()
    }
}

/// The buckets that are not full, and some that are.
#[derive(Clone)]
struct Buckets<K: Key>(Arc<Cache<K, Arc<InMemoryState>>>);

impl<K: Key> StateStore for Buckets<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, f: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let full = || Ok::<_, Infallible>(Arc::default());
        match self.0.get_or_insert_with(key, full) {
            Ok(bucket) => bucket.measure_and_replace(&NotKeyed::NonKey, f),
            Err(impossible) => match impossible {},
        }
    }
}

/// Real time, which no manual clock moves.
#[derive(Clone, Copy, Debug)]
struct SinceStart(RealInstant);

impl Clock for SinceStart {
    type Instant = Duration;

    fn now(&self) -> Duration {
        real_now().saturating_duration_since(self.0)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn user(number: usize) -> UserId {
        UserId::parse(&format!("user{number}")).unwrap()
    }

    fn rate(per_second: u32) -> (Rate<UserId, FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        // The first nanosecond is no time at all to a bucket.
        clock.advance(SECOND);
        (Rate::new(per_second, clock.clone()), clock)
    }

    #[test]
    fn ten_seconds_worth_is_taken_at_once_and_then_one_whenever_it_has_come_back() {
        let (rate, clock) = rate(4);
        for _ in 0..40 {
            assert_eq!(rate.take(&user(1), 1), Ok(()));
        }
        let quarter = SECOND / 4;
        assert_eq!(rate.take(&user(1), 1), Err(quarter));
        assert_eq!(rate.take(&user(1), 3), Err(quarter * 3), "as long as it takes for all of them");
        assert_eq!(rate.take(&user(2), 1), Ok(()), "another one has its own");
        clock.advance(quarter - Duration::from_millis(1));
        assert_eq!(rate.take(&user(1), 1), Err(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!((rate.take(&user(1), 1), rate.take(&user(1), 1)), (Ok(()), Err(quarter)));
        clock.advance(SECOND * 100);
        let taken = (0..).take_while(|_| rate.take(&user(1), 1).is_ok()).count();
        assert_eq!(taken, 40, "it holds no more however long nothing is taken");
        clock.advance(SECOND * 10);
        assert_eq!(rate.take(&user(1), 1_000), Ok(()), "all that it holds, where more is asked for");
        assert_eq!(rate.take(&user(1), 1), Err(quarter));
    }

    #[test]
    fn no_rate_is_no_bound() {
        let (rate, _clock) = rate(0);
        assert!((0..100_000).all(|_| rate.take(&user(1), 1).is_ok()));
    }

    #[test]
    fn names_that_are_made_up_cost_no_more_memory_and_whoever_is_refused_stays_refused() {
        let (rate, _clock) = rate(1);
        while rate.take(&user(0), 1).is_ok() {}
        for number in 1..=4 * BUCKETS {
            assert_eq!(rate.take(&user(number), 1), Ok(()));
            assert!(number % 100 > 0 || rate.take(&user(0), 1).is_err(), "after {number} others");
        }
        let Buckets(kept) = rate.limiter.unwrap().into_state_store();
        assert!(kept.len() <= BUCKETS, "{} of them", kept.len());
    }

    #[test]
    fn so_many_failed_logins_are_logged_whatever_their_number_and_the_rest_is_counted() {
        let clock = FakeRelativeClock::default();
        clock.advance(SECOND);
        let log = FailedLoginLog::new(clock.clone());
        let lines: Vec<_> = (0..1_000).filter_map(|_| log.begin_line()).collect();
        assert_eq!(lines, [0; 200]);
        clock.advance(SECOND);
        let lines: Vec<_> = (0..1_000).filter_map(|_| log.begin_line()).collect();
        assert_eq!((lines.len(), lines[0], lines[1..].iter().sum()), (20, 800, 0));
        clock.advance(SECOND);
        assert_eq!((log.begin_line(), log.begin_line()), (Some(980), Some(0)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let of = |address: &str| network(address.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_ne!(of("10.0.0.1"), of("10.0.0.2"));
        assert_eq!(of("::ffff:10.0.0.1"), of("10.0.0.1"));
    }
}
