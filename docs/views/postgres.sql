-- Views that name the codes, show instants in UTC, and leave out texts and reasons, which are confidential.
-- They exist for one session; nothing is stored. docs/database.md shows how to load them.

CREATE TEMP TABLE code_names (of TEXT NOT NULL, code SMALLINT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (of, code));
INSERT INTO code_names (of, code, name) VALUES
    ('order_status', 1, 'REQUIREMENTS_PENDING'), ('order_status', 2, 'IN_PROGRESS'),
    ('order_status', 3, 'DELIVERED'), ('order_status', 4, 'IN_REVISION'), ('order_status', 5, 'COMPLETED'),
    ('order_status', 6, 'CANCELLED'),
    ('party_role', 1, 'BUYER'), ('party_role', 2, 'SELLER'),
    ('actor_role', 1, 'BUYER'), ('actor_role', 2, 'SELLER'), ('actor_role', 3, 'SUPPORT'),
    ('actor_role', 4, 'PLATFORM'), ('actor_role', 5, 'SYSTEM'),
    ('dispute_kind', 1, 'PARTIAL_REFUND'), ('dispute_kind', 2, 'CANCELLATION'), ('dispute_kind', 3, 'ORDER_UPDATE'),
    ('dispute_kind', 4, 'DELIVERY_EXTENSION'),
    ('dispute_status', 1, 'PENDING'), ('dispute_status', 2, 'ESCALATED'), ('dispute_status', 3, 'ACCEPTED'),
    ('dispute_status', 4, 'DECLINED'), ('dispute_status', 5, 'ANSWERED'), ('dispute_status', 6, 'WITHDRAWN'),
    ('dispute_status', 7, 'EXPIRED'), ('dispute_status', 8, 'SUPERSEDED'), ('dispute_status', 9, 'DECIDED'),
    ('settlement_status', 1, 'DUE'), ('settlement_status', 2, 'SETTLED'), ('settlement_status', 3, 'FAILED'),
    ('settlement_status', 4, 'RETURNED'), ('settlement_status', 5, 'VOIDED'),
    ('silence_rule', 1, 'NO_EFFECT'), ('silence_rule', 2, 'ACCEPT'),
    ('resolved_by', 1, 'RESPONDER'), ('resolved_by', 2, 'OPENER'), ('resolved_by', 3, 'CROSSED'),
    ('resolved_by', 4, 'IMMEDIATE'), ('resolved_by', 5, 'DEADLINE'), ('resolved_by', 6, 'ORDER_COMPLETED'),
    ('resolved_by', 7, 'ORDER_STATUS'), ('resolved_by', 8, 'OTHER_DISPUTE'), ('resolved_by', 9, 'SUPPORT'),
    ('resolved_by', 10, 'ORDER_CANCELLED'),
    ('event_type', 1, 'OPENED'), ('event_type', 2, 'ACCEPTED'), ('event_type', 3, 'DECLINED'),
    ('event_type', 4, 'ANSWERED'), ('event_type', 5, 'WITHDRAWN'), ('event_type', 6, 'DEADLINE_APPROACHING'),
    ('event_type', 7, 'DEADLINE_MOVED'), ('event_type', 8, 'DEADLINE_EXPIRED'), ('event_type', 9, 'SUPERSEDED'),
    ('event_type', 10, 'ESCALATED'), ('event_type', 11, 'DECIDED'), ('event_type', 12, 'SETTLED'),
    ('event_type', 13, 'SETTLEMENT_FAILED'), ('event_type', 14, 'SNAPSHOT'),
    ('event_type', 15, 'SETTLEMENT_RETURNED'), ('event_type', 16, 'SETTLEMENT_VOIDED'), ('event_type', 17, 'COUNTERED'),
    ('reason_code', 1, 'OTHER'), ('reason_code', 2, 'SCOPE_CHANGED'), ('reason_code', 3, 'DELAY_COMPENSATION'),
    ('reason_code', 4, 'BUYER_PARTLY_DISSATISFIED'), ('reason_code', 5, 'DELIVERED_PARTIALLY'),
    ('reason_code', 6, 'QUALITY_BELOW_AGREED'), ('reason_code', 7, 'GOODWILL'),
    ('reason_code', 8, 'UNABLE_TO_COMPLETE'), ('reason_code', 9, 'MUTUAL_AGREEMENT'),
    ('reason_code', 10, 'BUYER_UNRESPONSIVE'), ('reason_code', 11, 'REQUIREMENTS_MISSING'),
    ('reason_code', 12, 'ORDERED_BY_MISTAKE'), ('reason_code', 13, 'DUPLICATE_ORDER'),
    ('reason_code', 14, 'ABUSIVE_BEHAVIOUR'), ('reason_code', 15, 'POLICY_VIOLATION'),
    ('reason_code', 16, 'REQUIREMENTS_CHANGED'), ('reason_code', 17, 'NO_LONGER_NEEDED'),
    ('reason_code', 18, 'SELLER_CANNOT_MEET_EXPECTATIONS'), ('reason_code', 19, 'LATE_DELIVERY'),
    ('reason_code', 20, 'SELLER_UNRESPONSIVE'), ('reason_code', 21, 'NOT_AS_DESCRIBED'),
    ('reason_code', 22, 'UNEXPECTED_EVENT'), ('reason_code', 23, 'UNCLEAR_REQUIREMENTS'),
    ('reason_code', 24, 'WAITING_FOR_BUYER'), ('reason_code', 25, 'WORKLOAD'),
    ('scope', 1, 'SUPPORT'), ('scope', 2, 'PLATFORM'),
    ('audit_action', 1, 'ORDER_UPSERTED'), ('audit_action', 2, 'SETTLEMENT_REPORTED'),
    ('audit_action', 3, 'DEADLINE_POSTPONED'), ('audit_action', 4, 'DISPUTE_ESCALATED'),
    ('audit_action', 5, 'DISPUTE_DECIDED'), ('audit_action', 6, 'DISPUTE_WITHDRAWN'),
    ('audit_action', 7, 'REASON_SHOWN');

