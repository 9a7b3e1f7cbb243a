//! The queue is bounded, and every caller gets a share of it and its turn.

use std::collections::BTreeMap;

use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;
use crate::domain::{
    Caller, Command, Currency, DisputeId, DisputeRef, Money, OrderId, OrderReport, OrderStatus, Parties, Scope, UserId,
};

/// A queue whose batches have grown to their maximum.
fn grown() -> Queue {
    let queue = Queue::new(false, Tracer::default());
    queue.lines().batch_size = BatchSize::grown();
    queue
}

/// Sends the reply to a caller that waits for ever.
fn answer<T>() -> ReplySender<T> {
    let (answer, answered) = oneshot::channel();
    std::mem::forget(answered);
    answer
}

fn of(user: &str, answer: ReplySender<crate::domain::DisputeView>, text: usize) -> Submission {
    let reply = DisputeRef { dispute: DisputeId(Uuid::nil()), message: "x".repeat(text), etag: None };
    let caller = Caller { user: UserId::parse(user).unwrap(), scope: None };
    Submission::Dispute { caller, command: Box::new(Command::Decline(reply)), request: None, trace: None, answer }
}

fn command(user: &str, text: usize) -> Submission {
    of(user, answer(), text)
}

fn import_by(user: &str, orders: usize, title: usize) -> Submission {
    let price = Money::new(1, Currency::from_code("USD").unwrap());
    let parties = Parties { buyer: UserId::parse("ann").unwrap(), seller: UserId::parse("bob").unwrap() };
    let report = |number: usize| OrderReport {
        id: OrderId::parse(&format!("o{number}")).unwrap(),
        parties: parties.clone(),
        title: "x".repeat(title),
        price,
        paid: price,
        refunded_elsewhere: price,
        status: OrderStatus::InProgress,
        create_time: None,
        due_time: None,
        end_time: None,
        cancellation_counts: true,
        source_version: 1,
    };
    let reports = (0..orders).map(report).collect();
    let caller = Caller { user: UserId::parse(user).unwrap(), scope: Some(Scope::Platform) };
    Submission::Orders { caller, reports, trace: None, answer: answer() }
}

/// An import of so many orders, `o0` the first, with titles of so many characters.
pub(in crate::engine) fn import(orders: usize, title: usize) -> Submission {
    import_by("shop", orders, title)
}

fn how_many(queue: &Queue, submission: impl Fn() -> Submission) -> usize {
    (0..).take_while(|_| queue.push(submission()).is_ok()).count()
}

fn kinds(batch: &[Waiting]) -> (usize, usize, usize) {
    let of = |is: fn(&Submission) -> bool| batch.iter().filter(|waiting| is(&waiting.submission)).count();
    (
        of(|submission| matches!(submission, Submission::Dispute { .. })),
        of(|submission| matches!(submission, Submission::Orders { .. })),
        of(|submission| matches!(submission, Submission::PassTime { .. })),
    )
}

/// The sender of each submission in a batch, in order, and the length of its text.
fn senders(batch: &[Waiting]) -> Vec<(String, usize)> {
    let sender = |waiting: &Waiting| match &waiting.submission {
        Submission::Dispute { caller, command, .. } => (caller.user.as_str().to_owned(), command.text_bytes()),
        Submission::Orders { caller, reports, .. } => (caller.user.as_str().to_owned(), reports.len()),
        Submission::Disclosure { caller, reasons, .. } => (caller.user.as_str().to_owned(), reasons.len()),
        Submission::PassTime { orders, .. } => (String::new(), orders.len()),
    };
    batch.iter().map(sender).collect()
}

#[test]
fn the_queue_is_bounded_by_orders_and_by_bytes_and_imports_leave_room_for_commands() {
    let queue = Queue::new(false, Tracer::default());
    assert_eq!(how_many(&queue, || import(500, 6)), 51, "fifty of the largest are innocent");
    assert_eq!(how_many(&queue, || command("ann", 100)), 4_096);
    assert_eq!(queue.push(command("ann", 0)), Err(Error::Overloaded));
    let queue = Queue::new(false, Tracer::default());
    assert_eq!(how_many(&queue, || import(500, 800)), 32, "24 MiB");
    assert_eq!(how_many(&queue, || command("ann", 10_000)), 3_116, "32 MiB");
}

