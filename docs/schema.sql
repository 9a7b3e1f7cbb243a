-- The schema that the migrations create on SQLite; a test compares them. PostgreSQL has the same tables and indexes:
-- BLOB is UUID there, or BYTEA for payload and token_key, ids are COLLATE "C", and audit.seq is an identity column. Never run
-- this script: the service migrates.
--
-- Instants are microseconds UTC, amounts (_minor) are minor units; a comment like DisputeKind names the enum whose
-- numbers are stored. See docs/database.md.

-- A projection of each order, with the outcomes of its disputes.
CREATE TABLE orders (
    order_id TEXT NOT NULL PRIMARY KEY, -- the order system's id
    buyer_id TEXT NOT NULL,
    seller_id TEXT NOT NULL,
    title TEXT NOT NULL,
    currency TEXT NOT NULL,
    exponent SMALLINT NOT NULL, -- decimals of the currency when the order was first imported
    price_minor BIGINT NOT NULL, -- the original price; the cap of a partial refund is a share of it
    paid_minor BIGINT NOT NULL, -- the price plus extras bought later
    refunded_elsewhere_minor BIGINT NOT NULL, -- refunds reported by the order system
    refunded_minor BIGINT NOT NULL, -- refunds granted by disputes, excluding voided ones
    status SMALLINT NOT NULL, -- OrderStatus
    create_time BIGINT NOT NULL,
    due_time BIGINT, -- as reported by the order system
    end_time BIGINT, -- when it was completed or cancelled
    cancellation_counts BOOLEAN NOT NULL, -- whether its cancellation lowers the seller's completion rate
    cancelled_by BLOB, -- the dispute that cancelled it
    refund_accepted BLOB, -- the accepted partial refund; there is at most one
    source_version BIGINT NOT NULL, -- the order system's version: an older report changes nothing
    revision BIGINT NOT NULL, -- grows by 1 with each change
    agreed_due_time BIGINT, -- the due time agreed in an extension
    extension_requests BIGINT NOT NULL DEFAULT 0, -- how many extensions were requested
    cancelled_no_fault BOOLEAN NOT NULL DEFAULT FALSE -- whether the parties agreed that it is nobody's fault
);
CREATE INDEX orders_by_end ON orders (seller_id, end_time, status, cancellation_counts)
    WHERE end_time IS NOT NULL;
CREATE INDEX orders_by_buyer ON orders (buyer_id, create_time, order_id, status);
CREATE INDEX orders_by_seller ON orders (seller_id, create_time, order_id, status);
CREATE INDEX orders_by_status ON orders (status, create_time, order_id);
CREATE INDEX orders_no_fault ON orders (seller_id, end_time)
    WHERE cancelled_no_fault;

-- The current state of each dispute. The only table with confidential reasons.
CREATE TABLE disputes (
    dispute_id BLOB NOT NULL PRIMARY KEY,
    order_id TEXT NOT NULL REFERENCES orders (order_id),
    buyer_id TEXT NOT NULL,
    seller_id TEXT NOT NULL,
    opener SMALLINT NOT NULL, -- PartyRole
    kind SMALLINT NOT NULL, -- DisputeKind
    exclusion_group SMALLINT NOT NULL, -- at most one dispute of a group can be open per order
    status SMALLINT NOT NULL, -- DisputeStatus
    message TEXT NOT NULL,
    reason SMALLINT, -- Reason; confidential for some kinds and openers
    reason_detail TEXT NOT NULL, -- with OTHER; as confidential as the reason
    currency TEXT,
    exponent SMALLINT, -- decimals of the currency
    amount_minor BIGINT, -- the refund offered: the last one
    respond_by BIGINT NOT NULL, -- an answer counts before this instant
    silence_rule SMALLINT NOT NULL, -- SilenceRule, fixed at the opening; NO_EFFECT from the first counter-offer on
    silence_rule_after_delivery SMALLINT NOT NULL, -- the same, if work is delivered when the window closes
    create_time BIGINT NOT NULL,
    update_time BIGINT NOT NULL,
    revision BIGINT NOT NULL, -- 1, 2, 3 …, one for each event
    resolve_time BIGINT, -- NULL while the dispute is open
    resolved_by SMALLINT, -- ResolvedBy
    outcome_refund_minor BIGINT, -- the refund granted
    outcome_cancelled BOOLEAN NOT NULL, -- whether it cancelled the order
    outcome_counts BOOLEAN NOT NULL, -- whether that counts against the completion rate
    answer_message TEXT NOT NULL, -- the responder's message
    new_due_time BIGINT, -- the due time that an extension requests
    remind_at BIGINT, -- when the responder is next reminded
    reminders_sent BIGINT NOT NULL DEFAULT 0,
    postpone_message TEXT NOT NULL DEFAULT '', -- support's message when it moved the deadline
    outcome_new_due_time BIGINT, -- the due time granted
    escalated_by SMALLINT, -- ActorRole; NULL if it was never escalated
    escalation_message TEXT NOT NULL DEFAULT '',
    decided_by TEXT, -- the agent's id; visible to support only
    decision_message TEXT NOT NULL DEFAULT '',
    settlement_status SMALLINT, -- SettlementStatus; NULL without a refund
    settlement_reference TEXT NOT NULL DEFAULT '', -- the platform's reference for the payment
    settlement_detail TEXT NOT NULL DEFAULT '', -- why it failed, was returned or was voided; hidden from parties
    settlement_attempt BIGINT, -- the attempt that is due, or the last one reported
    settlement_attempts TEXT NOT NULL DEFAULT '', -- the results reported for each attempt, one hexadecimal digit each
    least_release SMALLINT NOT NULL DEFAULT 1, -- the oldest release whose rules may judge it
    order_create_time BIGINT, -- when its order was created; NULL until it is filled in, if an earlier release opened it
    no_fault BOOLEAN NOT NULL DEFAULT FALSE, -- a cancellation that shall not count, or as agreed does not
    max_counter_offers SMALLINT NOT NULL DEFAULT 0, -- of both parties together, fixed at the opening
    opened_with_minor BIGINT, -- the refund first offered, once there is a counter-offer
    counter_offers TEXT NOT NULL DEFAULT '' -- JSON, in order: amount (minor units), message and time of each
);
CREATE INDEX disputes_by_order ON disputes (order_id, create_time, dispute_id);
CREATE UNIQUE INDEX disputes_open ON disputes (order_id, exclusion_group)
    WHERE resolve_time IS NULL;
