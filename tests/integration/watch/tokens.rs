//! Tokens are the service's alone: nobody reads, makes or changes one, and none is taken for another.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dispute_service::proto::v1;
use tonic::Code;

use crate::support::binary::Binary;
use crate::support::callers::{Facts, Party, facts, refusal};
use crate::support::database;
use crate::support::on_both_databases;
use crate::support::postgres::new_database;
use crate::support::service::Service;

on_both_databases!(
    a_token_tells_nothing_but_the_log,
    a_token_that_was_made_up_or_changed_is_malformed,
    a_page_token_goes_with_its_list_alone,
    tokens_of_another_service_are_none_of_ours,
    a_key_that_makes_no_sense_stops_the_service,
);

fn malformed() -> Facts {
    refusal(Code::InvalidArgument, "RESUME_TOKEN_MALFORMED", &[]).about("resume_token")
}

fn unknown() -> Facts {
    refusal(Code::OutOfRange, "RESUME_TOKEN_UNKNOWN", &[])
}

fn not_a_page() -> Facts {
    refusal(Code::InvalidArgument, "PAGE_TOKEN_INVALID", &[]).about("page_token")
}

/// A list and a stream from a token say the same.
async fn resumed(caller: &mut Party, token: &str) -> Result<(), Facts> {
    let start = Some(v1::list_dispute_events_request::Start::ResumeToken(token.to_owned()));
    let listed =
        caller.disputes.list_dispute_events(v1::ListDisputeEventsRequest { start, ..Default::default() }).await;
    let start = Some(v1::watch_disputes_request::Start::ResumeToken(token.to_owned()));
    let watched = caller.disputes.watch_disputes(v1::WatchDisputesRequest { start, ..Default::default() }).await;
    let (listed, watched) = (listed.map(drop), watched.map(drop));
    let [listed, watched] = [listed, watched].map(|answer| answer.map_err(|status| facts(&status)));
    assert_eq!(listed, watched);
    listed
}

/// The tokens of every event from the beginning on.
async fn tokens(service: &Service) -> Vec<String> {
    use v1::list_dispute_events_request::Start;
    let (mut start, mut tokens) = (Start::FromBeginning(true), Vec::new());
    loop {
        let request = v1::ListDisputeEventsRequest { filter: None, page_size: 1, start: Some(start) };
        let page = service.platform().disputes.list_dispute_events(request).await.unwrap().into_inner();
        tokens.push(page.resume_token.clone());
        if !page.more {
            return tokens;
        }
        start = Start::ResumeToken(page.resume_token);
    }
}

async fn a_token_tells_nothing_but_the_log(service: Service) {
    let empty = service.user("eve").watch(v1::WatchDisputesRequest::default()).await.token;
    service.orders_with_updates(0..12).await;
    let events = service.platform().events().await;
    let all = [vec![empty], tokens(&service).await].concat();
    assert_eq!(all.len(), 13);
    let bytes: Vec<_> = all.iter().map(|token| URL_SAFE_NO_PAD.decode(token).unwrap()).collect();
    for pair in bytes.windows(2) {
        assert_eq!(pair[0].len(), pair[1].len());
        assert_eq!(pair[0][..17], pair[1][..17], "the layout and the log");
        let same = pair[0][17..].iter().zip(&pair[1][17..]).filter(|(one, other)| one == other).count();
        assert!(same < 8, "{same} bytes of two neighbours are the same");
    }
    for (token, event) in bytes[1..].iter().zip(&events) {
        let id = uuid::Uuid::parse_str(&event.event_id).unwrap();
        assert!(!token.windows(4).any(|part| id.as_bytes().windows(4).any(|of_id| part == of_id)));
    }
}

async fn a_token_that_was_made_up_or_changed_is_malformed(service: Service) {
    service.orders_with_updates(0..3).await;
    let token = tokens(&service).await.remove(1);
    let mut eve = service.user("eve");
    assert_eq!(resumed(&mut eve, &token).await, Ok(()));
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    for index in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[index] ^= 0x10;
        // With another log's id it asks for another log.
        let expected = if (1..17).contains(&index) { unknown() } else { malformed() };
        assert_eq!(resumed(&mut eve, &URL_SAFE_NO_PAD.encode(changed)).await, Err(expected), "byte {index}");
    }
    // As they were before they were sealed: the log, the number 1, half of the id of the event there.
    let event = uuid::Uuid::parse_str(&service.platform().events().await[0].event_id).unwrap();
    let mut unsealed = vec![1];
    unsealed.extend_from_slice(&bytes[1..17]);
    unsealed.extend_from_slice(&1_i64.to_be_bytes());
    unsealed.extend_from_slice(&event.as_bytes()[8..]);
    assert_eq!(resumed(&mut eve, &URL_SAFE_NO_PAD.encode(&unsealed)).await, Err(malformed()));
    for text in [&token[..97], &format!("{token}AAAA"), &token.replace(&token[30..40], ""), "0", &"A".repeat(60_000)] {
        assert_eq!(resumed(&mut eve, text).await, Err(malformed()), "{text}");
    }
    assert_eq!(resumed(&mut eve, &token).await, Ok(()));
}

