//! Turns and bounds, and that nothing is lost whichever caller goes away when.

use std::collections::VecDeque;
use std::pin::Pin;

use futures_util::FutureExt as _;
use proptest::prelude::*;

use super::*;

const ROOMY: QueueBounds = QueueBounds { per_caller: usize::MAX, in_all: usize::MAX };

type Acquiring = Pin<Box<dyn Future<Output = Result<Permit, NoPermit>> + Send>>;

fn acquiring(semaphore: &Arc<FairSemaphore>, lane: usize, caller: u64, bounds: QueueBounds) -> Acquiring {
    let semaphore = semaphore.clone();
    Box::pin(async move { semaphore.acquire(lane, caller, bounds, None).await })
}

/// The result so far.
fn polled(acquiring: &mut Acquiring) -> Option<Result<Permit, NoPermit>> {
    acquiring.now_or_never()
}

fn held(semaphore: &Arc<FairSemaphore>, lane: usize, caller: u64) -> Permit {
    polled(&mut acquiring(semaphore, lane, caller, ROOMY)).unwrap().unwrap()
}

/// Requests that wait, each polled once.
fn waiting(semaphore: &Arc<FairSemaphore>, requests: &[(usize, u64)]) -> VecDeque<(usize, u64, Acquiring)> {
    let wait = |&(lane, caller): &(usize, u64)| {
        let mut request = acquiring(semaphore, lane, caller, ROOMY);
        assert!(polled(&mut request).is_none(), "({lane}, {caller}) does not wait");
        (lane, caller, request)
    };
    requests.iter().map(wait).collect()
}

/// Returns permits until nobody waits. Returns who held a permit, in order.
fn served(permit: Permit, mut waiting: VecDeque<(usize, u64, Acquiring)>) -> Vec<(usize, u64)> {
    let (mut order, mut permit) = (Vec::new(), Some(permit));
    while !waiting.is_empty() {
        drop(permit.take());
        let mut granted = None;
        for (place, (lane, caller, request)) in waiting.iter_mut().enumerate() {
            if let Some(next) = polled(request) {
                assert!(granted.is_none(), "one permit was given back");
                order.push((*lane, *caller));
                granted = Some((place, next.unwrap()));
            }
        }
        let (place, next) = granted.unwrap();
        drop(waiting.remove(place));
        permit = Some(next);
    }
    order
}

fn is_empty(semaphore: &FairSemaphore, permits: usize) -> bool {
    let state = semaphore.lock();
    let is_idle = |lane: &Lane| lane.callers.is_empty() && lane.round.is_empty() && lane.waiting == 0;
    state.free == permits && state.lanes.iter().all(is_idle)
}

#[test]
fn callers_take_turns_whoever_asked_first_and_for_how_much() {
    let semaphore = FairSemaphore::new(1);
    let permit = held(&semaphore, 0, 1);
    let requests = [(0, 1), (0, 1), (0, 1), (0, 2), (0, 2), (0, 3)];
    let order = served(permit, waiting(&semaphore, &requests));
    assert_eq!(order, [(0, 2), (0, 3), (0, 1), (0, 2), (0, 1), (0, 1)]);
    assert!(is_empty(&semaphore, 1));
}

#[test]
fn lanes_take_turns_before_callers_do() {
    let semaphore = FairSemaphore::new(1);
    let permit = held(&semaphore, 1, 9);
    let requests = [(1, 1), (1, 2), (1, 3), (1, 4), (0, 5), (0, 5), (2, 6)];
    let order = served(permit, waiting(&semaphore, &requests));
    assert_eq!(order, [(0, 5), (1, 1), (2, 6), (0, 5), (1, 2), (1, 3), (1, 4)]);
}

#[test]
fn one_caller_never_has_all_of_several_permits() {
    let semaphore = FairSemaphore::new(3);
    let mine = [held(&semaphore, 0, 1), held(&semaphore, 0, 1)];
    let mut third = waiting(&semaphore, &[(0, 1)]);
    let others = held(&semaphore, 0, 2);
    assert!(polled(&mut third[0].2).is_none());
    drop(others);
    assert!(polled(&mut third[0].2).is_none(), "what is free is not for this one");
    drop(mine);
    assert!(polled(&mut third[0].2).unwrap().is_ok());
}

#[test]
fn so_many_wait_and_one_more_does_not() {
    let semaphore = FairSemaphore::new(1);
    let permit = held(&semaphore, 0, 1);
    let bounds = QueueBounds { per_caller: 3, in_all: 7 };
    let mut requests: Vec<Acquiring> = Vec::new();
    let mut ask = |caller: u64| {
        let mut request = acquiring(&semaphore, 0, caller, bounds);
        let refused = polled(&mut request).map(|asked| asked.map(drop).unwrap_err());
        if refused.is_none() {
            requests.push(request);
        }
        refused
    };
    assert_eq!([ask(1), ask(1), ask(1)], [None; 3]);
    assert_eq!(ask(1), Some(NoPermit::QueueFull), "of one caller");
    assert_eq!([ask(2), ask(2), ask(2)], [None, None, Some(NoPermit::QueueFull)], "there is room for two more");
    assert_eq!([ask(3), ask(4), ask(5)], [None, None, Some(NoPermit::QueueFull)], "of all");
    requests.truncate(1);
    drop(permit);
    drop(requests);
    assert!(is_empty(&semaphore, 1));
}