CREATE INDEX disputes_by_deadline ON disputes (respond_by, dispute_id)
    WHERE resolve_time IS NULL AND escalated_by IS NULL;
CREATE INDEX disputes_open_by_buyer ON disputes (buyer_id, respond_by, dispute_id)
    WHERE resolve_time IS NULL;
CREATE INDEX disputes_open_by_seller ON disputes (seller_id, respond_by, dispute_id)
    WHERE resolve_time IS NULL;
CREATE INDEX disputes_by_buyer ON disputes (buyer_id, create_time, dispute_id, kind, opener);
CREATE INDEX disputes_by_seller ON disputes (seller_id, create_time, dispute_id, kind, opener);
CREATE INDEX disputes_by_kind ON disputes (kind, create_time, dispute_id);
CREATE INDEX disputes_by_status ON disputes (status, create_time, dispute_id);
CREATE INDEX disputes_by_settlement ON disputes (settlement_status, create_time, dispute_id)
    WHERE settlement_status IS NOT NULL;
CREATE INDEX disputes_by_update ON disputes (update_time, create_time, dispute_id)
    WHERE update_time > create_time;
CREATE INDEX disputes_open_by_order_time ON disputes (order_create_time, order_id)
    WHERE resolve_time IS NULL;
CREATE INDEX disputes_by_reminder ON disputes (remind_at, dispute_id)
    WHERE remind_at IS NOT NULL;
CREATE INDEX disputes_no_fault ON disputes (seller_id)
    WHERE no_fault AND resolve_time IS NULL AND escalated_by IS NULL;

-- A row to lock for each seller who was asked for a no-fault cancellation, or asked for one.
CREATE TABLE no_fault_quotas (
    seller_id TEXT NOT NULL PRIMARY KEY
);

-- The log: dense numbers in commit order. Rows are never changed; old ones are pruned.
CREATE TABLE events (
    seq BIGINT NOT NULL PRIMARY KEY, -- 1, 2, 3 …
    event_id BLOB NOT NULL,
    dispute_id BLOB NOT NULL,
    order_id TEXT NOT NULL,
    buyer_id TEXT NOT NULL,
    seller_id TEXT NOT NULL,
    kind SMALLINT NOT NULL, -- DisputeKind
    event_type SMALLINT NOT NULL, -- EventType
    event_time BIGINT NOT NULL,
    payload BLOB NOT NULL -- the encoded disputes.v1.DisputeEvent
);
CREATE INDEX events_by_buyer ON events (buyer_id, seq);
CREATE INDEX events_by_seller ON events (seller_id, seq);
CREATE INDEX events_by_order ON events (order_id, seq);

-- One row: the state of the log. Locked by each batch until its commit, so that numbers are in commit order.
CREATE TABLE event_log (
    id SMALLINT NOT NULL PRIMARY KEY,
    epoch BLOB NOT NULL, -- the log's id, which tokens carry
    head BIGINT NOT NULL, -- the last number
    floor BIGINT NOT NULL, -- the last pruned number
    floor_event BLOB, -- the event with that number, to check tokens against
    token_key BLOB -- seals the tokens; a secret
);

-- Recorded commands with a request_id.
CREATE TABLE idempotency_keys (
    key BLOB NOT NULL PRIMARY KEY, -- a digest of the caller and the request_id
    fingerprint BLOB NOT NULL, -- a digest of the RPC and its fields
    dispute_id BLOB NOT NULL, -- the resulting dispute
    create_time BIGINT NOT NULL
);
CREATE INDEX idempotency_keys_by_time ON idempotency_keys (create_time);

-- What callers with a scope did, and what confidential they were shown. Rows are never changed; old ones are pruned.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, -- grows, may have gaps, and is never given twice
    time BIGINT NOT NULL,
    user_id TEXT NOT NULL, -- who: the id of an agent, or of a service of the platform
    scope SMALLINT NOT NULL, -- Scope
    action SMALLINT NOT NULL, -- AuditAction
    order_id TEXT NOT NULL,
    dispute_id BLOB, -- NULL if it is about the order itself
    revision BIGINT NOT NULL -- of the dispute afterwards, or of the order where there is none
);
CREATE INDEX audit_by_time ON audit (time, seq);

-- One row: which releases can work with this schema.
CREATE TABLE schema_release (
    id SMALLINT NOT NULL PRIMARY KEY,
    oldest SMALLINT NOT NULL -- older releases refuse to start
);

-- One row, written once a second to check whether the database can be written.
CREATE TABLE write_probe (
    id SMALLINT NOT NULL PRIMARY KEY,
    writes BIGINT NOT NULL
);
