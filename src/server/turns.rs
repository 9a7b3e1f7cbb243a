//! Turns on the processor: what one client begins does not queue up before what others have begun.
//!
//! The runtime runs tasks in the order in which they are woken, and each call has a task of its own: a client that sends
//! thousands of calls at once would be served thousands of times before anybody else. So nothing more is read from a
//! connection while some of its calls wait for their first turn, and no more connections are accepted while some wait
//! for theirs.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use pin_project_lite::pin_project;

/// So many may wait for their first turn. One takes some ten microseconds, so that others have theirs within a
/// millisecond, and there are enough for all cores.
const MOST: usize = 16;

/// Once so few wait, more may come.
const FEW: usize = MOST / 2;

/// Those of one origin that wait for their first turn. Clones share them; only one task may ask for room.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<State>);

#[derive(Debug, Default)]
struct State {
    waiting: AtomicUsize,
    room: AtomicWaker,
}

impl Turns {
    /// Ready once no more wait than may.
    pub(super) fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.0.room.register(context.waker());
        // Their turns may have come meanwhile.
        if self.has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn has_room(&self) -> bool {
        self.0.waiting.load(Ordering::Acquire) < MOST
    }

    /// The future, which waits for its first turn from now on.
    pub(super) fn queue<F>(&self, future: F) -> Queued<F> {
        self.0.waiting.fetch_add(1, Ordering::AcqRel);
        Queued { future, waiting: Some(Waiting(self.0.clone())) }
    }
}

/// One that waits for its first turn.
struct Waiting(Arc<State>);

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.0.waiting.fetch_sub(1, Ordering::AcqRel) == FEW + 1 {
            self.0.room.wake();
        }
    }
}

pin_project! {
    /// A future that tells when it has its first turn.
    pub(super) struct Queued<F> {
        #[pin]
        future: F,
        waiting: Option<Waiting>,
    }
}

impl<F: Future> Future for Queued<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // The others are woken when this turn is over, not before it.
        let _waiting = this.waiting.take();
        this.future.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};

    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn there_is_room_until_as_many_wait_as_may_and_again_when_few_do() {
        let turns = Turns::default();
        let room = || poll_fn(|context| turns.poll_room(context)).now_or_never();
        let mut queued: Vec<_> = (0..MOST)
            .map(|_| {
                assert_eq!(room(), Some(()));
                Box::pin(turns.queue(pending::<()>()))
            })
            .collect();
        assert_eq!(room(), None);
        let woken = Arc::new(Woken::default());
        let waker = std::task::Waker::from(woken.clone());
        assert_eq!(turns.poll_room(&Context::from_waker(&waker)), Poll::Pending);
        let last = queued.pop();
        for (turn, each) in queued.iter_mut().enumerate() {
            assert_eq!(woken.0.load(Ordering::Relaxed), usize::from(turn >= MOST - FEW), "{turn}");
            assert!(each.now_or_never().is_none());
        }
        assert_eq!(room(), Some(()));
        // A second turn counts for nothing, and one that never comes counts as one.
        assert!(queued.iter_mut().all(|each| each.now_or_never().is_none()));
        drop((queued, last));
        assert_eq!(turns.0.waiting.load(Ordering::Relaxed), 0);
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}
