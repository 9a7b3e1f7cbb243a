//! Runs one attack beside good callers, prints what it did to them and to the service, and judges it.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::good_caller::{GoodCaller, Window, newcomer_is_served};
use crate::tally::Tally;
use crate::target::{Target, release};
use crate::wire::{Wire, is_tls};

/// What the service may have resident, whatever is done to it, in MiB.
const RESIDENT: f64 = 256.0;

/// A good caller's 99th percentile may be so high, in ms, or `WORSE` times what it was, whichever is more.
const SLOW: f64 = 50.0;
const WORSE: f64 = 3.0;

/// What was slow each of so many times is slow.
const ATTEMPTS: usize = 5;

/// So soon after an attack all is as before.
const RECOVERY: Duration = Duration::from_secs(10);

/// How long good callers are looked at before an attack, and at a time after it.
const WINDOW: Duration = Duration::from_millis(800);

/// What has not been answered for so long is not in the window after an attack yet.
const PENDING: Duration = Duration::from_millis(100);

/// How long an attack lasts, against the release build and against any other.
const ATTACK: Duration = Duration::from_millis(2_000);
const SMOKE: Duration = Duration::from_millis(400);

/// What an attacker knows of its target.
pub struct Arena {
    /// `host:port`.
    pub address: String,
    /// When it has to stop.
    pub until: Instant,
}

/// An attack, and what may come of it.
pub struct Attack {
    name: &'static str,
    flags: &'static [&'static str],
    descriptors: Option<u32>,
    lasts: Duration,
    grows_at_most: Option<f64>,
    is_smoke: bool,
}

impl Attack {
    /// One that has no effect on memory or on others beyond what any may have.
    pub fn new(name: &'static str) -> Self {
        Self { name, flags: &[], descriptors: None, lasts: ATTACK, grows_at_most: None, is_smoke: false }
    }

    /// Against a service with these flags.
    pub fn on(self, flags: &'static [&'static str]) -> Self {
        Self { flags, ..self }
    }

    /// Against a service that may have so many descriptors.
    pub fn with_descriptors(self, descriptors: u32) -> Self {
        Self { descriptors: Some(descriptors), ..self }
    }

    /// For so long.
    pub fn lasting(self, lasts: Duration) -> Self {
        Self { lasts, ..self }
    }

    /// The service may need so many MiB for it.
    pub fn growing_at_most(self, mib: f64) -> Self {
        Self { grows_at_most: Some(mib), ..self }
    }

    /// Also against a build that is not the release, where only what the attacker gets is judged.
    pub fn in_smoke(self) -> Self {
        Self { is_smoke: true, ..self }
    }

    /// Runs it and judges it; again if only the times were bad: a disk that stands still for a moment is no attack. `None`
    /// if there is no release build to judge.
    pub fn run(self, attacker: impl Fn(&Arena) -> Tally + Sync) -> Option<Tally> {
        let _turn = take_turn();
        if is_tls() && !self.is_smoke {
            println!("{}: only without TLS", self.name);
            return None;
        }
        if release().is_none() {
            if !self.is_smoke {
                println!("{}: only against the release build (HOSTILE_BINARY)", self.name);
                return None;
            }
            println!("{}: THIS IS NO RELEASE BUILD: memory and times are not judged", self.name);
            let target = Target::start(self.flags, self.descriptors);
            let arena = Arena { address: target.address().to_owned(), until: Instant::now() + SMOKE };
            let tally = attacker(&arena);
            assert!(newcomer_is_served(target.address(), RECOVERY), "{}: nobody is served", self.name);
            return Some(tally);
        }
        let mut outcome = self.once(&attacker);
        for _ in 1..ATTEMPTS {
            if outcome.is_slow() && outcome.hard_faults(self.grows_at_most).is_empty() {
                println!("{}: once more", self.name);
                outcome = self.once(&attacker);
            }
        }
        let faults = outcome.faults(self.grows_at_most);
        assert!(faults.is_empty(), "{}: {faults:#?}\n{}", self.name, outcome.log);
        Some(outcome.tally)
    }

    fn once(&self, attacker: &(impl Fn(&Arena) -> Tally + Sync)) -> Outcome {
        let target = Target::start(self.flags, self.descriptors);
        let good = GoodCaller::start(target.address());
        std::thread::sleep(WINDOW / 2);
        let began = Instant::now();
        std::thread::sleep(WINDOW);
        let (resident, _) = target.resident();
        let attacked = Instant::now();
        let arena = Arena { address: target.address().to_owned(), until: attacked + self.lasts };
        let watch = Watch::default();
        let tally = std::thread::scope(|scope| {
            scope.spawn(|| watch.run(&target));
            let attacker = scope.spawn(|| attacker(&arena)).join();
            watch.is_over.store(true, Ordering::Relaxed);
            attacker.unwrap()
        });
        let ended = Instant::now();
        let recovery = recovery(&good, &target, ended, &good.window(began, attacked));
        let (rested, highest) = target.resident();
        let peak = highest.unwrap_or(0.0).max(*watch.peak.lock().unwrap());
        let before = good.window(began, attacked);
        let during = good.window(attacked, ended);
        let outcome =
            Outcome { resident, peak, rested, before, during, recovery, control: None, tally, log: target.log() };
        drop((good, target));
        let outcome = if outcome.is_slow() { outcome.against(self.control(attacker)) } else { outcome };
        outcome.print(self.name);
        outcome
    }

    /// How good callers fare while the same attacker plays with a bare socket: what is left of the machine beside it.
    fn control(&self, attacker: &(impl Fn(&Arena) -> Tally + Sync)) -> Window {
        let sink = Sink::start();
        let target = Target::start(self.flags, None);
        let good = GoodCaller::start(target.address());
        std::thread::sleep(WINDOW / 2);
        let attacked = Instant::now();
        attacker(&Arena { address: sink.address.clone(), until: attacked + self.lasts });
        let ended = Instant::now();
        std::thread::sleep(WINDOW / 2);
        good.window(attacked, ended)
    }
}

