//! Subscribers that note what they see: they come back with a token whenever a stream ends, or is silent for too long.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dispute_service::proto::v1;
use fastrand::Rng;
use tokio::sync::watch;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use super::history::{End, Event, Message, Session, Start, Subscriber, View};
use super::{moment, now, pause};
use crate::support::callers::Party;

const HEARTBEAT: Duration = Duration::from_secs(1);
/// After so long without a message a subscriber comes back elsewhere.
const SILENCE: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(2);

/// How many bytes a slow subscriber has in flight: a few events.
const WINDOW: u32 = 4 * 1024;

/// What a subscriber is like, beside its view.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It stays until it must go.
    Steady,
    /// It leaves and comes back, with its last token.
    Restless,
    /// It leaves and comes back, at times with an older token.
    Forgetful,
    /// It stops reading for seconds.
    Slow,
    /// It asks for pages instead.
    Listing,
    /// It takes its time with a snapshot, more so while a failover is near, and soon begins again with another one.
    Fickle,
}

/// How near a failover is that loses commits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Failing {
    Not,
    /// Nothing is lost yet: snapshots begin, and are not read on.
    Soon,
    /// What is committed is lost. Some pages of a snapshot are read: they show it.
    Losing,
    /// The rest is read when the log has grown again.
    Over,
}

/// What all subscribers share.
pub struct Following {
    addresses: Vec<String>,
    is_settling: AtomicBool,
    is_over: AtomicBool,
    /// How often a failover was near, and how near one is.
    failovers: AtomicUsize,
    failing: watch::Sender<Failing>,
    /// One copy of each event, however many get it.
    known: Mutex<HashMap<String, Arc<Event>>>,
    /// What no stream may say or do.
    pub complaints: Mutex<Vec<String>>,
    /// How streams under way have ended, other than because their place is lost.
    pub ends: Mutex<Vec<String>>,
    pub messages: AtomicUsize,
    pub silences: AtomicUsize,
    pub rests: AtomicUsize,
    /// When which replica stood still: from and until, in the machine's time.
    freezes: Mutex<Vec<(String, i64, i64)>>,
}

impl Following {
    /// Subscribers of the replicas at these addresses.
    pub fn new(addresses: &[String]) -> Arc<Self> {
        Arc::new(Self {
            addresses: addresses.to_vec(),
            is_settling: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            failovers: AtomicUsize::new(0),
            failing: watch::Sender::new(Failing::Not),
            known: Mutex::default(),
            complaints: Mutex::default(),
            ends: Mutex::default(),
            messages: AtomicUsize::new(0),
            silences: AtomicUsize::new(0),
            rests: AtomicUsize::new(0),
            freezes: Mutex::default(),
        })
    }

    /// From now on a failover is this near.
    pub fn fails_over(&self, failing: Failing) {
        if failing == Failing::Soon {
            self.failovers.fetch_add(1, Ordering::Relaxed);
        }
        self.failing.send_replace(failing);
    }

    fn failovers(&self) -> usize {
        self.failovers.load(Ordering::Relaxed)
    }

    /// Waits with the next message of a snapshot while a failover is near, but for some pages: the service reads each
    /// when the one before it has been read.
    async fn wait_for_failover(&self, pages: &mut usize) {
        let mut failing = self.failing.subscribe();
        let goes_on = |failing: &Failing| match failing {
            Failing::Not => true,
            Failing::Losing => *pages > 0,
            Failing::Soon | Failing::Over => false,
        };
        let failing = *failing.wait_for(goes_on).await.unwrap();
        if failing == Failing::Losing {
            *pages -= 1;
        }
    }

    /// Nobody begins from nothing any more, if it need not.
    pub fn settle(&self) {
        self.is_settling.store(true, Ordering::Relaxed);
    }

    /// Nobody subscribes again; each leaves with its next message.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Notes what should not have happened.
    pub fn complain(&self, what: String) {
        self.complaints.lock().unwrap().push(what);
    }

    /// A replica stands still, for ever as far as is known.
    pub fn freezes(&self, address: &str) {
        self.freezes.lock().unwrap().push((address.to_owned(), now(), i64::MAX));
    }

    /// It does not stand still any more.
    pub fn thaws(&self, address: &str) {
        let mut freezes = self.freezes.lock().unwrap();
        let frozen = freezes.iter_mut().filter(|(frozen, _, until)| frozen == address && *until == i64::MAX);
        frozen.for_each(|(_, _, until)| *until = now());
    }

    /// A stream was silent until now. Only one that stands still may be.
    fn is_excused(&self, address: &str) -> bool {
        let from = now() - i64::try_from(SILENCE.as_micros()).unwrap();
        self.freezes.lock().unwrap().iter().any(|(frozen, _, until)| frozen == address && *until >= from)
    }

