//! The connection to the service: who calls, and what is tried again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Response, Status};
use tonic_types::StatusExt as _;

use super::error::CtlError;
use crate::chance::jittered;
use crate::clock::pause;
use crate::config::{CtlConnection, ServiceUrl, in_words};
use crate::proto::v1::dispute_service_client::DisputeServiceClient;
use crate::proto::v1::order_service_client::OrderServiceClient;

/// How often a call is repeated that found the service unavailable …
const REPEATS: u32 = 5;

/// … and how long to wait before the first time; twice as long before each further one. A restart takes a second or two.
const FIRST_WAIT: Duration = Duration::from_millis(200);

/// How often the connection of a `tail` is pinged, so that one that has gone silent is noticed.
const PING_INTERVAL: Duration = Duration::from_secs(20);

/// A client of `disputes.v1.DisputeService`, which says who calls.
pub(super) type Disputes = DisputeServiceClient<InterceptedService<Channel, Agent>>;

/// A client of `disputes.v1.OrderService`, likewise.
pub(super) type Orders = OrderServiceClient<InterceptedService<Channel, Agent>>;

/// The service.
pub(super) struct Service {
    url: ServiceUrl,
    endpoint: Endpoint,
    channel: Channel,
    agent: Agent,
    timeout: Duration,
}

/// Who calls.
#[derive(Clone)]
pub(super) enum Agent {
    /// Whoever the token in this file names.
    Token(PathBuf),
    /// Whoever it says, with a scope.
    Named { user: MetadataValue<Ascii>, scope: MetadataValue<Ascii> },
}

impl Service {
    /// Needs a runtime, but does not connect yet.
    pub(super) fn new(flags: &CtlConnection) -> Result<Self, CtlError> {
        let agent = Agent::new(flags)?;
        let endpoint = endpoint(flags)?.connect_timeout(flags.timeout.0).http2_keep_alive_interval(PING_INTERVAL);
        let channel = endpoint.connect_lazy();
        Ok(Self { url: flags.url.clone(), endpoint, channel, agent, timeout: flags.timeout.0 })
    }

    /// Where it is.
    pub(super) fn url(&self) -> &ServiceUrl {
        &self.url
    }

    /// Fails if the token cannot be read, which calls do by themselves.
    pub(super) fn require_credentials(&self) -> Result<(), CtlError> {
        self.agent.require_readable()
    }

    /// Makes clients with a connection of their own, as [`crate::client::watch`] wants them.
    pub(super) fn connector(&self) -> impl FnMut() -> Disputes + Send + 'static {
        let (endpoint, agent) = (self.endpoint.clone(), self.agent.clone());
        move || DisputeServiceClient::with_interceptor(endpoint.connect_lazy(), agent.clone())
    }

    /// Calls `disputes.v1.DisputeService`. A call that finds the service unavailable, or whose connection breaks, is made again
    /// a few times, all within the time of a call: it must be one that can be repeated.
    pub(super) async fn disputes<R>(
        &self,
        call: impl AsyncFn(Disputes) -> Result<Response<R>, Status>,
    ) -> Result<R, CtlError> {
        let client = DisputeServiceClient::with_interceptor(self.channel.clone(), self.agent.clone());
        self.repeated(async || call(client.clone()).await).await
    }

    /// The same of `disputes.v1.OrderService`.
    pub(super) async fn orders<R>(
        &self,
        call: impl AsyncFn(Orders) -> Result<Response<R>, Status>,
    ) -> Result<R, CtlError> {
        let client = OrderServiceClient::with_interceptor(self.channel.clone(), self.agent.clone());
        self.repeated(async || call(client.clone()).await).await
    }

    async fn repeated<R>(&self, call: impl AsyncFn() -> Result<Response<R>, Status>) -> Result<R, CtlError> {
        self.agent.require_readable()?;
        let mut last = None;
        let calls = async {
            let mut wait = FIRST_WAIT;
            for _ in 0..REPEATS {
                match call().await {
                    Err(status) if is_transient(&status) => {
                        let asked_for = status.get_error_details().retry_info().and_then(|info| info.retry_delay);
                        last = Some(status);
                        pause(asked_for.unwrap_or_default().saturating_add(jittered(wait))).await;
                        wait = wait.saturating_mul(2);
                    }
                    result => return result,
                }
            }
            call().await
        };
        let result = tokio::time::timeout(self.timeout, calls).await;
        let late = || Status::deadline_exceeded(format!("nothing arrived within {:?}", self.timeout));
        match result {
            Ok(result) => result.map(Response::into_inner).map_err(|status| CtlError::of(status, &self.url)),
            // Why it was unavailable says more than that time has passed.
            Err(_) => Err(CtlError::of(last.unwrap_or_else(late), &self.url)),
        }
    }
}

