//! Rights: who has which.

use super::fixtures::*;
use crate::domain::*;

/// What this caller is told: its role, or why not.
fn told(operation: Operation, caller: &Caller) -> Result<ActorRole, Refusal> {
    let parties = Story::new(OrderStatus::InProgress).order().parties.clone();
    operation.authorize(caller, &parties, || Refusal::OrderNotFound { order: order_id() })
}

#[test]
fn each_right_is_that_of_the_roles_that_it_names() {
    use ActorRole::{Buyer, Platform, Seller, Support};
    for operation in Operation::ALL {
        let entitled: &[ActorRole] = match operation.right() {
            Right::SignedIn | Right::Viewers | Right::Oneself => &[Buyer, Seller, Support, Platform],
            Right::Parties => &[Buyer, Seller],
            Right::PartiesAndSupport => &[Buyer, Seller, Support],
            Right::Support => &[Support],
            Right::Platform => &[Platform],
        };
        for (role, caller) in [(Buyer, buyer()), (Seller, seller()), (Support, support()), (Platform, platform())] {
            let expected = if entitled.contains(&role) { Ok(role) } else { Err(Refusal::WrongRole) };
            assert_eq!(told(operation, &caller), expected, "{operation:?} {role:?}");
        }
        let not_found = Err(Refusal::OrderNotFound { order: order_id() });
        assert_eq!(told(operation, &stranger()), not_found, "{operation:?}");
    }
}

#[test]
fn a_scope_is_required_by_the_credential_alone_where_nobody_else_has_the_right() {
    for operation in Operation::ALL {
        let needed = match operation.right() {
            Right::SignedIn | Right::Viewers | Right::Parties | Right::PartiesAndSupport | Right::Oneself => None,
            Right::Support => Some(Scope::Support),
            Right::Platform => Some(Scope::Platform),
        };
        for caller in [buyer(), seller(), stranger(), support(), platform()] {
            let expected = needed.filter(|needed| caller.scope != Some(*needed)).map_or(Ok(()), Err);
            assert_eq!(operation.require_scope(&caller), expected, "{operation:?} {caller:?}");
        }
    }
}

#[test]
fn what_is_about_a_user_is_for_that_user_and_for_whoever_has_a_scope() {
    let seller_id = seller().user;
    let told = |caller: &Caller| Operation::GetSellerStanding.require_scope_about(caller, &seller_id);
    for caller in [seller(), support(), platform()] {
        assert_eq!(told(&caller), Ok(()));
    }
    for caller in [buyer(), stranger()] {
        assert_eq!(told(&caller), Err(Scope::Support));
    }
}
