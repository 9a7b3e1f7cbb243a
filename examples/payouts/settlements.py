"""Tells the service how the refunds went that the provider has."""

import json
import logging
import re

import grpc
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode

import client
from disputes.v1.dispute_pb2 import Dispute, Settlement, SettlementStatus
from disputes.v1.dispute_service_pb2 import Failed, GetDisputeRequest, ReportSettlementRequest, Returned, Settled
from disputes.v1.dispute_service_pb2_grpc import DisputeServiceStub
from payments import Provider, Refund, Refused
from watch import describe, detail

STATUSES = ("pending", "succeeded", "failed")
TWICE = "the buyer was paid twice"
# What it means if the service refuses to hear that a refund has succeeded.
REFUSALS = {
    "SETTLED_TWICE": TWICE,
    "STATUS_NOT_ALLOWED": "the buyer was paid although the refund was voided",
}
log = logging.getLogger("payouts")


class Settlements:
    def __init__(self, disputes: DisputeServiceStub, provider: Provider) -> None:
        self.disputes, self.provider = disputes, provider

    async def dispute(self, dispute_id: str) -> Dispute:
        return (await self.disputes.GetDispute(GetDisputeRequest(dispute_id=dispute_id), metadata=identity())).dispute

    async def reconcile(self, dispute_id: str, attempt: int, refund: Refund) -> None:
        """Reports the result of an attempt's refund until the service has nothing to learn from it.

        After a report, accepted or refused, both sides are read again: either may have changed before the report arrived,
        since reports can overtake each other as webhooks do. A report that would have to be repeated then does not help.
        """
        reported, refusal = {}, ErrorInfo()
        while True:
            dispute = await self.dispute(dispute_id)
            about = {"dispute": dispute_id, "attempt": attempt, "refund": refund.id, "status": refund.status}
            if doubt := what_is_wrong(refund, attempt, dispute):
                return needs_a_person(doubt, **about)
            if not (report := news(refund, attempt, dispute.settlement)):
                return
            if report == reported:
                why = REFUSALS.get(refusal.reason, "the service does not accept the result of a refund")
                said = {f"service_{key}": value for key, value in refusal.metadata.items()}
                return needs_a_person(why, **about, reason=refusal.reason, **said)
            # No request_id is needed: each result of a numbered attempt takes effect once.
            request = ReportSettlementRequest(dispute_id=dispute_id, attempt=attempt, **report)
            try:
                await self.disputes.ReportSettlement(request, metadata=identity())
                refusal = ErrorInfo()
                log.info("reported %s", facts(**about))
            except grpc.aio.AioRpcError as error:
                if not is_definite(error):
                    raise
                refusal = detail(error, ErrorInfo) or ErrorInfo()
            reported, refund = report, await self.provider.get(refund.id)


def what_is_wrong(refund: Refund, attempt: int, dispute: Dispute) -> str | None:
    """Why a refund is not the one that an attempt stands for, if so: nothing is reported then."""
    settlement, money = dispute.settlement, dispute.settlement.amount
    if refund.status not in STATUSES:
        return "the refund has a status that is not known"
    due = (dispute.order_id, amount(settlement), money.currency_code)
    if (refund.payment, refund.value, refund.currency) != due:
        return f"the refund is not of {amount(settlement)} {money.currency_code}, or of another payment"
    if is_settled(settlement, attempt) and settlement.reference != refund.id and refund.status == "succeeded":
        return TWICE
    return None


def is_settled(settlement: Settlement, attempt: int) -> bool:
    return settlement.attempt == attempt and settlement.status == SettlementStatus.SETTLEMENT_STATUS_SETTLED


def amount(settlement: Settlement) -> str:
    """The amount, exactly: never by way of a float."""
    return f"{settlement.amount.units}.{settlement.amount.nanos:09}".rstrip("0").rstrip(".")


def news(refund: Refund, attempt: int, settlement: Settlement) -> dict:
    """What the service has to learn about an attempt: a field of the report, or nothing."""
    current, settled = settlement.attempt == attempt, is_settled(settlement, attempt)
    if settled and settlement.reference != refund.id:
        return {}  # Another refund has settled it.
    if refund.status == "succeeded" and not (current and settled):
        return {"settled": Settled(reference=refund.id)}
    # The failure of another attempt changes nothing, nor does one that comes after the refund was voided.
    if refund.status == "failed" and current and settlement.status != SettlementStatus.SETTLEMENT_STATUS_VOIDED:
        why = re.sub(r"[^ -~]", "?", refund.reason)[:200]
        return {"returned": Returned(detail=why)} if settled else {"failed": Failed(detail=why)}
    return {}


def identity() -> tuple[tuple[str, str], ...]:
    # A token contains the scope.
    return client.identity() if client.TOKEN_FILE else (*client.identity(), ("x-scope", "platform"))


def is_definite(error: Exception) -> bool:
    """Whether the same call would only be refused again."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() in (StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION)
    return isinstance(error, Refused)


def needs_a_person(why: str, **about) -> None:
    log.error("NEEDS A PERSON: %s %s", why, facts(**about))


def facts(**values) -> str:
    """key=value pairs; quoted where a value could pass for something else in the log."""
    texts = {key: str(value) for key, value in values.items()}
    return " ".join(f"{key}={text if re.fullmatch(r'[!#-~]+', text) else json.dumps(text)}" for key, text in texts.items())


def message(error: Exception) -> str:
    return describe(error) if isinstance(error, grpc.aio.AioRpcError) else f"{type(error).__name__}: {error}"
