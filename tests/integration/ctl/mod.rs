//! `dispute-service ctl`: what an agent and a script see of a real service, through the real program.

mod calling;
mod commands;
mod reading;

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::support::binary::{Binary, program};
use crate::support::callers::Party;
use crate::support::messages::*;
use crate::support::service::Service;

/// What the program has printed, and what it has exited with.
#[derive(Debug)]
pub struct Printed {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Printed {
    /// What is on stdout, of a run that went well and had nothing else to say.
    pub fn fine(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// The same, each line as JSON.
    pub fn objects(self) -> Vec<Value> {
        self.fine().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What is on stderr, of a run that failed with this code and printed nothing else.
    pub fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        self.err
    }
}

pub fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    // The shell of somebody who runs a service, too: nothing of it is the client's.
    command
        .env("DISPUTES_POLICY", "/nowhere/policy.toml")
        .env("DISPUTES_LISTEN", "nonsense")
        .env("DISPUTES_AUTH", "jwt");
    command.args(["ctl", "--url", url]).args(arguments).stdin(Stdio::null());
    command
}

pub fn run(url: &str, arguments: &[&str]) -> Printed {
    let output = command(url, arguments).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Printed { code: output.status.code().unwrap(), out, err }
}

pub fn url(service: &Service) -> String {
    format!("http://{}", service.address)
}

/// A dispute about 20.00 USD that the buyer has taken to support.
pub async fn escalated(service: &Service, order: &str) -> String {
    let dispute = service.order_with_offer(order, 2_000).await;
    service.user("ann").decline(decline(&dispute.dispute_id)).await.unwrap();
    service.user("ann").escalate(escalate(&dispute.dispute_id)).await.unwrap().dispute_id
}

/// A `tail` that runs. Killed when dropped.
pub struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    pub fn start(url: &str, arguments: &[&str]) -> Self {
        let arguments = [&["tail"], arguments].concat();
        let mut child = command(url, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line; waits for it.
    pub fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// The next line that contains this.
    pub fn until(&mut self, part: &str) -> String {
        self.lines.find_map(|line| line.ok().filter(|line| line.contains(part))).unwrap()
    }

    /// Ends it as Ctrl-C does. Returns what it exited with and what it said.
    pub fn interrupt(mut self) -> (Option<i32>, String) {
        assert!(Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap().success());
        let status = self.child.wait().unwrap();
        let said = std::io::read_to_string(self.child.stderr.take().unwrap()).unwrap();
        (status.code(), said)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A service of its own process on this port, with an agent's view of it.
pub fn serve(database: &str, listen: &str) -> Binary {
    let arguments = ["--listen", listen, "--database-url", database].map(str::to_owned);
    Binary::launch(&program(), &arguments, "warn").unwrap()
}

pub async fn party(server: &Binary, user: &str, scope: Option<&str>) -> Party {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    Party::new(endpoint.connect().await.unwrap(), user, scope)
}
