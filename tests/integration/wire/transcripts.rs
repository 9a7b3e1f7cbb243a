//! What the documents show is what happens: their commands are played by a shell, with grpcurl, against the real program,
//! and what they print is looked for in what comes.
//!
//! Ids, instants and tokens differ from run to run and are not compared. A line `…` stands for any lines.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use crate::support::binary::Binary;
use crate::support::postgres::skip;
use dispute_service::clock::pause;

/// The address that the documents name.
const ADDRESS: &str = "127.0.0.1:50051";
/// Printed by the shell behind each block.
const END: &str = "=== the end of a block ===";
/// The block that starts the program with arguments.
const START: &str = "cargo run --release -- ";

/// A fenced block of a document.
struct Block {
    language: String,
    text: String,
}

fn blocks(document: &str) -> Vec<Block> {
    let fenced = document.split("```").skip(1).step_by(2);
    fenced
        .filter_map(|block| block.split_once('\n'))
        .map(|(language, text)| Block { language: language.to_owned(), text: text.to_owned() })
        .collect()
}

/// A shell in a folder of its own, and the program that it talks to.
struct Session {
    folder: PathBuf,
    server: Binary,
    shell: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
}

impl Session {
    fn begin(folder: &Path, grpcurl: &Path) -> Self {
        let path = format!("{}:{}", grpcurl.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
        let mut shell = Command::new("sh")
            .current_dir(folder)
            .env("PATH", path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = shell.stdin.take();
        let output = BufReader::new(shell.stdout.take().unwrap());
        let server = start(folder, "--database-url 'sqlite://disputes.db?mode=rwc'");
        let mut session = Self { folder: folder.to_owned(), server, shell, input, output };
        session.run("exec 2>&1");
        session.tell_the_address();
        session
    }

    fn tell_the_address(&mut self) {
        let told = format!("ADDRESS={}", self.server.address);
        self.run(&told);
    }

    /// Runs commands, and returns what they print.
    fn run(&mut self, commands: &str) -> String {
        let commands = commands.replace(ADDRESS, "$ADDRESS");
        writeln!(self.input.as_mut().unwrap(), "{{ {commands}\n}} </dev/null\necho '{END}'").unwrap();
        let mut printed = String::new();
        loop {
            let mut line = String::new();
            assert!(self.output.read_line(&mut line).unwrap() > 0, "the shell has ended: {printed}");
            if line.trim_end() == END {
                return printed;
            }
            printed.push_str(&line);
        }
    }

    /// Plays one block, and returns what it has printed so far.
    fn play(&mut self, block: &str) -> String {
        if let Some((before, arguments)) = block.split_once(START) {
            let printed = self.run(before);
            self.server = start(&self.folder, arguments.trim_end());
            self.tell_the_address();
            return printed;
        }
        if block.contains("WatchDisputes") {
            // It goes on until the program ends.
            return self.run(&format!("(exec {}) >watched 2>&1 &", block.trim_end()));
        }
        self.run(block)
    }

    /// What the watch has printed, once it is this.
    async fn watched(&self, shown: &str) -> String {
        let mut printed = String::new();
        for _ in 0..1_000 {
            printed = fs::read_to_string(self.folder.join("watched")).unwrap_or_default();
            if contains(&printed, shown) {
                break;
            }
            pause(Duration::from_millis(10)).await;
        }
        printed
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // The shell ends with its input.
        self.input = None;
        let _ = self.shell.wait();
    }
}

/// The program in a folder, with arguments as they are written in a shell.
fn start(folder: &Path, arguments: &str) -> Binary {
    let program = env!("CARGO_BIN_EXE_dispute-service");
    let line = format!("cd '{}' && exec '{program}' --listen 127.0.0.1:0 {arguments}", folder.display());
    Binary::launch("sh", &["-c".to_owned(), line], "warn").unwrap()
}

/// The line with what differs from run to run replaced by its form.
fn form(line: &str) -> String {
    let words = line.split_whitespace().flat_map(|word| word.split('"')).filter(|word| !word.is_empty());
    words.map(word_form).collect::<Vec<_>>().join(" ")
}

fn word_form(word: &str) -> String {
    let is_id = |text: &str| {
        let hyphens: Vec<_> = text.match_indices('-').map(|(at, _)| at).collect();
        hyphens == [8, 13, 18, 23] && text.chars().all(|character| character == '-' || character.is_ascii_hexdigit())
    };
    let id = (0..word.len()).filter_map(|at| word.get(at..at + 36)).find(|part| is_id(part));
    if let Some(id) = id {
        return word.replace(id, "ID");
    }
    let bare = word.trim_end_matches(',');
    if bare.len() > 20 && bare.ends_with('Z') && bare.get(10..11) == Some("T") {
        return word.replace(bare, "INSTANT");
    }
    if bare.len() > 60 && bare.chars().all(|character| "-_".contains(character) || character.is_ascii_alphanumeric()) {
        return word.replace(bare, "TOKEN");
    }
    word.to_owned()
}

/// Whether these lines were printed, one after the other.
fn contains(printed: &str, shown: &str) -> bool {
    let printed: Vec<_> = printed.lines().map(form).collect();
    let parts: Vec<Vec<_>> =
        shown.split("…\n").map(|part| part.lines().map(form).filter(|line| !line.is_empty()).collect()).collect();
    let mut rest = printed.as_slice();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let Some(at) = rest.windows(part.len()).position(|lines| lines == part.as_slice()) else { return false };
        rest = &rest[at + part.len()..];
    }
    true
}

/// grpcurl, where it is installed.
fn grpcurl() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(|home| Path::new(&home).join("go/bin"));
    std::env::split_paths(&path).chain(home).map(|folder| folder.join("grpcurl")).find(|program| program.is_file())
}