    fn event(&self, event: &v1::DisputeEvent) -> Arc<Event> {
        let event = Event::of(event);
        let mut known = self.known.lock().unwrap();
        let one = known.entry(event.id.clone()).or_insert_with(|| Arc::new(event.clone())).clone();
        if *one == event { one } else { Arc::new(event) }
    }
}

/// Why a subscriber left a stream.
#[derive(PartialEq, Eq)]
enum Left {
    Silence,
    /// To begin again from nothing.
    ForGood,
    Otherwise,
}

/// One who follows what happens.
pub struct Follower {
    shared: Arc<Following>,
    start: Start,
    habit: Habit,
    /// With a scope, unless the view says whose it is.
    user: String,
    scope: Option<&'static str>,
    /// What it noted, each time that it began from nothing by itself.
    notes: Mutex<Vec<Subscriber>>,
}

impl Follower {
    /// One who follows what its view shows, from this start.
    pub fn new(shared: &Arc<Following>, name: &str, view: View, start: Start, habit: Habit) -> Arc<Self> {
        let scope = if view.caller.is_some() { None } else { Some("platform") };
        Arc::new(Self {
            shared: shared.clone(),
            start,
            habit,
            user: view.caller.clone().unwrap_or_else(|| "shop".to_owned()),
            scope,
            notes: Mutex::new(vec![Subscriber { name: name.to_owned(), view, ..Subscriber::default() }]),
        })
    }

    /// The last token; empty as long as there is none.
    pub fn token(&self) -> String {
        last_token(self.notes.lock().unwrap().last().unwrap())
    }

    /// Whether it has begun, and with everything that it asked for first.
    pub fn is_complete(&self) -> bool {
        let notes = self.notes.lock().unwrap();
        let last = notes.last().unwrap();
        let begun = last.sessions.first().map(|session| session.start);
        begun.is_some_and(|start| start != Start::Snapshot || last.snapshots().next().is_some())
    }

    /// What it noted, with the last token of each time and the place of that. The last time may have brought nothing.
    pub fn notes(&self) -> Vec<(Subscriber, String, (usize, usize))> {
        let notes = self.notes.lock().unwrap();
        let is_of_note = |note: &&Subscriber| notes.len() == 1 || !note.sessions.is_empty();
        notes.iter().filter(is_of_note).map(|note| (note.clone(), last_token(note), last_place(note))).collect()
    }

    /// Who it says that it is.
    pub fn caller(&self) -> (&str, Option<&'static str>) {
        (&self.user, self.scope)
    }

    /// Begins from nothing, when its last time has ended like this.
    fn begin_again(&self, end: End) {
        let mut notes = self.notes.lock().unwrap();
        let times = notes.len() + 1;
        let last = notes.last_mut().unwrap();
        if last.sessions.is_empty() {
            return;
        }
        last.end = end;
        let name = format!("{} (time {times})", last.name.split(" (").next().unwrap_or_default());
        let view = last.view.clone();
        notes.push(Subscriber { name, view, ..Subscriber::default() });
    }

    /// Follows until it is over.
    pub async fn run(self: Arc<Self>, mut rng: Rng) {
        while !self.shared.is_over() {
            let replica = rng.choice(&self.shared.addresses).unwrap().clone();
            let endpoint = Endpoint::from_shared(format!("http://{replica}")).unwrap();
            let mut endpoint = endpoint.connect_timeout(Duration::from_secs(1));
            if self.habit == Habit::Slow || self.habit == Habit::Fickle {
                // With what a client buffers by default, megabytes, nobody would notice that it does not read.
                endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
            }
            // A connection for each stream: one that is not read delays no other.
            if let Ok(channel) = endpoint.connect().await {
                let caller = Party::new(channel, &self.user, self.scope);
                if self.habit == Habit::Listing {
                    self.list(caller).await;
                } else if self.start == Start::List && self.token().is_empty() {
                    self.list_disputes(caller, &mut rng).await;
                } else {
                    self.watch(caller, &replica, &mut rng).await;
                }
            }
            pause(Duration::from_millis(rng.u64(20..200))).await;
        }
    }

    /// Where the next stream starts, and the token for it.
    fn next_start(&self, rng: &mut Rng) -> (Start, String) {
        let all = self.notes.lock().unwrap();
        let notes = all.last().unwrap();
        let Some(last) = notes.sessions.len().checked_sub(1) else {
            // Who was told that its place is unknown seldom wants to hear of everything again.
            let is_again = all.len() > 1 && self.start == Start::Beginning && rng.u8(..6) > 0;
            return (if is_again { Start::Now } else { self.start }, String::new());
        };
        // In the end it only goes on: after a long run it would hardly ever arrive.
        let is_settling = self.shared.is_settling.load(Ordering::Relaxed);
        let is_older = self.habit == Habit::Forgetful && !is_settling && rng.u8(..3) == 0;
        let session = if is_older { rng.usize(..=last) } else { last };
        let messages = &notes.sessions[session].messages;
        let message = if is_older { rng.usize(..messages.len()) } else { messages.len() - 1 };
        (Start::After { session, message }, messages[message].token.clone())
    }

