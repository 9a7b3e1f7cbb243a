//! The client certificates of open connections: one that no authority vouches for any more is withdrawn.

use std::mem::take;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

/// The certificates of clients, for as long as somebody holds their tokens.
#[derive(Default, Debug)]
pub(super) struct Peers(Mutex<Vec<Arc<Peer>>>);

#[derive(Debug)]
struct Peer {
    /// What the client has shown, its own certificate first.
    chain: Vec<CertificateDer<'static>>,
    /// Gone with the last request on the connection.
    withdrawn: Weak<CancellationToken>,
}

impl Peers {
    /// Takes note of a connection with this chain. The token is cancelled once the chain is withdrawn.
    pub(super) fn enter(&self, chain: &[CertificateDer<'_>]) -> Arc<CancellationToken> {
        let withdrawn = Arc::new(CancellationToken::new());
        let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let peer = Arc::new(Peer { chain, withdrawn: Arc::downgrade(&withdrawn) });
        let mut peers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // There are never more than twice as many as connections, and each is looked at a constant number of times.
        if peers.len() == peers.capacity() {
            *peers = still_there(take(&mut *peers));
            let count = peers.len();
            peers.reserve(count.saturating_add(1));
        }
        peers.push(peer);
        withdrawn
    }

    /// Withdraws the chains that are not vouched for; returns how many.
    pub(super) fn withdraw_unless(&self, is_vouched_for: impl Fn(&[CertificateDer<'_>]) -> bool) -> usize {
        // Judging takes a while, and handshakes do not wait for it.
        let peers = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let withdrawn =
            peers.iter().filter(|peer| !is_vouched_for(&peer.chain)).filter_map(|peer| peer.withdrawn.upgrade());
        withdrawn.filter(|token| !token.is_cancelled()).map(|token| token.cancel()).count()
    }
}

fn still_there(mut peers: Vec<Arc<Peer>>) -> Vec<Arc<Peer>> {
    peers.retain(|peer| peer.withdrawn.strong_count() > 0);
    peers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(name: u8) -> [CertificateDer<'static>; 1] {
        [CertificateDer::from(vec![name])]
    }

    #[test]
    fn what_is_no_longer_vouched_for_is_withdrawn_and_what_is_gone_is_forgotten() {
        let peers = Peers::default();
        let (one, two) = (peers.enter(&chain(1)), peers.enter(&chain(2)));
        assert_eq!(peers.withdraw_unless(|_| true), 0);
        assert_eq!(peers.withdraw_unless(|chain| chain[0].as_ref() != [1]), 1);
        assert!(one.is_cancelled() && !two.is_cancelled());
        assert_eq!(peers.withdraw_unless(|chain| chain[0].as_ref() != [1]), 0, "once");
        for _ in 0..1_000 {
            peers.enter(&chain(3));
        }
        let known = peers.0.lock().unwrap().len();
        assert!(known < 20, "{known}");
        assert_eq!(peers.withdraw_unless(|_| false), 1, "only two is left");
        assert!(two.is_cancelled());
    }
}