#[test]
fn whoever_has_most_waiting_gives_way_and_fifty_commands_of_a_caller_are_innocent() {
    let queue = Queue::new(false, Tracer::default());
    let (answer, mut of_the_last) = oneshot::channel();
    (0..4_095).for_each(|_| queue.push(command("eve", 0)).unwrap());
    queue.push(of("eve", answer, 0)).unwrap();
    assert_eq!(queue.push(command("eve", 0)), Err(Error::Overloaded), "she gives way to nobody but others");
    assert!(of_the_last.try_recv().is_err());
    queue.push(command("ann", 0)).unwrap();
    assert_eq!(of_the_last.try_recv().unwrap(), Err(Error::Overloaded));
    assert_eq!(queue.lines().commands.load().orders, 4_096);
    // Callers that send as much as they can end up with equal shares, whoever came first; callers that want less get
    // all of it.
    for _ in 0..4_096 {
        for flooder in 0..40 {
            let _ = queue.push(command(&format!("eve{flooder}"), 0));
        }
    }
    for innocent in 0..20 {
        let sent = (0..50).map(|_| queue.push(command(&format!("innocent{innocent}"), 10_000)));
        assert!(sent.into_iter().all(|pushed| pushed.is_ok()), "{innocent}");
    }
    let mut waiting: BTreeMap<String, usize> = BTreeMap::new();
    let mut lines = queue.lines();
    assert_eq!(lines.commands.load().orders, 4_096);
    while !lines.is_empty() {
        for (sender, _) in senders(&lines.batch(real_now())) {
            *waiting.entry(sender).or_default() += 1;
        }
    }
    assert_eq!(waiting["ann"], 1);
    assert!(waiting.iter().all(|(who, sent)| *sent == 50 || !who.starts_with("innocent")), "{waiting:?}");
    let of_flooders = waiting.iter().filter(|(who, _)| who.starts_with("eve")).map(|(_, sent)| *sent);
    assert_eq!((of_flooders.clone().min(), of_flooders.max()), (Some(75), Some(76)));
}

#[tokio::test]
async fn callers_take_turns_and_each_of_them_is_served_in_order() {
    let queue = grown();
    for number in 0..1_200 {
        queue.push(command("eve", number)).unwrap();
    }
    let first = senders(&queue.next().await.unwrap());
    for number in 0..3 {
        queue.push(command("bob", number)).unwrap();
        queue.push(command("ann", number)).unwrap();
    }
    let second = senders(&queue.next().await.unwrap());
    let of = |batch: &[(String, usize)], who: &str| {
        batch.iter().filter(|(user, _)| user == who).map(|(_, text)| *text).collect::<Vec<_>>()
    };
    assert_eq!(of(&first, "eve"), (0..512).collect::<Vec<_>>());
    assert_eq!(of(&second, "eve"), (512..1_018).collect::<Vec<_>>());
    assert_eq!((of(&second, "ann"), of(&second, "bob")), (vec![0, 1, 2], vec![0, 1, 2]), "first come, first served");
    let others: Vec<_> = second.iter().filter(|(user, _)| user != "eve").map(|(user, _)| user.as_str()).collect();
    assert_eq!(
        others,
        ["bob", "ann", "bob", "ann", "bob", "ann"],
        "in a batch everything is in the order in which it came"
    );
}

#[tokio::test]
async fn imports_take_turns_by_what_they_carry() {
    let queue = grown();
    for _ in 0..3 {
        queue.push(import_by("slow", 500, 6)).unwrap();
    }
    for number in 1..=40 {
        queue.push(import_by("shop", 1 + number % 2, 6)).unwrap();
    }
    let [first, second] = [queue.next().await.unwrap(), queue.next().await.unwrap()].map(|batch| senders(&batch));
    assert_eq!(first.iter().filter(|(user, _)| user == "slow").count(), 1);
    assert_eq!(first.len() + second.len(), 1 + 40 + 1, "those who bring little do not wait for those who bring much");
}

#[tokio::test]
async fn what_nobody_waits_for_is_dropped() {
    let queue = Queue::new(false, Tracer::default());
    let gone = || of("eve", oneshot::channel().0, 0);
    (0..4_000).for_each(|_| queue.push(gone()).unwrap());
    queue.push(command("eve", 1)).unwrap();
    queue.push(command("ann", 2)).unwrap();
    (0..2).for_each(|_| queue.push(gone()).unwrap());
    let batch = senders(&queue.next().await.unwrap());
    assert_eq!(batch, [("eve".to_owned(), 1), ("ann".to_owned(), 2)]);
    assert!(queue.lines().is_empty());
}

#[tokio::test]
async fn each_batch_takes_something_of_each_kind_and_commands_first() {
    let queue = grown();
    how_many(&queue, || import(500, 6));
    how_many(&queue, || command("ann", 0));
    for _ in 0..3 {
        let orders = vec![OrderId::parse("o1").unwrap()];
        queue.push(Submission::PassTime { orders, answer: answer() }).unwrap();
    }
    let batch = queue.next().await.unwrap();
    assert_eq!(kinds(&batch), (384, 1, 1));
    let queue = grown();
    how_many(&queue, || command("ann", 0));
    assert_eq!(kinds(&queue.next().await.unwrap()), (512, 0, 0), "the whole batch if nobody else waits");
    let queue = grown();
    (0..1_000).for_each(|_| queue.push(import(1, 6)).unwrap());
    assert_eq!(kinds(&queue.next().await.unwrap()), (0, 512, 0));
}

