//! Bounds the answers that are built and not yet taken: for a connection, for a caller, and for all together.
//!
//! A client that opens no window costs nothing while it asks; its answers do, as long as they are held. So a call reserves
//! what its answer may take before it is judged, and waits in turn while others hold that. Once the answer is built the
//! reservation is what it really takes, and is given back with its last byte. A command that has waited in vain was never
//! judged.
//!
//! Streams have quotas of their own and are bounded by memory alone: whoever reads slowly is not ended.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use http::Extensions;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::rpc::{Class, Rpc, Shape};
use super::status::Failure;
use super::transport::Deadline;
use crate::clock::pause;
use crate::domain::{Caller, UserId};

/// What the answer of a list may take until it is known what it does: more than the longest page of most lists.
const LIST_KIB: u32 = 4 * 1024;

/// What any other answer may take: more than most do. As many as a connection can have in flight are no reason to wait.
const OTHER_KIB: u32 = 4;

/// The pages of lists that are not taken, of all callers.
const ALL_LISTS_KIB: u32 = 64 * 1024;

/// When so much is not taken in all, more of it gets less time.
const ALL_UNTAKEN_KIB: u32 = 96 * 1024;

/// How much time that is.
const PRESSED_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a call waits for its turn.
const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// The answers of all connections.
#[derive(Debug)]
pub struct AnswerBudget {
    /// For each connection; 0 for any number.
    connection_kib: u32,
    all_lists: Arc<Semaphore>,
    /// What is built and was not taken at once.
    untaken_kib: AtomicU32,
    /// What each caller holds of pages, over all connections.
    callers: Mutex<HashMap<UserId, Arc<Semaphore>>>,
}

/// The answers on one connection. Clones share them.
#[derive(Clone, Debug)]
pub struct Answers(Arc<Shares>);

#[derive(Debug)]
struct Shares {
    budget: Arc<AnswerBudget>,
    lists: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

/// The answer of one call, from before the call is judged until nobody holds a byte of it.
#[derive(Debug)]
pub struct Answer {
    answers: Answers,
    /// Whether there is one message, and what it takes; unset for streams.
    reserved: OnceLock<(Shape, Reservation)>,
    is_built: AtomicBool,
    kib: AtomicU32,
}

/// An answer that was not taken at once, for as long as it is not.
#[derive(Debug)]
pub struct Untaken {
    budget: Arc<AnswerBudget>,
    kib: u32,
}

/// What it takes of the shares of a connection, of a caller and of all.
type Reservation = [Option<Hold>; 3];

/// What is held of one share.
#[derive(Debug)]
struct Hold {
    share: Arc<Semaphore>,
    kib: AtomicU32,
}

impl AnswerBudget {
    /// So many bytes for each connection; 0 for any number.
    pub fn new(connection_bytes: u32) -> Arc<Self> {
        let connection_kib = connection_bytes.div_ceil(1024);
        Arc::new(Self {
            connection_kib,
            all_lists: share(ALL_LISTS_KIB),
            untaken_kib: AtomicU32::default(),
            callers: Mutex::default(),
        })
    }

    /// The answers of a new connection.
    pub fn connection(self: &Arc<Self>) -> Answers {
        // A quarter is kept for what is no list: a client that does not take its pages holds up no command.
        let others = self.connection_kib.div_ceil(4);
        let lists = self.connection_kib.saturating_sub(others);
        Answers(Arc::new(Shares { budget: self.clone(), lists: share(lists), others: share(others) }))
    }

    /// The share of a caller, which may hold on all connections what it may hold on one.
    fn share_of(&self, caller: &UserId) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = callers.get(caller) {
            return share.clone();
        }
        // Those that hold nothing are forgotten when there are as many again.
        if callers.len() == callers.capacity() {
            callers.retain(|_, share| Arc::strong_count(share) > 1);
        }
        callers.entry(caller.clone()).or_insert_with(|| share(self.connection_kib)).clone()
    }
}

fn share(kib: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(permits(kib)))
}

fn permits(kib: u32) -> usize {
    usize::try_from(kib).unwrap_or(Semaphore::MAX_PERMITS).min(Semaphore::MAX_PERMITS)
}

