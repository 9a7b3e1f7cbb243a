//! Turns on the processor: a connection is one task, whatever is in flight on it, and does a bounded amount of work per
//! turn.
//!
//! The runtime runs tasks in the order in which they are woken. If each call were a task, a client that sends thousands
//! of calls would be served thousands of times before anybody else. Instead, the connection waits for its turn, reads a
//! few frames, serves a few of its calls, and goes back to the end of the queue.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::task::AtomicWaker;
use futures_util::{FutureExt as _, Stream as _};
use pin_project_lite::pin_project;

/// How many calls are polled in a turn. Each takes some ten to fifty microseconds (a stream that catches up takes
/// more), so a turn takes a fraction of a millisecond: long enough to keep the overhead of turns low, and short enough
/// that a caller waiting for several turns (one for each database response) does not notice dozens of busy connections.
const SERVED: usize = 8;

/// How much is read in a turn, in kilobytes or equivalent work: eight calls, so that reading and serving keep pace.
const READ: usize = 256;

/// How often the connection and its calls are polled in a turn, one after the other, while they wake each other: what calls
/// have answered is sent in the same turn. A task that only wakes itself goes to the end of the queue, and the runtime
/// wakes a thread that could take it instead, which costs more than to send a message.
const ROUNDS: usize = 8;

/// What a connection may still do in this turn. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Turn(Arc<Allowance>);

/// Used by one task only, which may run on any thread.
#[derive(Debug, Default)]
struct Allowance {
    read: AtomicUsize,
    served: AtomicUsize,
    is_last: AtomicBool,
    /// Whether what is written is held back …
    holds_back: AtomicBool,
    /// … and something is.
    has_unsent: AtomicBool,
}

impl Turn {
    fn begin(&self) {
        self.0.read.store(READ, Ordering::Relaxed);
        self.0.served.store(SERVED, Ordering::Relaxed);
    }

    fn may_read(&self) -> bool {
        self.0.read.load(Ordering::Relaxed) > 0
    }