/// How long good callers took to be well again; `None` if they were not in time.
fn recovery(good: &GoodCaller, target: &Target, ended: Instant, before: &Window) -> Option<Duration> {
    let mut is_open = false;
    loop {
        std::thread::sleep(Duration::from_millis(250));
        is_open = is_open || newcomer_is_served(target.address(), Duration::from_secs(1));
        let until = Instant::now() - PENDING;
        let since = until - WINDOW;
        if is_open && since >= ended && good.window(since, until).is_well(before) {
            return Some(since - ended);
        }
        if ended.elapsed() > RECOVERY + WINDOW {
            return None;
        }
    }
}

impl Window {
    /// Whether nothing went wrong, and nothing took much longer than this.
    fn is_well(&self, before: &Self) -> bool {
        self.errors.is_empty() && self.calls > 0 && !self.is_slower_than(before)
    }

    fn is_slower_than(&self, before: &Self) -> bool {
        self.read > bound(before.read) || self.command > bound(before.command)
    }
}

fn bound(before: f64) -> f64 {
    SLOW.max(WORSE * before)
}

/// What an attack did.
struct Outcome {
    /// Resident memory before, at its highest, and after, in MiB.
    resident: f64,
    peak: f64,
    rested: f64,
    before: Window,
    during: Window,
    control: Option<Window>,
    recovery: Option<Duration>,
    tally: Tally,
    log: String,
}

impl Outcome {
    /// Times are what a busy machine spoils.
    fn is_slow(&self) -> bool {
        self.during.is_slower_than(&self.before)
    }

    /// What is no worse than without a service that is attacked is not the service's fault.
    fn against(self, control: Window) -> Self {
        let read = self.before.read.max(control.read);
        let command = self.before.command.max(control.command);
        Self { control: Some(control), before: Window { read, command, ..self.before }, ..self }
    }

    /// All that is wrong.
    fn faults(&self, grows_at_most: Option<f64>) -> Vec<String> {
        let mut faults = self.hard_faults(grows_at_most);
        if self.during.is_slower_than(&self.before) {
            faults.push(format!("p99 {} ms, before {} ms", self.during.times(), self.before.times()));
        }
        faults
    }

    /// What is wrong beside the times of calls, and no busy machine explains.
    fn hard_faults(&self, grows_at_most: Option<f64>) -> Vec<String> {
        let mut faults = Vec::new();
        if self.peak >= RESIDENT {
            faults.push(format!("{:.0} MiB resident", self.peak));
        }
        let grown = self.peak - self.resident;
        if grows_at_most.is_some_and(|most| grown > most) {
            faults.push(format!("it cost {grown:.0} MiB"));
        }
        if !self.during.errors.is_empty() {
            faults.push(format!("good callers were told {:?}", self.during.errors));
        }
        if self.recovery.is_none() {
            faults.push("not back to normal in time".to_owned());
        }
        faults
    }

    /// Prints a line of the table, and adds it to the file that `HOSTILE_TABLE` names.
    fn print(&self, name: &str) {
        let mut line = format!(
            "{name} | {:.0} / {:.0} / {:.0} | {} / {}",
            self.resident,
            self.peak,
            self.rested,
            self.before.times(),
            self.during.times(),
        );
        if let Some(control) = &self.control {
            let _ = write!(line, " (control {})", control.times());
        }
        let recovery = self.recovery.map_or("never".to_owned(), |took| format!("{:.1} s", took.as_secs_f64()));
        let _ = write!(line, " | {recovery} | ");
        if self.during.errors.is_empty() {
            line.push('–');
        } else {
            let _ = write!(line, "{:?} of {}", self.during.errors, self.during.calls);
        }
        let _ = write!(line, " | {}", self.tally);
        println!("{line}");
        if let Ok(table) = std::env::var("HOSTILE_TABLE") {
            let mut table = OpenOptions::new().create(true).append(true).open(table).unwrap();
            writeln!(table, "{line}").unwrap();
        }
    }
}

impl Window {
    fn times(&self) -> String {
        format!("{:.1}, {:.1}", self.read, self.command)
    }
}

/// Looks at the memory of a target again and again, where the system does not keep the highest.
#[derive(Default)]
struct Watch {
    is_over: AtomicBool,
    peak: Mutex<f64>,
}

impl Watch {
    fn run(&self, target: &Target) {
        while !self.is_over.load(Ordering::Relaxed) {
            let (resident, _) = target.resident();
            let mut peak = self.peak.lock().unwrap();
            *peak = peak.max(resident);
            drop(peak);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A socket that takes whatever comes.
struct Sink {
    address: String,
    is_over: Arc<AtomicBool>,
}

impl Sink {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        listener.set_nonblocking(true).unwrap();
        let is_over = Arc::<AtomicBool>::default();
        std::thread::spawn({
            let is_over = is_over.clone();
            move || swallow(&listener, &is_over)
        });
        Self { address, is_over }
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

fn swallow(listener: &TcpListener, is_over: &AtomicBool) {
    let mut sockets = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    while !is_over.load(Ordering::Relaxed) {
        while let Ok((socket, _)) = listener.accept() {
            sockets.push(Wire::accept(socket));
        }
        sockets.retain_mut(|socket| match std::io::Read::read(socket, &mut buffer) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        });
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// Attacks take turns: there is one machine.
fn take_turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