/// Reserves what the answer of a call may take, and waits for its turn if others hold that.
///
/// Fails with OVERLOADED when its turn does not come in time.
pub(super) async fn reserve(rpc: &Rpc, extensions: &Extensions, deadline: Option<Deadline>) -> Result<(), Failure> {
    let Some(answer) = extensions.get::<Arc<Answer>>() else { return Ok(()) };
    let shares = &*answer.answers.0;
    let reserved = match (rpc.class, rpc.shape) {
        (Class::Stream, _) | (_, Shape::ServerStreaming | Shape::BidiStreaming) => return Ok(()),
        // Whoever asks after our health is answered, whatever else is held.
        (Class::Open, Shape::Unary) => [None, None, None],
        (Class::List, Shape::Unary) => shares.list(extensions.get(), deadline).await?,
        (Class::Command | Class::Read, Shape::Unary) => shares.other(deadline).await?,
    };
    // It is the first one: a call has one answer.
    let _ = answer.reserved.set((rpc.shape, reserved));
    Ok(())
}

impl Shares {
    async fn list(&self, caller: Option<&Caller>, deadline: Option<Deadline>) -> Result<Reservation, Failure> {
        let connection_kib = self.budget.connection_kib;
        if connection_kib == 0 {
            return Ok([None, None, None]);
        }
        let kib = LIST_KIB.min(connection_kib.saturating_sub(connection_kib.div_ceil(4)));
        let of_caller = caller.map(|caller| self.budget.share_of(&caller.user));
        let turn = async {
            let of_caller = match of_caller {
                Some(share) => hold(&share, kib).await,
                None => None,
            };
            [of_caller, hold(&self.lists, kib).await, hold(&self.budget.all_lists, kib).await]
        };
        in_turn(turn, deadline).await
    }

    async fn other(&self, deadline: Option<Deadline>) -> Result<Reservation, Failure> {
        if self.budget.connection_kib == 0 {
            return Ok([None, None, None]);
        }
        let kib = OTHER_KIB.min(self.budget.connection_kib.div_ceil(4));
        let held = match self.others.try_acquire_many(kib) {
            Ok(permit) => Some(Hold::of(self.others.clone(), permit, kib)),
            Err(_) => in_turn(hold(&self.others, kib), deadline).await?,
        };
        Ok([held, None, None])
    }
}

async fn in_turn<T>(turn: impl Future<Output = T>, deadline: Option<Deadline>) -> Result<T, Failure> {
    let passes = async {
        match deadline {
            Some(deadline) => deadline.passes().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        held = turn => Ok(held),
        () = pause(TURN_TIMEOUT) => Err(Failure::overloaded()),
        () = passes => Err(Failure::deadline_exceeded()),
    }
}

/// Waits until there is so much of a share. Cancel safe.
async fn hold(share: &Arc<Semaphore>, kib: u32) -> Option<Hold> {
    // A share is never closed.
    let permit = share.acquire_many(kib).await.ok()?;
    Some(Hold::of(share.clone(), permit, kib))
}

impl Hold {
    fn of(share: Arc<Semaphore>, permit: SemaphorePermit<'_>, kib: u32) -> Self {
        permit.forget();
        Self { share, kib: AtomicU32::new(kib) }
    }

    fn settle(&self, takes: u32) {
        let held = self.kib.load(Ordering::Acquire);
        let now_held = if takes <= held {
            self.share.add_permits(permits(held.saturating_sub(takes)));
            takes
        } else {
            // It is built: nothing is gained by waiting for what it lacks.
            let got = self.share.forget_permits(permits(takes.saturating_sub(held)));
            held.saturating_add(u32::try_from(got).unwrap_or(u32::MAX))
        };
        self.kib.store(now_held, Ordering::Release);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.share.add_permits(permits(*self.kib.get_mut()));
    }
}

impl Answers {
    /// The answer of the next call.
    pub fn next(&self) -> Arc<Answer> {
        Arc::new(Answer {
            answers: self.clone(),
            reserved: OnceLock::new(),
            is_built: AtomicBool::default(),
            kib: AtomicU32::default(),
        })
    }
}

impl Answer {
    /// The message is built and takes so many bytes. Nothing for streams, which have many.
    pub fn built(&self, bytes: usize) {
        let Some((Shape::Unary, reserved)) = self.reserved.get() else { return };
        let takes = u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX);
        reserved.iter().flatten().for_each(|hold| hold.settle(takes));
        self.kib.store(takes, Ordering::Release);
        self.is_built.store(true, Ordering::Release);
    }

    /// It was not taken at once: counts it for as long as it is not, and returns how long that may be where memory is
    /// short.
    pub fn untaken(&self) -> (Untaken, Option<Duration>) {
        let budget = self.answers.0.budget.clone();
        let kib = self.kib.load(Ordering::Acquire);
        let before = budget.untaken_kib.fetch_add(kib, Ordering::AcqRel);
        let is_pressed = before.saturating_add(kib) > ALL_UNTAKEN_KIB;
        (Untaken { budget, kib }, is_pressed.then_some(PRESSED_TIMEOUT))
    }

    /// Whether all that is left is to take it.
    pub fn is_built(&self) -> bool {
        self.is_built.load(Ordering::Acquire)
    }
}

