//! Subscribers, held by a process of their own: this program, started once more (see `watching`).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

use dispute_service::proto::v1::DisputeEvent;

/// What a subscriber watches, and whether it reads.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Each is one party, see [`super::load::party`].
    Parties,
    /// Each watches everything.
    Everything,
    /// The same, but nobody reads the streams; their transport is alive.
    Unread,
    /// The same, and they begin with the oldest event.
    Behind,
    /// As unread ones, but nobody reads the sockets either. One on each connection.
    Deaf,
    /// Each watches everything, and nothing is decoded, see [`super::raw`].
    Raw,
    /// The same, and they begin with the oldest event.
    RawBehind,
}

impl Who {
    pub(crate) const ALL: [(Self, &str); 7] = [
        (Self::Parties, "parties"),
        (Self::Everything, "everything"),
        (Self::Unread, "unread"),
        (Self::Behind, "behind"),
        (Self::Deaf, "deaf"),
        (Self::Raw, "raw"),
        (Self::RawBehind, "raw-behind"),
    ];
}

/// What a subscriber has seen: how many events, and a digest of which ones in which order.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trail {
    pub(crate) events: usize,
    pub(crate) digest: u64,
}

impl Trail {
    pub(crate) fn add(&mut self, event: &DisputeEvent) {
        self.add_id(event.event_id.as_bytes());
    }

    /// The same by the event's id alone.
    pub(crate) fn add_id(&mut self, id: &[u8]) {
        let mut hasher = DefaultHasher::new();
        (self.digest, id).hash(&mut hasher);
        *self = Self { events: self.events + 1, digest: hasher.finish() };
    }

    pub(crate) fn of<'a>(events: impl IntoIterator<Item = &'a DisputeEvent>) -> Self {
        let mut trail = Self::default();
        events.into_iter().for_each(|event| trail.add(event));
        trail
    }
}

/// Their process. Killed when dropped.
pub(crate) struct Subscribers {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Subscribers {
    /// Returns once all of them are subscribed. Parties are numbered from `first`.
    pub(crate) fn start(address: &str, who: Who, first: usize, streams: usize, connections: usize) -> Self {
        let (_, word) = Who::ALL.into_iter().find(|(known, _)| *known == who).expect("all are named");
        let mut process = Command::new(std::env::current_exe().expect("this program"))
            .args(["watch", address, word])
            .args([first, streams, connections].map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let answers = BufReader::new(process.stdout.take().expect("its output is piped"));
        let mut subscribers = Self { process, answers };
        assert_eq!(subscribers.answer(), "subscribed");
        subscribers
    }

    /// What each has seen once all have seen so many events together; of unread ones, what the first sees when it
    /// begins to read now.
    pub(crate) fn trails(&mut self, events: usize) -> Vec<Trail> {
        let input = self.process.stdin.as_mut().expect("its input is piped");
        writeln!(input, "{events}").expect("it reads");
        let trails = self.answer().parse().expect("a number");
        (0..trails)
            .map(|_| {
                let answer = self.answer();
                let (events, digest) = answer.split_once(' ').expect("two numbers");
                Trail { events: events.parse().expect("a number"), digest: digest.parse().expect("a number") }
            })
            .collect()
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it answers");
        line.trim_end().to_owned()
    }
}

impl Drop for Subscribers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