async fn a_page_token_goes_with_its_list_alone(service: Service) {
    service.orders_with_updates(0..3).await;
    let (mut ann, mut platform) = (service.user("ann"), service.platform());
    let disputes = v1::ListDisputesRequest { page_size: 1, ..Default::default() };
    let orders = v1::ListOrdersRequest { page_size: 1, ..Default::default() };
    let list = ann.list(disputes.clone()).await;
    let (of_disputes, resume) = (list.next_page_token, list.resume_token);
    let of_orders = ann.orders.list_orders(orders.clone()).await.unwrap().into_inner().next_page_token;
    for token in [&of_disputes, &of_orders] {
        assert_eq!(resumed(&mut platform, token).await, Err(malformed()), "no page token is a resume token");
    }
    for page_token in [&resume, &of_orders, &of_disputes[1..].to_owned(), &format!("{of_disputes}AAAA")] {
        let request = v1::ListDisputesRequest { page_token: page_token.clone(), ..disputes.clone() };
        assert_eq!(facts(&ann.disputes.list_disputes(request).await.unwrap_err()), not_a_page());
    }
    for page_token in [&resume, &of_disputes] {
        let request = v1::ListOrdersRequest { page_token: page_token.clone(), ..orders.clone() };
        assert_eq!(facts(&ann.orders.list_orders(request).await.unwrap_err()), not_a_page());
    }
    // Another's token grants nothing: the same filter, and what that caller may see.
    let request = v1::ListOrdersRequest { page_token: of_orders, ..orders };
    let eve = service.user("eve").orders.list_orders(request.clone()).await.unwrap().into_inner();
    assert_eq!(eve.orders, []);
    assert_eq!(ann.orders.list_orders(request).await.unwrap().into_inner().orders.len(), 1);
}

async fn tokens_of_another_service_are_none_of_ours(service: Service) {
    let other = Service::on_sqlite().await;
    for service in [&service, &other] {
        service.orders_with_updates(0..3).await;
    }
    let token = tokens(&other).await.remove(1);
    assert_eq!(resumed(&mut service.platform(), &token).await, Err(unknown()));
    let request = v1::ListDisputesRequest { page_size: 1, ..Default::default() };
    let page_token = other.platform().list(request.clone()).await.next_page_token;
    let request = v1::ListDisputesRequest { page_token, ..request };
    assert_eq!(other.platform().list(request.clone()).await.disputes.len(), 1);
    let refused = service.platform().disputes.list_disputes(request).await.unwrap_err();
    assert_eq!(facts(&refused), not_a_page());
}

async fn a_key_that_makes_no_sense_stops_the_service(mut service: Service) {
    service.orders_with_updates(0..1).await;
    service.stop().await;
    for key in ["NULL", if service.url.starts_with("postgres") { "'\\x00'" } else { "x'00'" }] {
        service.execute(&format!("UPDATE event_log SET token_key = {key}")).await;
        let arguments = ["--listen", "127.0.0.1:0", "--database-url", &service.url].map(str::to_owned);
        let said = match Binary::launch(env!("CARGO_BIN_EXE_dispute-service"), &arguments, "warn") {
            Err(said) => said,
            Ok(running) => panic!("it runs: {}", running.log()),
        };
        assert!(said.contains("token_key is not 32 bytes"), "{said}");
    }
}

/// The key of a database, in hexadecimal digits.
async fn key(url: &str) -> String {
    let sql = if url.starts_with("postgres") { "encode(token_key, 'hex')" } else { "lower(hex(token_key))" };
    database::row(url, &format!("SELECT {sql} AS key FROM event_log")).await.try_get("", "key").unwrap()
}

async fn of_replicas_that_start_at_once(url: &str) {
    let start =
        |url: String| std::thread::spawn(move || Binary::start(env!("CARGO_BIN_EXE_dispute-service"), &url, "trace"));
    let replicas = [(); 2].map(|()| start(url.to_owned())).map(|thread| thread.join().unwrap());
    let key = key(url).await;
    assert_eq!(key.len(), 64);
    let bytes: Vec<String> = key
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap().to_string())
        .collect();
    for replica in &replicas {
        let log = replica.log();
        let told = [key.clone(), bytes.join(", "), key.to_uppercase()].into_iter().find(|text| log.contains(text));
        assert_eq!(told, None, "the log tells the key");
    }
    let mut tokens = Vec::new();
    for replica in &replicas {
        let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", replica.address)).unwrap();
        let mut eve = Party::new(channel.connect().await.unwrap(), "eve", None);
        tokens.push(eve.watch(v1::WatchDisputesRequest::default()).await.token);
        for token in &tokens {
            assert_eq!(resumed(&mut eve, token).await, Ok(()));
        }
    }
    assert_eq!(tokens[0], tokens[1], "one key for all replicas");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_start_at_once_on_an_empty_database_share_one_key() {
    if let Some(url) = new_database().await {
        of_replicas_that_start_at_once(&url).await;
    }
}