    /// Ready if something may be read in this turn; otherwise the task is woken for the next one.
    pub(super) fn poll_may_read(&self, context: &Context<'_>) -> Poll<()> {
        if self.may_read() {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Records how much was read.
    pub(super) fn has_read(&self, cost: usize) {
        let left = self.0.read.load(Ordering::Relaxed);
        self.0.read.store(left.saturating_sub(cost), Ordering::Relaxed);
    }

    /// The client will send nothing more: for HTTP/2 its streams have ended.
    pub(super) fn client_has_left(&self) {
        self.0.is_last.store(true, Ordering::Relaxed);
    }

    /// Whether what is written now is to be sent later in this turn, with whatever else is written by then: each frame of
    /// its own is a call of the system, which costs as much as a call of ours.
    pub(super) fn holds_back(&self) -> bool {
        self.0.holds_back.load(Ordering::Relaxed)
    }

    /// Records whether something is held back.
    pub(super) fn set_unsent(&self, has_unsent: bool) {
        self.0.has_unsent.store(has_unsent, Ordering::Relaxed);
    }

    /// Whether something that was written is not sent yet.
    pub(super) fn has_unsent(&self) -> bool {
        self.0.has_unsent.load(Ordering::Relaxed)
    }

    pub(super) fn hold_back(&self, holds_back: bool) {
        self.0.holds_back.store(holds_back, Ordering::Relaxed);
    }

    fn is_last(&self) -> bool {
        self.0.is_last.load(Ordering::Relaxed)
    }

    /// How many more calls may be polled in this turn.
    fn left(&self) -> usize {
        self.0.served.load(Ordering::Relaxed)
    }

    fn may_serve(&self) -> bool {
        let left = self.left();
        self.0.served.store(left.saturating_sub(1), Ordering::Relaxed);
        left > 0
    }
}

/// Futures that the transport wants to run, until the connection has its turn. Clones share them.
#[derive(Clone, Default)]
pub(super) struct Begun(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Begun {
    /// Runs this future beside the connection; it is dropped with the connection.
    pub(super) fn push(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(future));
    }

    fn is_empty(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

pin_project! {
    /// A connection with everything in flight on it. Returns the connection's result, or `None` once the client has
    /// left.
    pub(super) struct InTurns<C> {
        #[pin]
        connection: C,
        begun: Begun,
        #[pin]
        running: FuturesUnordered<Served>,
        turn: Turn,
        wakings: Arc<Wakings>,
    }

    impl<C> PinnedDrop for InTurns<C> {
        fn drop(this: Pin<&mut Self>) {
            // The transport's futures can start others, and hold `begun` for that.
            drop(this.begun.take());
        }
    }
}

impl<C> InTurns<C> {
    /// A connection that reads as the turn allows, and pushes to `begun` what has to run beside it.
    pub(super) fn new(connection: C, begun: Begun, turn: Turn) -> Self {
        Self { connection, begun, running: FuturesUnordered::new(), turn, wakings: Arc::default() }
    }

    /// Drops everything in flight, and with it shared resources: a place in a queue, a reader, memory.
    pub(super) fn drop_calls(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.running.clear();
        drop(this.begun.take());
    }

    /// The connection itself.
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.project().connection
    }
}

impl<C: Future> Future for InTurns<C> {
    type Output = Option<C::Output>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        this.turn.begin();
        let wakings = this.wakings.clone();
        let waker = Waker::from(wakings.clone());
        let during = &mut Context::from_waker(&waker);
        let mut rounds = 1..ROUNDS;
        let is_over = loop {
            wakings.begin(context.waker());
            this.turn.hold_back(true);
            if let Poll::Ready(output) = this.connection.as_mut().poll(during) {
                return Poll::Ready(Some(output));
            }
            // Also when it has read all that it may: a client that sends without a pause would otherwise pile up its calls.
            while this.turn.left() > 0 && !this.turn.is_last() {
                for future in this.begun.take() {
                    this.running.push(Served { future, turn: this.turn.clone() });
                }
                let left = this.turn.left();
                match this.running.as_mut().poll_next(during) {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) => break,
                    // Returns early if some have woken themselves, so that the others also have their share of the turn.
                    Poll::Pending if (1..left).contains(&this.turn.left()) => {}
                    Poll::Pending => break,
                }
            }
            let is_over = this.turn.left() == 0 || !this.turn.may_read();
            if is_over || this.turn.is_last() || !wakings.has_woken() || rounds.next().is_none() {
                break is_over;
            }
        };
        // The transport sends what it has written.
        this.turn.hold_back(false);
        if this.turn.has_unsent()
            && let Poll::Ready(output) = this.connection.as_mut().poll(during)
        {
            return Poll::Ready(Some(output));
        }
        if this.turn.is_last() {
            return Poll::Ready(None);
        }
        // Calls that came while it did are served in the next turn.
        if wakings.end() || is_over || !this.begun.is_empty() {
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

/// Whether a connection or its calls were woken: during a turn, which then goes on, or after it.
#[derive(Debug, Default)]
struct Wakings {
    state: AtomicUsize,
    task: AtomicWaker,
}

impl Wakings {
    const POLLING: usize = 1;
    const WOKEN: usize = 2;

    fn begin(&self, task: &Waker) {
        self.task.register(task);
        self.state.store(Self::POLLING, Ordering::Release);
    }

    /// Whether something was woken since it began.
    fn has_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) & Self::WOKEN != 0
    }

    /// Whether something was woken since it began. From here on the task is woken.
    fn end(&self) -> bool {
        self.state.swap(0, Ordering::AcqRel) & Self::WOKEN != 0
    }
}

impl Wake for Wakings {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.fetch_or(Self::WOKEN, Ordering::AcqRel) & Self::POLLING == 0 {
            self.task.wake();
        }
    }
}

/// The futures beside a connection, polled in its turns.
struct Served {
    future: BoxFuture<'static, ()>,
    turn: Turn,
}

impl Future for Served {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if !self.turn.may_serve() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        // A panic concerns a single call, and was logged when it happened: the transport resets the stream.
        let polled = AssertUnwindSafe(self.future.as_mut()).catch_unwind().poll_unpin(context);
        polled.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use super::*;

    #[test]
    fn a_turn_serves_so_many_calls_and_the_next_one_goes_on_where_it_ended() {
        let (begun, turn, served) = (Begun::default(), Turn::default(), Arc::<AtomicUsize>::default());
        for _ in 0..2 * SERVED + 1 {
            let served = served.clone();
            begun.push(async move {
                served.fetch_add(1, Ordering::Relaxed);
            });
        }
        let mut connection = Box::pin(InTurns::new(pending::<()>(), begun.clone(), turn));
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut take_turn = || assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        for expected in [SERVED, 2 * SERVED, 2 * SERVED + 1] {
            take_turn();
            assert_eq!(served.load(Ordering::Relaxed), expected);
            assert!(woken.0.swap(0, Ordering::Relaxed) > 0 || expected > 2 * SERVED);
        }
        begun.push(async { panic!("a call fails") });
        begun.push(async move {
            served.fetch_add(1, Ordering::Relaxed);
        });
        take_turn();
        assert!(connection.running.is_empty());
    }

    #[test]
    fn streams_that_wake_themselves_are_served_as_often_as_calls() {
        let (begun, served) = (Begun::default(), Arc::<AtomicUsize>::default());
        for _ in 0..SERVED {
            let served = served.clone();
            begun.push(poll_fn(move |context| {
                served.fetch_add(1, Ordering::Relaxed);
                context.waker().wake_by_ref();
                Poll::Pending
            }));
        }
        let mut connection = Box::pin(InTurns::new(pending::<()>(), begun, Turn::default()));
        assert!(connection.as_mut().now_or_never().is_none());
        assert_eq!(served.load(Ordering::Relaxed), SERVED);
    }