#[tokio::test]
async fn who_waits_too_long_is_told_so_and_leaves_nothing_behind() {
    let semaphore = FairSemaphore::new(1);
    let permit = held(&semaphore, 0, 1);
    let moment = Some(Duration::from_millis(1));
    let refused = semaphore.acquire(0, 2, ROOMY, moment).await.map(drop);
    assert_eq!(refused, Err(NoPermit::TimedOut));
    drop(permit);
    assert!(is_empty(&semaphore, 1));
    assert!(semaphore.acquire(0, 2, ROOMY, moment).await.is_ok());
}

#[test]
fn a_permit_that_nobody_came_for_goes_to_the_next_one() {
    let semaphore = FairSemaphore::new(1);
    let permit = held(&semaphore, 0, 1);
    let mut requests = waiting(&semaphore, &[(0, 2), (0, 3)]);
    drop(permit);
    // Granted, and dropped before it was received.
    drop(requests.pop_front());
    assert!(polled(&mut requests[0].2).unwrap().is_ok());
    drop(requests);
    assert!(is_empty(&semaphore, 1));
}

/// An action of a caller.
#[derive(Clone, Debug)]
enum Act {
    Ask {
        lane: usize,
        caller: u64,
    },
    /// Returns a permit.
    Release(prop::sample::Index),
    /// Goes away, granted or not.
    GoAway(prop::sample::Index),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (0..LANES, 0..4_u64).prop_map(|(lane, caller)| Act::Ask { lane, caller }),
        3 => any::<prop::sample::Index>().prop_map(Act::Release),
        2 => any::<prop::sample::Index>().prop_map(Act::GoAway),
    ]
}

proptest! {
    #[test]
    fn no_permit_is_lost_and_nobody_waits_in_vain(permits in 1..5_usize, acts in prop::collection::vec(act(), 0..200)) {
        let semaphore = FairSemaphore::new(permits);
        let share = semaphore.share;
        let mut waiting: Vec<(usize, u64, Acquiring)> = Vec::new();
        let mut held: Vec<(usize, u64, Permit)> = Vec::new();
        for act in acts {
            match act {
                Act::Ask { lane, caller } => waiting.push((lane, caller, acquiring(&semaphore, lane, caller, ROOMY))),
                Act::Release(which) if !held.is_empty() => drop(held.swap_remove(which.index(held.len()))),
                Act::GoAway(which) if !waiting.is_empty() => drop(waiting.remove(which.index(waiting.len()))),
                Act::Release(_) | Act::GoAway(_) => continue,
            }
            let mut still = Vec::new();
            let mut passed_over = Vec::new();
            for (lane, caller, mut request) in waiting.drain(..) {
                match polled(&mut request) {
                    Some(permit) => {
                        prop_assert!(!passed_over.contains(&(lane, caller)), "each caller's come in order");
                        held.push((lane, caller, permit.unwrap()));
                    }
                    None => {
                        passed_over.push((lane, caller));
                        still.push((lane, caller, request));
                    }
                }
            }
            waiting = still;
            let held_by = |lane, caller| held.iter().filter(|(l, c, _)| (*l, *c) == (lane, caller)).count();
            prop_assert!(held.len() <= permits);
            prop_assert!(held.iter().all(|(lane, caller, _)| held_by(*lane, *caller) <= share));
            let could_go_on = waiting.iter().any(|(lane, caller, _)| held_by(*lane, *caller) < share);
            prop_assert!(held.len() == permits || !could_go_on, "a permit is free, and somebody waits for it");
        }
        drop((waiting, held));
        prop_assert!(is_empty(&semaphore, permits));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_who_go_away_at_any_moment_leave_nothing_behind() {
    let semaphore = FairSemaphore::new(2);
    let ask = |number: u64| {
        let semaphore = semaphore.clone();
        tokio::spawn(async move {
            let patience = number.is_multiple_of(2).then(|| Duration::from_micros(number.rem_euclid(700)));
            let asking = semaphore.acquire(number.is_multiple_of(3).into(), number % 7, ROOMY, patience);
            // Some are dropped while they wait or as they are granted, as by callers that go away.
            let asked = timeout(Duration::from_micros(number.rem_euclid(1_100)), asking).await;
            tokio::task::yield_now().await;
            drop(asked);
        })
    };
    for round in 0..20_u64 {
        let asking: Vec<_> = (0..200).map(|number| ask(round.saturating_mul(200).saturating_add(number))).collect();
        for asked in asking {
            asked.await.unwrap();
        }
    }
    assert!(is_empty(&semaphore, 2));
}