/// Whether the service could not serve the call now, or the connection has broken, which comes as UNKNOWN, too.
fn is_transient(status: &Status) -> bool {
    status.code() == Code::Unavailable || std::error::Error::source(status).is_some()
}

/// The service's address, with the authorities that it is believed by.
fn endpoint(flags: &CtlConnection) -> Result<Endpoint, CtlError> {
    let endpoint = Endpoint::from(flags.url.uri().clone());
    if !flags.url.is_tls() {
        return Ok(endpoint);
    }
    let tls = match &flags.ca {
        Some(file) => {
            let why = |why: &str| CtlError::Local(format!("--ca (DISPUTES_CA) {}: {why}", file.display()));
            let pem = fs::read(file).map_err(|error| why(&in_words(&error)))?;
            if CertificateDer::pem_slice_iter(&pem).next().is_none_or(|first| first.is_err()) {
                return Err(why("contains no certificate in PEM"));
            }
            ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
        }
        None => ClientTlsConfig::new().with_native_roots(),
    };
    endpoint.tls_config(tls).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        CtlError::Local(format!("the authorities of --ca, or of this machine, cannot be used: {error}{cause}"))
    })
}

impl Agent {
    fn new(flags: &CtlConnection) -> Result<Self, CtlError> {
        let value = |text: &str| {
            text.parse().map_err(|_| CtlError::Local(format!("--user-id {text:?} cannot be sent as an id")))
        };
        Ok(match &flags.token_file {
            Some(file) => Self::Token(file.clone()),
            None => Self::Named { user: value(&flags.user_id)?, scope: value(flags.scope.name())? },
        })
    }

    /// Whether the token can be read now. If not later on, a call fails.
    fn require_readable(&self) -> Result<(), CtlError> {
        match self {
            Self::Token(file) => token(file).map(|_| ()).map_err(CtlError::Local),
            Self::Named { .. } => Ok(()),
        }
    }
}

impl Interceptor for Agent {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let metadata = request.metadata_mut();
        match self {
            Self::Token(file) => {
                // Unavailable is tried again: the file may be replaced at this moment.
                metadata.insert("authorization", token(file).map_err(Status::unavailable)?);
            }
            Self::Named { user, scope } => {
                metadata.insert("x-user-id", user.clone());
                metadata.insert("x-scope", scope.clone());
            }
        }
        Ok(request)
    }
}

/// The header with the token of this file; else what is wrong with the file, without repeating what is in it.
fn token(file: &Path) -> Result<MetadataValue<Ascii>, String> {
    let named = |why: &str| format!("--token-file (DISPUTES_TOKEN_FILE) {}: {why}", file.display());
    let text = fs::read_to_string(file).map_err(|error| named(&in_words(&error)))?;
    let token = text.trim();
    if token.is_empty() {
        return Err(named("is empty"));
    }
    let header: Result<MetadataValue<Ascii>, _> = format!("Bearer {token}").parse();
    let mut header = header.map_err(|_| named("contains no token"))?;
    // So that it is in no log, and not kept by the compression of headers.
    header.set_sensitive(true);
    Ok(header)
}