    pub fn filter(&self) -> Option<v1::DisputeEventFilter> {
        let View { party, orders, kinds, types, caller: _ } = self.notes.lock().unwrap()[0].view.clone();
        Some(v1::DisputeEventFilter {
            order_ids: orders,
            dispute_ids: Vec::new(),
            party_id: party.unwrap_or_default(),
            kinds: kinds.into_iter().map(Into::into).collect(),
            event_types: types.into_iter().map(Into::into).collect(),
        })
    }

    /// One stream, for as long as it lasts.
    async fn watch(&self, mut caller: Party, address: &str, rng: &mut Rng) {
        use v1::watch_disputes_request::Start::{FromBeginning, ResumeToken};
        let (start, token) = self.next_start(rng);
        let request = v1::WatchDisputesRequest {
            filter: self.filter(),
            start: match start {
                Start::Beginning => Some(FromBeginning(true)),
                Start::Now | Start::Snapshot | Start::List => None,
                Start::After { .. } => Some(ResumeToken(token)),
            },
            include_snapshot: start == Start::Snapshot,
            heartbeat_interval: prost_types::Duration::try_from(HEARTBEAT).ok(),
        };
        match tokio::time::timeout(TIMEOUT, caller.disputes.watch_disputes(request)).await {
            Ok(Ok(stream)) => match self.read(stream.into_inner(), start, rng).await {
                Left::Silence => {
                    self.shared.silences.fetch_add(1, Ordering::Relaxed);
                    if !self.shared.is_excused(address) {
                        self.complain(
                            "a stream was silent for three heartbeats, of a replica that did not stand still",
                        );
                    }
                }
                Left::ForGood => self.begin_again(End::Left { next: None }),
                Left::Otherwise => {}
            },
            Ok(Err(status)) => self.ended(start, false, &status),
            Err(_) => {}
        }
    }

    async fn read(&self, mut stream: Streaming<v1::WatchDisputesResponse>, start: Start, rng: &mut Rng) -> Left {
        let mut is_first = true;
        let mut is_complete = false;
        let failovers = self.shared.failovers();
        // While commits are lost.
        let mut pages = rng.usize(1..6);
        while !self.shared.is_over() {
            let message = match tokio::time::timeout(SILENCE, stream.message()).await {
                Ok(Ok(Some(message))) => message,
                Ok(Ok(None)) => {
                    self.complain("a stream ended without a status");
                    return Left::Otherwise;
                }
                Ok(Err(status)) => {
                    if !is_unknown(&status) {
                        self.shared.ends.lock().unwrap().push(format!("{status:?}"));
                    }
                    self.ended(start, !is_first, &status);
                    return Left::Otherwise;
                }
                Err(_) => return Left::Silence,
            };
            let checkpoint = message.checkpoint.unwrap_or_default();
            if checkpoint.subscribed != is_first || message.resume_token.is_empty() || message.events.len() > 256 {
                let what = format!("{checkpoint:?} with {} events, first {is_first}", message.events.len());
                self.complain(&format!("a message of the wrong form: {what}"));
            }
            self.note(start, is_first, &message.events, message.resume_token, checkpoint.snapshot_complete);
            is_first = false;
            match self.habit {
                Habit::Slow if rng.u8(..30) == 0 => {
                    self.shared.rests.fetch_add(1, Ordering::Relaxed);
                    pause(Duration::from_millis(rng.u64(2_000..6_000))).await;
                }
                Habit::Restless | Habit::Forgetful if rng.u8(..60) == 0 => break,
                Habit::Fickle => {
                    is_complete |= start != Start::Snapshot || checkpoint.snapshot_complete;
                    let is_time = is_complete && self.start == Start::Snapshot && self.shared.failovers() > failovers;
                    let is_settling = self.shared.is_settling.load(Ordering::Relaxed);
                    match rng.u8(..120) {
                        _ if is_time && !is_settling => return Left::ForGood,
                        0 if !is_settling => return Left::ForGood,
                        1..5 => break,
                        _ => {}
                    }
                    if !is_complete {
                        pause(Duration::from_millis(rng.u64(20..200))).await;
                    }
                    if start == Start::Snapshot {
                        self.shared.wait_for_failover(&mut pages).await;
                    }
                }
                Habit::Steady | Habit::Restless | Habit::Forgetful | Habit::Slow | Habit::Listing => {}
            }
        }
        Left::Otherwise
    }