CREATE TEMP VIEW orders_readable AS SELECT
    order_id, buyer_id, seller_id,
    COALESCE((SELECT name FROM code_names WHERE of = 'order_status' AND code = status), CAST(status AS TEXT)) AS status,
    currency, price_minor, paid_minor, refunded_minor, refunded_elsewhere_minor,
    to_timestamp(create_time / 1000000) AS create_time,
    to_timestamp(due_time / 1000000) AS due_time,
    to_timestamp(agreed_due_time / 1000000) AS agreed_due_time,
    to_timestamp(end_time / 1000000) AS end_time,
    cancellation_counts, cancelled_no_fault,
    cancelled_by AS cancelled_by,
    refund_accepted AS refund_accepted,
    source_version, revision
FROM orders;

CREATE TEMP VIEW disputes_readable AS SELECT
    dispute_id AS dispute_id,
    order_id, buyer_id, seller_id,
    COALESCE((SELECT name FROM code_names WHERE of = 'dispute_kind' AND code = kind), CAST(kind AS TEXT)) AS kind,
    COALESCE((SELECT name FROM code_names WHERE of = 'party_role' AND code = opener), CAST(opener AS TEXT)) AS opener,
    COALESCE((SELECT name FROM code_names WHERE of = 'dispute_status' AND code = status), CAST(status AS TEXT)) AS status,
    amount_minor, opened_with_minor, max_counter_offers, currency, no_fault,
    to_timestamp(new_due_time / 1000000) AS new_due_time,
    to_timestamp(respond_by / 1000000) AS respond_by,
    to_timestamp(remind_at / 1000000) AS remind_at,
    COALESCE((SELECT name FROM code_names WHERE of = 'silence_rule' AND code = silence_rule), CAST(silence_rule AS TEXT)) AS silence_rule,
    COALESCE((SELECT name FROM code_names WHERE of = 'silence_rule' AND code = silence_rule_after_delivery), CAST(silence_rule_after_delivery AS TEXT)) AS silence_rule_after_delivery,
    to_timestamp(create_time / 1000000) AS create_time,
    to_timestamp(update_time / 1000000) AS update_time,
    revision,
    COALESCE((SELECT name FROM code_names WHERE of = 'actor_role' AND code = escalated_by), CAST(escalated_by AS TEXT)) AS escalated_by,
    to_timestamp(resolve_time / 1000000) AS resolve_time,
    COALESCE((SELECT name FROM code_names WHERE of = 'resolved_by' AND code = resolved_by), CAST(resolved_by AS TEXT)) AS resolved_by,
    outcome_refund_minor, outcome_cancelled, outcome_counts,
    to_timestamp(outcome_new_due_time / 1000000) AS outcome_new_due_time,
    COALESCE((SELECT name FROM code_names WHERE of = 'settlement_status' AND code = settlement_status), CAST(settlement_status AS TEXT)) AS settlement_status,
    settlement_attempt, least_release
FROM disputes;

CREATE TEMP VIEW events_readable AS SELECT
    seq,
    event_id AS event_id,
    dispute_id AS dispute_id,
    order_id, buyer_id, seller_id,
    COALESCE((SELECT name FROM code_names WHERE of = 'dispute_kind' AND code = kind), CAST(kind AS TEXT)) AS kind,
    COALESCE((SELECT name FROM code_names WHERE of = 'event_type' AND code = event_type), CAST(event_type AS TEXT)) AS event_type,
    to_timestamp(event_time / 1000000) AS event_time
FROM events;

CREATE TEMP VIEW audit_readable AS SELECT
    seq,
    to_timestamp(time / 1000000) AS time,
    user_id,
    COALESCE((SELECT name FROM code_names WHERE of = 'scope' AND code = scope), CAST(scope AS TEXT)) AS scope,
    COALESCE((SELECT name FROM code_names WHERE of = 'audit_action' AND code = action), CAST(action AS TEXT)) AS action,
    order_id,
    dispute_id AS dispute_id,
    revision
FROM audit;