#[tokio::test]
async fn what_is_put_off_comes_again_and_the_last_handle_ends_the_queue() {
    let queue = Queue::new(false, Tracer::default());
    queue.push(command("ann", 0)).unwrap();
    for round in 0..3 {
        let mut batch = queue.next().await.unwrap();
        assert!(batch.len() == 1 && batch[0].busy_since.is_some() == (round > 0));
        queue.put_off(batch.pop().unwrap());
    }
    // Busy submissions have their own bound, and those beyond it are refused at once.
    let put_off_all = async |user: &str, count: usize| {
        (0..count).for_each(|_| queue.push(command(user, 0)).unwrap());
        let mut left = count;
        while left > 0 {
            let (own, others): (Vec<_>, Vec<_>) =
                queue.next().await.unwrap().into_iter().partition(|waiting| waiting.busy_since.is_none());
            left -= own.len();
            others.into_iter().chain(own).for_each(|waiting| queue.put_off(waiting));
        }
    };
    put_off_all("ann", 2_100).await;
    assert_eq!(queue.lines().busy.load().orders, 2_048);
    put_off_all("bob", 50).await;
    assert_eq!(queue.lines().busy.load().orders, 2_048);
    let of_bob = |queue: &Queue| queue.lines().busy.count(|caller| caller.user.as_str() == "bob");
    assert_eq!(of_bob(&queue), 50, "another one's locked orders have room");
    queue.close();
    assert_eq!(queue.push(command("ann", 0)), Err(Error::Draining));
    while let Some(batch) = queue.next().await {
        batch.into_iter().for_each(|waiting| queue.put_off(waiting));
    }
    assert!(queue.lines().is_empty());
}

fn times(parts: usize) -> impl Iterator<Item = Submission> {
    let order = |number: usize| OrderId::parse(&format!("o{number}")).unwrap();
    (0..parts).map(move |part| Submission::PassTime {
        orders: (0..8).map(|number| order(part * 8 + number)).collect(),
        answer: answer(),
    })
}

#[test]
fn time_takes_whole_batches_when_there_are_no_callers_and_a_small_share_when_there_are() {
    let queue = grown();
    times(1_000).for_each(|part| queue.push(part).unwrap());
    let mut lines = queue.lines();
    let start = real_now();
    let taken = |lines: &mut Lines, after: Duration| kinds(&lines.batch(start + after));
    assert_eq!(taken(&mut lines, Duration::ZERO), (0, 0, 64), "512 orders");
    drop(lines);
    queue.push(command("ann", 0)).unwrap();
    let mut lines = queue.lines();
    assert_eq!(taken(&mut lines, Duration::ZERO), (1, 0, 4), "32 orders beside a caller");
    assert_eq!(taken(&mut lines, Duration::from_millis(9_999)), (0, 0, 16), "128: another one may come");
    assert_eq!(taken(&mut lines, Duration::from_secs(10)), (0, 0, 64));
    drop(lines);
    how_many(&queue, || command("ann", 0));
    let mut lines = queue.lines();
    assert_eq!(taken(&mut lines, Duration::ZERO), (480, 0, 4), "however many callers there are");
    lines.batch_size = BatchSize::new(false);
    lines.time_debt = 0;
    assert_eq!(taken(&mut lines, Duration::ZERO), (7, 0, 1));
    for number in 1..16 {
        assert_eq!(taken(&mut lines, Duration::ZERO), (8, 0, 0), "{number}: a part is as large as a batch");
    }
    assert_eq!(taken(&mut lines, Duration::ZERO), (7, 0, 1));
    lines.commands = Line::new(COMMANDS);
    assert_eq!(taken(&mut lines, Duration::ZERO), (0, 0, 1), "however small a batch is");
    assert_eq!(taken(&mut lines, Duration::from_secs(10)), (0, 0, 64), "small ones cost more");
}

#[test]
fn a_batch_is_full_when_it_could_not_take_more() {
    let queue = Queue::new(false, Tracer::default());
    for _ in 0..7 {
        queue.push(command("ann", 1)).unwrap();
    }
    assert!(!queue.has_full_batch());
    queue.push(command("bob", 1)).unwrap();
    assert!(queue.has_full_batch());
    assert_eq!(queue.take().len(), 8);
    assert!(!queue.has_full_batch());
    assert!(queue.take().is_empty());
}

#[test]
fn what_was_put_back_is_in_the_next_batch_even_while_the_queue_is_being_emptied() {
    let queue = Queue::new(false, Tracer::default());
    queue.push(command("ann", 1)).unwrap();
    let taken = queue.take();
    queue.push(command("bob", 2)).unwrap();
    queue.close();
    taken.into_iter().for_each(|waiting| queue.put_back(waiting));
    assert_eq!(senders(&queue.take()).len(), 2);
}

#[test]
fn time_fills_a_batch_ahead_only_when_there_are_no_callers() {
    let queue = grown();
    times(31).for_each(|part| queue.push(part).unwrap());
    assert!(!queue.has_full_batch());
    times(1).for_each(|part| queue.push(part).unwrap());
    assert!(queue.has_full_batch(), "256 orders");
    queue.push(command("ann", 0)).unwrap();
    assert!(!queue.has_full_batch());
    let batch = queue.take();
    assert_eq!(kinds(&batch), (1, 0, 4));
    times(4).for_each(|part| queue.push(part).unwrap());
    assert!(!queue.has_full_batch(), "another one may come");
    let part = batch.into_iter().next_back().unwrap();
    queue.put_back(part);
    assert_eq!(queue.lines().time.load().orders, 256 + 8, "it is not taken for a caller's");
}