    /// Pages, one after the other, from the last token.
    async fn list(&self, mut caller: Party) {
        use v1::list_dispute_events_request::Start::{FromBeginning, ResumeToken};
        while !self.shared.is_over() {
            let token = self.token();
            let is_first = token.is_empty();
            let start = if is_first { FromBeginning(true) } else { ResumeToken(token) };
            let request =
                v1::ListDisputeEventsRequest { filter: self.filter(), start: Some(start), ..Default::default() };
            let page = match tokio::time::timeout(TIMEOUT, caller.disputes.list_dispute_events(request)).await {
                Ok(Ok(page)) => page.into_inner(),
                Ok(Err(status)) => return self.ended(Start::Beginning, true, &status),
                Err(_) => return,
            };
            self.note(Start::Beginning, is_first, &page.events, page.resume_token, false);
            if !page.more {
                pause(Duration::from_millis(150)).await;
            }
        }
    }

    /// The pages of a list of disputes, and its token.
    async fn list_disputes(&self, mut caller: Party, rng: &mut Rng) {
        let View { party, orders: _, kinds, types: _, caller: _ } = self.notes.lock().unwrap()[0].view.clone();
        let mut request = v1::ListDisputesRequest {
            party_id: party.unwrap_or_default(),
            kinds: kinds.into_iter().map(Into::into).collect(),
            page_size: rng.i32(10..100),
            ..Default::default()
        };
        let asked = moment();
        let mut pages = Vec::new();
        loop {
            let answer = tokio::time::timeout(TIMEOUT, caller.disputes.list_disputes(request.clone())).await;
            let page = match answer {
                Ok(Ok(page)) => page.into_inner(),
                Ok(Err(status)) => return self.ended(Start::List, false, &status),
                Err(_) => return,
            };
            let events = page.disputes.iter().map(|dispute| Arc::new(Event::shown(dispute))).collect();
            pages.push(Message { events, received: asked, at: now(), ..Message::default() });
            if page.next_page_token.is_empty() {
                let token = page.resume_token;
                let completes_snapshot = true;
                let (received, at) = (moment(), now());
                pages.push(Message { token, completes_snapshot, received, at, ..Message::default() });
                break;
            }
            request.page_token = page.next_page_token;
            pause(Duration::from_millis(rng.u64(0..150))).await;
        }
        let mut notes = self.notes.lock().unwrap();
        notes.last_mut().unwrap().sessions.push(Session { start: Start::List, messages: pages });
    }

    /// Notes a message, the first one of a stream as a new session.
    fn note(&self, start: Start, is_first: bool, events: &[v1::DisputeEvent], token: String, completes_snapshot: bool) {
        self.shared.messages.fetch_add(1, Ordering::Relaxed);
        let (received, at) = (moment(), now());
        let events = events.iter().map(|event| self.shared.event(event)).collect();
        let mut notes = self.notes.lock().unwrap();
        let sessions = &mut notes.last_mut().unwrap().sessions;
        if is_first {
            sessions.push(Session { start, messages: Vec::new() });
        }
        let message = Message { token, events, completes_snapshot, received, at };
        sessions.last_mut().unwrap().messages.push(message);
    }

    /// A stream may end because the service, or what is between, is away; or because its place is lost.
    fn ended(&self, start: Start, is_begun: bool, status: &Status) {
        if is_unknown(status) {
            let last = last_place(self.notes.lock().unwrap().last().unwrap());
            let token = match start {
                Start::After { session, message } if !is_begun => (session, message),
                _ => last,
            };
            return self.begin_again(End::Unknown { token, told: moment() });
        }
        let is_away = matches!(
            status.code(),
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::ResourceExhausted | Code::Unknown
        );
        // What a broken connection makes of a stream that was under way has no details.
        let is_broken = status.code() == Code::Internal && status.details().is_empty();
        if !is_away && !is_broken {
            self.complain(&format!("a stream with the start {start:?} ended: {status:?}"));
        }
    }

    fn complain(&self, what: &str) {
        let name = &self.notes.lock().unwrap()[0].name;
        self.shared.complain(format!("subscriber {name}: {what}"));
    }
}

/// The last token of some notes; empty if there is none.
fn last_token(notes: &Subscriber) -> String {
    let last = notes.sessions.last().and_then(|session| session.messages.last());
    last.map(|message| message.token.clone()).unwrap_or_default()
}

/// The session and the message of the last token.
fn last_place(notes: &Subscriber) -> (usize, usize) {
    let message = notes.sessions.last().map_or(0, |last| last.messages.len().saturating_sub(1));
    (notes.sessions.len().saturating_sub(1), message)
}

/// Whether the service says that a place is unknown.
pub fn is_unknown(status: &Status) -> bool {
    status.get_error_details().error_info().is_some_and(|info| info.reason == "RESUME_TOKEN_UNKNOWN")
}
