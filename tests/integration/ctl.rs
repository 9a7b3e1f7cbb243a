//! `dispute-service ctl`: what an agent and a script see of a real service, through the real program.

use std::io::{BufRead as _, BufReader, Lines};
use std::process::{Child, ChildStdout, Command, Stdio};

use dispute_service::clock::Clock;
use dispute_service::proto::v1;
use serde_json::{Value, json};

use crate::support::binary::{Binary, program};
use crate::support::issuer::{AUDIENCE, ISSUER, Issuer, claims, with};
use crate::support::messages::*;
use crate::support::service::Service;
use crate::support::tls::Secured;

/// What the program has printed, and what it has exited with.
#[derive(Debug)]
struct Printed {
    code: i32,
    out: String,
    err: String,
}

impl Printed {
    /// What is on stdout, of a run that went well and had nothing else to say.
    fn fine(self) -> String {
        assert_eq!((self.code, self.err.as_str()), (0, ""), "{}", self.out);
        self.out
    }

    /// The same, each line as JSON.
    fn objects(self) -> Vec<Value> {
        self.fine().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What is on stderr, of a run that failed with this code and printed nothing else.
    fn failed(self, code: i32) -> String {
        assert_eq!((self.code, self.out.as_str()), (code, ""), "{}", self.err);
        self.err
    }
}

fn command(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    // The shell of somebody who runs a service, too: nothing of it is the client's.
    command
        .env("DISPUTES_POLICY", "/nowhere/policy.toml")
        .env("DISPUTES_LISTEN", "nonsense")
        .env("DISPUTES_AUTH", "jwt");
    command.args(["ctl", "--url", url]).args(arguments).stdin(Stdio::null());
    command
}

fn run(url: &str, arguments: &[&str]) -> Printed {
    let output = command(url, arguments).output().unwrap();
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    Printed { code: output.status.code().unwrap(), out, err }
}

fn url(service: &Service) -> String {
    format!("http://{}", service.address)
}

/// A dispute about 20.00 USD that the buyer has taken to support.
async fn escalated(service: &Service, order: &str) -> String {
    let dispute = service.order_with_offer(order, 2_000).await;
    service.user("ann").decline(decline(&dispute.dispute_id)).await.unwrap();
    service.user("ann").escalate(escalate(&dispute.dispute_id)).await.unwrap().dispute_id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_sees_what_to_decide_first_and_then_what_is_most_urgent() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    assert_eq!(run(&url, &["list"]).fine(), "No such disputes.\n");
    let late = service.order_with_update("o1", "ann").await.dispute_id;
    let decided = escalated(&service, "o2").await;
    service.clock.advance(std::time::Duration::from_secs(3_600));
    let later = service.order_with_cancellation("o3", "bob").await.dispute_id;
    let done = service.order_with_offer("o4", 500).await.dispute_id;
    service.user("ann").accept(accept(&done)).await.unwrap();
    let printed = run(&url, &["list"]).fine();
    let lines: Vec<_> =
        printed.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty())).collect();
    let [heading, rows @ ..] = lines.as_slice() else { panic!("{printed}") };
    let headings = ["dispute", "order", "kind", "status", "on the table", "awaiting", "respond by"];
    assert_eq!(heading.clone().collect::<Vec<_>>(), headings);
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.clone().collect()).collect();
    assert_eq!(
        rows,
        [
            vec![&decided, "o2", "partial refund", "escalated", "20.00 USD", "buyer"],
            vec![&late, "o1", "order update", "pending", "seller", "2026-01-03 00:00:00Z, in 47 h"],
            vec![&later, "o3", "cancellation", "pending", "cancellation", "buyer", "2026-01-03 01:00:00Z, in 2 d"],
        ]
    );
    let ids = |arguments: &[&str]| -> Vec<String> {
        let disputes = run(&url, &[&["list", "--json"], arguments].concat()).objects();
        disputes.iter().map(|dispute| dispute["disputeId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&["--all"]), [&*decided, &late, &later, &done]);
    assert_eq!(ids(&["--status", "accepted"]), [&*done]);
    assert_eq!(ids(&["--settlement-status", "due"]), [&*done]);
    assert_eq!(ids(&["--kind", "cancellation", "--kind", "order-update", "--party-id", "bob"]), [&*late, &later]);
    assert_eq!(ids(&["--order-id", "o3"]), [&*later]);
    assert_eq!(ids(&["--party-id", "nobody"]), [""; 0]);
    assert_eq!(ids(&["--limit", "2"]), [&*decided, &late]);
    let cut = run(&url, &["list", "--limit", "2"]);
    assert_eq!((cut.code, cut.out.lines().count()), (0, 3));
    assert_eq!(cut.err, "More disputes match than the 2 that --limit allows.\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_goes_on_over_pages() {
    let service = Service::on_sqlite().await;
    service.many_orders_with_updates("o", 0..520, "ann").await;
    let all = run(&url(&service), &["list", "--limit", "1000", "--json"]).objects();
    assert_eq!(all.len(), 520);
    let cut = run(&url(&service), &["list", "--limit", "510"]);
    assert_eq!((cut.out.lines().count(), cut.err.contains("--limit")), (511, true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispute_is_shown_with_its_order_and_its_history() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    let dispute = escalated(&service, "o1").await;
    let printed = run(&url, &["show", &dispute]).fine();
    for line in [
        &format!("Dispute {dispute}"),
        "  status        escalated",
        "  opened by     the seller bob, 2026-01-01 00:00:00Z",
        "  on the table  20.00 USD",
        "  message       Sorry for the delay.",
        "  reason        delay compensation (in confidence: the other party does not see it)",
        "  awaiting      the buyer ann",
        "  if accepted   20.00 USD is refunded",
        "  escalated by  buyer",
        "  you can       decide",
        "  etag          3",
        "Order o1",
        "  title          A logo",
        "  price          100.00 USD",
        "  refunded       0.00 USD",
        "History",
        "  2026-01-01 00:00:00Z  opened                by seller bob",
        "      20.00 USD",
        "      Sorry for the delay.",
        "  2026-01-01 00:00:00Z  declined              by buyer ann",
        "  2026-01-01 00:00:00Z  escalated             by buyer ann",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n{printed}");
    }
    let [shown] = run(&url, &["show", &dispute, "--json"]).objects().try_into().unwrap();
    assert_eq!(shown["dispute"]["disputeId"], *dispute);
    assert_eq!(shown["dispute"]["reason"], "REASON_DELAY_COMPENSATION");
    assert_eq!(shown["dispute"]["revision"], "3", "64 bits are a text");
    assert_eq!(shown["dispute"]["createTime"], "2026-01-01T00:00:00.000001Z");
    assert_eq!(shown["dispute"]["refundAmount"], json!({"currencyCode": "USD", "units": "20"}));
    assert_eq!(shown["order"]["status"], "ORDER_STATUS_IN_PROGRESS");
    assert!(shown["serverTime"].is_string());
    let types: Vec<_> = shown["events"].as_array().unwrap().iter().map(|event| &event["type"]).collect();
    assert_eq!(types, ["EVENT_TYPE_OPENED", "EVENT_TYPE_DECLINED", "EVENT_TYPE_ESCALATED"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_history_that_is_no_longer_kept_is_said_to_be_gone() {
    let mut service = Service::on_sqlite().await;
    service.restart_with_policy("event_retention = \"1h\"").await;
    let dispute = service.order_with_offer("o1", 2_000).await.dispute_id;
    service.clock.advance(std::time::Duration::from_secs(7_200));
    service.order_with_update("o2", "ann").await;
    service.clock.advance(std::time::Duration::from_secs(60));
    service.forgotten(1).await;
    let printed = run(&url(&service), &["show", &dispute]).fine();
    assert!(printed.ends_with("\nHistory\n  Events 1 to 1 are no longer kept.\n"), "{printed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_of_strangers_reach_no_terminal_raw() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    service.platform().upsert(v1::Order { title: "Logo\nOrder forged".to_owned(), ..order("o1") }).await;
    let message = "line 1\n  etag  99\t\u{2066}reversed\u{200f}";
    let offered = v1::OfferPartialRefundRequest { message: message.to_owned(), ..offer("o1", 2_000) };
    let dispute = service.user("bob").offer(offered).await.unwrap().dispute_id;
    // Past every check, as an older release or a restored table might have it.
    service.execute("UPDATE disputes SET message = message || char(27) || '[2J' || char(155) || char(8238)").await;
    let shown = run(&url, &["show", &dispute]).fine();
    for line in [
        "  title          Logo",
        "                 Order forged",
        "  message       line 1",
        "                  etag  99  \\u2066reversed\\u200f\\u001b[2J\\u009b\\u202e",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
    }
    let printed = [
        shown,
        run(&url, &["show", &dispute, "--json"]).fine(),
        run(&url, &["list"]).fine(),
        run(&url, &["list", "--json"]).fine(),
        Tail::start(&url, &["--from-beginning"]).next(),
        Tail::start(&url, &["--from-beginning", "--json"]).until("eventId"),
        run(&url, &["postpone", &dispute, "--by", "1h", "--message", message, "--dry-run"]).fine(),
        run(&url, &["show", "\u{1b}[2J"]).failed(1),
    ];
    let is_raw =
        |text: &str| text.chars().any(|c| (c.is_control() && c != '\n') || "\u{2066}\u{200f}\u{202e}".contains(c));
    for text in &printed {
        assert!(!is_raw(text), "{text:?}");
    }
    let listed: Value = serde_json::from_str(&printed[3]).unwrap();
    assert_eq!(
        listed["message"],
        format!("{message}\u{1b}[2J\u{9b}\u{202e}"),
        "in JSON the escapes mean the characters"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_tried_out_then_made_and_not_made_twice() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    let dispute = escalated(&service, "o1").await;
    let decide = |flags: &[&str]| run(&url, &[&["decide", &dispute, "--message", "Both are right."], flags].concat());
    let tried = decide(&["--cancel-order", "--does-not-count", "--dry-run"]).fine();
    for part in [
        "A dry run: nothing has happened. Without --dry-run, dispute",
        "  outcome     the order is cancelled and does not count against the seller's completion rate; 100.00 USD is refunded",
    ] {
        assert!(tried.contains(part), "{part}\n{tried}");
    }
    assert_eq!(service.support().dispute(&dispute).await.status(), v1::DisputeStatus::Escalated);

    let said = decide(&["--refund", "100.01"]).failed(1);
    let expected = "dispute-service: refused: the amount must be from 0.01 USD to 100.00 USD (INVALID_ARGUMENT \
                    AMOUNT_OUT_OF_RANGE)\n  currency: USD\n  maxAmount: 100.00\n  minAmount: 0.01\n";
    assert_eq!(said, expected);
    let said = run(&url, &["decide", &dispute, "--message", " ", "--refund", "0.001"]).failed(1);
    let expected = "dispute-service: refused: message: must not be empty; and 1 more (INVALID_ARGUMENT INVALID_FIELD)\n  \
                    message: must not be empty\n  refund: has more decimals than the currency\n";
    assert_eq!(said, expected);
    let said = decide(&["--no-action", "--etag", "2"]).failed(1);
    let expected = "dispute-service: refused: the dispute has changed since it was read; read it again (ABORTED ETAG_MISMATCH)\n  \
                    etag: 3\nLook at the dispute with `ctl show` before you repeat this.\n";
    assert_eq!(said, expected);
    let said = decide(&["--no-action", "--etag", "2", "--json"]).failed(1);
    let error: Value = serde_json::from_str(&said).unwrap();
    let message = "the dispute has changed since it was read; read it again";
    assert_eq!(
        error,
        json!({"code": "ABORTED", "reason": "ETAG_MISMATCH", "message": message, "metadata": {"etag": "3"}, "violations": []})
    );

    let [decided] = decide(&["--refund", "12.50", "--json"]).objects().try_into().unwrap();
    assert_eq!(decided["status"], "DISPUTE_STATUS_DECIDED");
    assert_eq!(decided["outcome"], json!({"refund": {"currencyCode": "USD", "units": "12", "nanos": 500_000_000}}));
    assert_eq!((&decided["decidedBy"], &decided["decisionMessage"]), (&json!("agent"), &json!("Both are right.")));
    let said = decide(&["--refund", "12.50"]).failed(1);
    let expected = "dispute-service: refused: the dispute is DECIDED (FAILED_PRECONDITION STATUS_NOT_ALLOWED)\n  status: DECIDED\n";
    assert_eq!(said, expected);
    assert_eq!(run(&url, &["show", "none", "--json"]).failed(1).matches("DISPUTE_ID").count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_what_its_flag_says() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    for (order, flags, outcome) in [
        ("o1", &["--no-action"][..], "nothing changes"),
        ("o2", &["--refund", "12.50"], "12.50 USD is refunded"),
        (
            "o3",
            &["--cancel-order"],
            "the order is cancelled and counts against the seller's completion rate; 100.00 USD is refunded",
        ),
    ] {
        let dispute = escalated(&service, order).await;
        let said = run(&url, &[&["decide", &dispute, "--message", "m"], flags].concat()).fine();
        assert!(said.starts_with(&format!("Decided. Dispute {dispute} now:\n")), "{said}");
        assert!(
            said.lines()
                .any(|line| line == format!("  outcome     {outcome}") || line == format!("  outcome  {outcome}")),
            "{said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_moves_to_an_instant_or_by_a_span_and_only_forward() {
    let service = Service::on_sqlite().await;
    let url = url(&service);
    let dispute = service.order_with_update("o1", "ann").await.dispute_id;
    let postpone = |flags: &[&str]| run(&url, &[&["postpone", &dispute, "--message", "A day more."], flags].concat());
    let tried = postpone(&["--by", "24h", "--dry-run"]).fine();
    assert!(
        tried.starts_with("A dry run: nothing has happened.") && tried.contains("2026-01-04 00:00:00Z, in 3 d"),
        "{tried}"
    );
    let said = postpone(&["--by", "24h"]).fine();
    assert!(said.starts_with("Postponed.") && said.contains("  message     A day more."), "{said}");
    let [moved] = postpone(&["--until", "2026-01-05T13:00:00+01:00", "--json"]).objects().try_into().unwrap();
    assert_eq!(moved["respondBy"], "2026-01-05T12:00:00Z");
    let said = postpone(&["--until", "2026-01-05T12:00:00Z"]).failed(1);
    assert!(
        said.contains("respond_by: must be later than the current deadline") && said.contains("INVALID_FIELD"),
        "{said}"
    );
    let shown = run(&url, &["show", &dispute]).fine();
    assert!(
        shown.contains("deadline moved        by support\n      to 2026-01-05 12:00:00Z\n      A day more.\n"),
        "{shown}"
    );
}

/// A `tail` that runs. Killed when dropped.
struct Tail {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Tail {
    fn start(url: &str, arguments: &[&str]) -> Self {
        let arguments = [&["tail"], arguments].concat();
        let mut child = command(url, &arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// The next line; waits for it.
    fn next(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    /// The next line that contains this.
    fn until(&mut self, part: &str) -> String {
        self.lines.find_map(|line| line.ok().filter(|line| line.contains(part))).unwrap()
    }

    /// Ends it as Ctrl-C does. Returns what it exited with and what it said.
    fn interrupt(mut self) -> (Option<i32>, String) {
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
fn serve(database: &str, listen: &str) -> Binary {
    let arguments = ["--listen", listen, "--database-url", database].map(str::to_owned);
    Binary::launch(&program(), &arguments, "warn").unwrap()
}

async fn party(server: &Binary, user: &str, scope: Option<&str>) -> crate::support::callers::Party {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    crate::support::callers::Party::new(endpoint.connect().await.unwrap(), user, scope)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_goes_on_over_a_server_that_is_killed_and_ends_with_the_token_to_go_on_from() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}?mode=rwc", folder.path().join("disputes.db").display());
    let server = serve(&database, "127.0.0.1:0");
    let (address, url) = (server.address.clone(), format!("http://{}", server.address));
    for id in ["o1", "o2", "o3"] {
        party(&server, "shop", Some("platform")).await.upsert(order(id)).await;
    }
    party(&server, "ann", None).await.ask(update("o1")).await.unwrap();
    let mut tail = Tail::start(&url, &["--from-beginning", "--kind", "order-update"]);
    assert!(tail.next().contains("opened                "), "the first one is there");
    server.kill();
    let server = serve(&database, &address);
    party(&server, "bob", None).await.offer(offer("o1", 500)).await.unwrap();
    let dispute = party(&server, "ann", None).await.ask(update("o2")).await.unwrap().dispute_id;
    let line = tail.next();
    assert!(line.contains(&dispute) && line.contains("  order update        by buyer ann  “"), "{line}");
    let (code, said) = tail.interrupt();
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("the watch was interrupted: reconnecting"), "{said}");
    let token = said.lines().last().unwrap().strip_prefix("To go on from here: --resume-token ").unwrap();

    let next = party(&server, "ann", None).await.ask(update("o3")).await.unwrap().dispute_id;
    let line = Tail::start(&url, &["--resume-token", token, "--json"]).until("eventId");
    let batch: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(batch["events"].as_array().unwrap().len(), 1, "{line}");
    assert_eq!(batch["events"][0]["dispute"]["disputeId"], *next);
    assert!(batch["resumeToken"].as_str().is_some_and(|token| !token.is_empty()));
    let said = run(&url, &["tail", "--resume-token", "nonsense"]).failed(1);
    assert!(said.contains("RESUME_TOKEN_MALFORMED"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_sent_over_tls_to_a_service_that_the_authority_vouches_for() {
    let folder = tempfile::tempdir().unwrap();
    let (keys, token) = (folder.path().join("jwks"), folder.path().join("token"));
    let issuer = Issuer::ed25519();
    std::fs::write(&keys, json!({"keys": [issuer.jwk("a")]}).to_string()).unwrap();
    let jwt = ["--auth", "jwt", "--jwt-issuer", ISSUER, "--jwt-audience", AUDIENCE, "--jwt-jwks"];
    let service = Secured::start(&[&jwt[..], &[&keys.display().to_string()]].concat());
    let url = format!("https://localhost:{}", service.address().port());
    let ca = service.folder().join("ca.pem").display().to_string();
    let token_file = token.display().to_string();
    let list = |flags: &[&str]| run(&url, &[&["list", "--json", "--ca", &ca], flags].concat());
    let with_token = || list(&["--token-file", &token_file]);

    let claims = claims("sam", Clock::system().now());
    std::fs::write(&token, format!("{}\n", issuer.named("a", &with(claims.clone(), "scope", "support")))).unwrap();
    assert_eq!(with_token().fine(), "");
    std::fs::write(&token, issuer.named("a", &with(claims, "exp", 1))).unwrap();
    let said = with_token().failed(1);
    assert!(said.contains(r#""code":"UNAUTHENTICATED""#) && said.contains("CREDENTIAL_EXPIRED"), "{said}");
    assert!(list(&[]).failed(1).contains("CREDENTIAL_"), "ids are for --auth dev");
    std::fs::write(&token, " \n").unwrap();
    assert!(with_token().failed(2).contains("is empty"));
    std::fs::remove_file(&token).unwrap();
    assert!(with_token().failed(2).contains("--token-file (DISPUTES_TOKEN_FILE)"));

    // Nobody vouches for it but its own authority.
    assert!(run(&url, &["list", "--timeout", "2s"]).failed(3).contains("no answer from https://localhost"));
    let other = folder.path().join("other.pem");
    std::fs::write(&other, crate::support::authority::Authority::new("Other").pem()).unwrap();
    let said = run(&url, &["list", "--timeout", "2s", "--ca", &other.display().to_string()]).failed(3);
    assert!(said.contains("certificate"), "{said}");
    let said = run(&url, &["list", "--ca", &keys.display().to_string()]).failed(2);
    assert!(said.contains("contains no certificate in PEM"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_that_is_away_or_silent_is_no_refusal() {
    let away = run("http://127.0.0.1:1", &["list", "--timeout", "1s"]).failed(3);
    assert!(
        away.starts_with("dispute-service: no answer from http://127.0.0.1:1: ") && away.contains("refused"),
        "{away}"
    );
    let away = run("http://127.0.0.1:1", &["list", "--timeout", "1s", "--json"]).failed(3);
    let error: Value = serde_json::from_str(&away).unwrap();
    assert_eq!((&error["code"], &error["reason"]), (&json!("UNAVAILABLE"), &json!("")));
    // It accepts connections, and says nothing.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}", listener.local_addr().unwrap());
    let said = run(&silent, &["list", "--timeout", "1s"]).failed(3);
    assert!(said.contains("no answer from") && said.contains("within 1s"), "{said}");
    assert!(!said.contains("It is not known"), "a read changes nothing: {said}");
}

#[test]
fn usage_is_refused_before_anything_is_called() {
    let nowhere = "http://127.0.0.1:1";
    for (arguments, why) in [
        (&["list", "--policy", "p.toml"][..], "--policy is for the service"),
        (&["decide", "d1", "--message", "m"], "--no-action|--refund <AMOUNT>|--cancel-order"),
        (&["decide", "d1", "--message", "m", "--refund", "1,5"], "expected an amount such as 12.50"),
        (&["list", "--status", "open"], "possible values: pending"),
        (&["list", "--ca", "ca.pem"], "--ca (DISPUTES_CA) is for TLS"),
        (&["list", "--token-file", "/nowhere"], "No such file or directory"),
    ] {
        let said = run(nowhere, arguments).failed(2);
        assert!(said.contains(why), "{why}: {said}");
    }
    let said = run("http://disputes.example:1", &["list", "--token-file", "t"]).failed(2);
    assert!(said.contains("would cross the network in the clear"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flags_come_from_the_environment_too_and_an_empty_variable_is_unset() {
    let service = Service::on_sqlite().await;
    service.order_with_update("o1", "ann").await;
    let with = |variables: &[(&str, &str)]| {
        let output = Command::new(program()).args(["ctl", "list"]).envs(variables.iter().copied()).output().unwrap();
        let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
        Printed { code: output.status.code().unwrap(), out, err }
    };
    let url = url(&service);
    assert_eq!(with(&[("DISPUTES_URL", &url), ("DISPUTES_JSON", "true"), ("DISPUTES_CA", "")]).objects().len(), 1);
    let said = with(&[("DISPUTES_URL", &url), ("DISPUTES_USER_ID", "ann smith")]).failed(1);
    assert!(said.contains("CREDENTIAL_INVALID"), "{said}");
    let said = with(&[("DISPUTES_TIMEOUT", "soon")]).failed(2);
    assert!(said.contains("--timeout, set by the environment variable DISPUTES_TIMEOUT"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_has_read_enough_is_no_failure() {
    let service = Service::on_sqlite().await;
    service.many_orders_with_updates("o", 0..400, "ann").await;
    let mut list = command(&url(&service), &["list", "--limit", "1000", "--json"]);
    let mut list = list.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Less than there is, and more than a pipe holds is left.
    let first = BufReader::with_capacity(1, list.stdout.take().unwrap()).lines().next().unwrap().unwrap();
    assert!(first.starts_with('{'));
    let output = list.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(0), String::new()));
}
