//! What the service says of its health, as a load balancer hears it.

use std::time::Duration;

use tokio::sync::watch::{self, Receiver};
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

/// Within this time health turns, and turns back.
const PROMISED: Duration = Duration::from_secs(2);

/// Follows the health of a service.
pub struct Health(Receiver<ServingStatus>);

impl Health {
    /// Of the service that this connection leads to.
    pub async fn of(channel: Channel) -> Self {
        let request = HealthCheckRequest { service: "disputes.v1.DisputeService".to_owned() };
        let mut said = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
        let (tell, told) = watch::channel(said.message().await.unwrap().unwrap().status());
        tokio::spawn(async move {
            while let Ok(Some(message)) = said.message().await {
                tell.send_replace(message.status());
            }
        });
        Self(told)
    }

    /// What it says now.
    pub fn is_serving(&self) -> bool {
        *self.0.borrow() == ServingStatus::Serving
    }

    /// Turns NOT_SERVING in time.
    pub async fn turns_not_serving(&mut self) {
        self.turns(ServingStatus::NotServing).await;
    }

    /// Turns SERVING in time.
    pub async fn turns_serving(&mut self) {
        self.turns(ServingStatus::Serving).await;
    }

    /// Turns NOT_SERVING in time, unless the service is gone by then.
    pub async fn turns_not_serving_or_ends(&mut self) {
        let turned = self.0.wait_for(|status| *status == ServingStatus::NotServing);
        // The sender goes when the stream ends.
        drop(tokio::time::timeout(PROMISED, turned).await.unwrap_or_else(|_| panic!("it serves for {PROMISED:?}")));
    }

    async fn turns(&mut self, expected: ServingStatus) {
        let turned = tokio::time::timeout(PROMISED, self.0.wait_for(|status| *status == expected)).await;
        drop(turned.unwrap_or_else(|_| panic!("health is not {expected:?} within {PROMISED:?}")).unwrap());
    }
}