impl Drop for Untaken {
    fn drop(&mut self) {
        self.budget.untaken_kib.fetch_sub(self.kib, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::grpc::rpc;

    fn reserved(answers: &Answers, path: &str) -> Option<Arc<Answer>> {
        let answer = answers.next();
        let mut extensions = Extensions::new();
        extensions.insert(answer.clone());
        let rpc = rpc::find(path).unwrap();
        reserve(rpc, &extensions, None).now_or_never()?.unwrap();
        drop(extensions);
        Some(answer)
    }

    const LIST: &str = "/disputes.v1.DisputeService/ListDisputes";
    const GET: &str = "/disputes.v1.DisputeService/GetDispute";

    #[tokio::test]
    async fn a_list_waits_while_others_are_not_taken_and_a_command_does_not() {
        let budget = AnswerBudget::new(16 * 1024 * 1024);
        let answers = budget.connection();
        let mut held: Vec<_> = (0..3).map(|_| reserved(&answers, LIST).unwrap()).collect();
        assert!(reserved(&answers, LIST).is_none(), "three may take 4 MiB each, a quarter is for others");
        assert!(reserved(&answers, GET).is_some());
        for answer in &held {
            answer.built(1024 * 1024);
        }
        held.extend((0..2).map(|_| reserved(&answers, LIST).unwrap()));
        assert!(reserved(&answers, LIST).is_none(), "3 MiB are built, 8 reserved, 1 is left");
        held.truncate(2);
        assert!(reserved(&answers, LIST).is_some(), "what is taken is given back");
        held.clear();
        let all = answers.0.lists.available_permits();
        assert_eq!(all, 12 * 1024, "to the last");
    }

    #[tokio::test]
    async fn an_answer_that_is_longer_than_expected_is_given_back_as_it_was_held() {
        let budget = AnswerBudget::new(16 * 1024 * 1024);
        let answers = budget.connection();
        let answer = reserved(&answers, GET).unwrap();
        answer.built(64 * 1024 * 1024);
        assert!(reserved(&answers, GET).is_none());
        drop(answer);
        assert_eq!(answers.0.others.available_permits(), 4 * 1024);
    }

    #[tokio::test]
    async fn answers_have_less_time_while_very_much_is_not_taken() {
        let budget = AnswerBudget::new(0);
        let answers = budget.connection();
        let answer = reserved(&answers, GET).unwrap();
        answer.built(95 * 1024 * 1024);
        let (first, time) = answer.untaken();
        assert_eq!(time, None);
        assert_eq!(answer.untaken().1, Some(PRESSED_TIMEOUT));
        drop(first);
        assert_eq!(answer.untaken().1, None);
    }

    #[tokio::test]
    async fn a_thousand_commands_in_flight_have_no_reason_to_wait() {
        let budget = AnswerBudget::new(16 * 1024 * 1024);
        let answers = budget.connection();
        let held: Vec<_> = (0..1_024).map(|_| reserved(&answers, GET).unwrap()).collect();
        assert!(reserved(&answers, GET).is_none());
        drop(held);
    }
}