/// Plays a document, and compares each block that shows something with what the one before it has printed.
async fn is_what_happens(name: &str, document: &str) {
    let Some(grpcurl) = grpcurl() else {
        skip(&format!("the transcripts in {name}: grpcurl is not installed."));
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut session = Session::begin(folder.path(), &grpcurl);
    let mut compared = 0;
    let mut blocks = blocks(document).into_iter().peekable();
    while let Some(commands) = blocks.next() {
        if commands.language != "sh" {
            continue;
        }
        let mut printed = session.play(&commands.text);
        let shown = blocks.next_if(|next| ["json", "text"].contains(&next.language.as_str()));
        let shown = shown.map(|block| block.text).unwrap_or_default();
        if commands.text.contains("WatchDisputes") {
            printed = session.watched(&shown).await;
        }
        assert!(contains(&printed, &shown), "{name} shows\n{shown}\nand not what came:\n{printed}");
        let failed = printed.lines().any(|line| line.starts_with("ERROR:"));
        assert_eq!(failed, shown.contains("ERROR:"), "{name}: {}\n{printed}", commands.text);
        compared += usize::from(!shown.is_empty());
    }
    assert!(compared > 0, "{name} shows something");
}

#[tokio::test]
async fn the_tour_shows_what_happens() {
    is_what_happens("docs/tour.md", include_str!("../../../docs/tour.md")).await;
}

#[tokio::test]
async fn the_first_dispute_of_the_readme_is_what_happens() {
    let readme = include_str!("../../../README.md");
    let (_, section) = readme.split_once("\n## A first dispute\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    assert!(section.contains("GetDisputeOptions"));
    is_what_happens("README.md", section).await;
}

#[test]
fn what_differs_from_run_to_run_is_not_compared_and_the_rest_is() {
    let printed = "{\n  \"id\": \"refund-01a20af7-3239-77ce-8839-76d6621a43fd-2\",\n  \"at\": \"2026-11-26T00:31:42.138715Z\",\n  \"a\": 1\n}\n";
    let shown = "\"id\": \"refund-01a20af7-6cd7-77f5-8da5-cf4a63100d37-2\",\n…\n\"a\": 1\n";
    assert!(contains(printed, shown));
    assert!(contains(printed, "\"at\": \"2027-01-01T00:00:00.000001Z\",\n\"a\": 1\n"));
    assert!(!contains(printed, "\"a\": 2\n"));
    assert!(!contains(printed, "\"id\": \"refund-01a20af7-6cd7-77f5-8da5-cf4a63100d37-3\",\n"));
    assert!(!contains(printed, "\"a\": 1\n…\n\"at\": \"2026-11-26T00:31:42.138715Z\",\n"));
}