    #[test]
    fn a_connection_that_ends_leaves_nothing_behind_of_what_has_not_begun() {
        let (begun, held) = (Begun::default(), Arc::new(()));
        let connection = {
            let (begun, held) = (begun.clone(), held.clone());
            async move {
                begun.push({
                    let begun = begun.clone();
                    async move { drop((begun, held)) }
                });
            }
        };
        let connection = Box::pin(InTurns::new(connection, begun, Turn::default()));
        assert!(connection.now_or_never().is_some());
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_connection_ends_when_its_client_has_left_whatever_its_transport_still_wants() {
        let turn = Turn::default();
        let mut connection = Box::pin(InTurns::new(pending::<()>(), Begun::default(), turn.clone()));
        assert_eq!(connection.as_mut().now_or_never(), None);
        turn.client_has_left();
        assert_eq!(connection.now_or_never(), Some(None));
    }

    #[test]
    fn a_connection_that_waits_for_its_end_holds_nothing_of_its_calls() {
        let (begun, held) = (Begun::default(), Arc::new(()));
        let hold = |held: Arc<()>| async move {
            pending::<()>().await;
            drop(held);
        };
        begun.push(hold(held.clone()));
        let mut connection = Box::pin(InTurns::new(pending::<()>(), begun.clone(), Turn::default()));
        assert_eq!(connection.as_mut().now_or_never(), None);
        begun.push(hold(held.clone()));
        assert_eq!(Arc::strong_count(&held), 3);
        connection.as_mut().drop_calls();
        assert_eq!(Arc::strong_count(&held), 1);
    }

    #[test]
    fn a_turn_reads_so_much() {
        let (turn, woken) = (Turn::default(), Arc::new(Woken::default()));
        let waker = Waker::from(woken.clone());
        let context = Context::from_waker(&waker);
        turn.begin();
        turn.has_read(READ - 1);
        assert!(turn.poll_may_read(&context).is_ready());
        turn.has_read(READ);
        assert!(turn.poll_may_read(&context).is_pending());
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        turn.begin();
        assert!(turn.poll_may_read(&context).is_ready());
    }

    #[test]
    fn a_connection_that_reads_all_that_it_may_serves_its_calls_in_the_same_turn() {
        let (begun, turn, served) = (Begun::default(), Turn::default(), Arc::<AtomicUsize>::default());
        let connection = poll_fn({
            let (begun, turn, served) = (begun.clone(), turn.clone(), served.clone());
            move |context| {
                while turn.poll_may_read(context).is_ready() {
                    turn.has_read(READ / SERVED);
                    let served = served.clone();
                    begun.push(async move {
                        served.fetch_add(1, Ordering::Relaxed);
                    });
                }
                Poll::<()>::Pending
            }
        });
        let mut connection = Box::pin(InTurns::new(connection, begun, turn));
        for turns in 1..4 {
            assert_eq!(connection.as_mut().now_or_never(), None);
            assert_eq!(served.load(Ordering::Relaxed), turns * SERVED);
        }
    }

    #[test]
    fn what_calls_answer_is_sent_in_the_same_turn() {
        let (begun, polled) = (Begun::default(), Arc::<AtomicUsize>::default());
        let to_send = Arc::<AtomicWaker>::default();
        let connection = poll_fn({
            let (polled, to_send) = (polled.clone(), to_send.clone());
            move |context| {
                polled.fetch_add(1, Ordering::Relaxed);
                to_send.register(context.waker());
                Poll::<()>::Pending
            }
        });
        begun.push(async move { to_send.wake() });
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut connection = Box::pin(InTurns::new(connection, begun, Turn::default()));
        assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!((polled.load(Ordering::Relaxed), woken.0.load(Ordering::Relaxed)), (2, 0));
    }

    #[test]
    fn whatever_wakes_itself_again_and_again_has_a_bounded_turn_and_is_woken_for_the_next() {
        let polled = Arc::<AtomicUsize>::default();
        let connection = poll_fn({
            let polled = polled.clone();
            move |context| {
                polled.fetch_add(1, Ordering::Relaxed);
                context.waker().wake_by_ref();
                Poll::<()>::Pending
            }
        });
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut connection = Box::pin(InTurns::new(connection, Begun::default(), Turn::default()));
        assert!(connection.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!((polled.load(Ordering::Relaxed), woken.0.load(Ordering::Relaxed)), (ROUNDS, 1));
    }

    #[test]
    fn a_waker_that_is_kept_wakes_the_task_that_polled_last() {
        let kept = Arc::<AtomicWaker>::default();
        let connection = poll_fn({
            let kept = kept.clone();
            move |context| {
                kept.register(context.waker());
                Poll::<()>::Pending
            }
        });
        let mut connection = Box::pin(InTurns::new(connection, Begun::default(), Turn::default()));
        let tasks = [(); 2].map(|()| Arc::new(Woken::default()));
        let mut waker = None;
        for task in &tasks {
            assert!(connection.as_mut().poll(&mut Context::from_waker(&Waker::from(task.clone()))).is_pending());
            waker = waker.or(kept.take());
        }
        // From another thread, after the turn.
        std::thread::spawn(move || waker.unwrap().wake()).join().unwrap();
        assert_eq!(tasks.each_ref().map(|task| task.0.load(Ordering::Relaxed)), [0, 1]);
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
