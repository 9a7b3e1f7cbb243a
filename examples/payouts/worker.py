"""Pays the refunds of disputes at a payment provider: each attempt once, whatever stops the worker, and wherever.

It keeps nothing. The service knows what is due, the provider what was paid, and both are asked before anything is done:
events and webhooks say only where to look. WEBHOOK_LISTEN is where the provider sends its webhooks, to /webhooks."""

import asyncio
import json
import logging
import os
import random
import re
import signal
import sys
from contextlib import aclosing, asynccontextmanager

import aiohttp
import grpc
from aiohttp import web
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode

import client
import payments
from disputes.v1.dispute_pb2 import Dispute, Settlement, SettlementStatus
from disputes.v1.dispute_service_pb2 import (
    Failed,
    GetDisputeRequest,
    ListDisputesRequest,
    ReportSettlementRequest,
    Returned,
    Settled,
    WatchDisputesRequest,
)
from disputes.v1.dispute_service_pb2_grpc import DisputeServiceStub
from watch import describe, detail, is_final, watch

MAX_ATTEMPTS = 3  # to pay a refund; then a person has to look at it
AT_A_TIME = 8  # payments, and as many webhooks
PAGE_SIZE = 500
SWEEP_INTERVAL = 3600.0  # seconds between looks at everything that is due
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
WEBHOOK_TIMEOUT, MAX_WEBHOOK = 8.0, 65_536  # seconds, bytes

UNPAID = (SettlementStatus.SETTLEMENT_STATUS_DUE, SettlementStatus.SETTLEMENT_STATUS_FAILED, SettlementStatus.SETTLEMENT_STATUS_RETURNED)
REFERENCE = re.compile(r"refund-([0-9a-f-]{36})-([1-9][0-9]{0,8})")
# What it means if the service refuses to hear that a refund has succeeded.
REFUSALS = {"SETTLED_TWICE": "the buyer was paid twice", "STATUS_NOT_ALLOWED": "the buyer was paid although the refund was voided"}
log = logging.getLogger("payouts")


class Worker:
    def __init__(self, disputes: DisputeServiceStub, provider: payments.Provider, tasks: asyncio.TaskGroup) -> None:
        self.disputes, self.provider, self.tasks = disputes, provider, tasks
        self.wanted: set[str] = set()  # disputes to look at, or to look at again
        self.attended: set[str] = set()  # disputes with a task
        self.payment_slots, self.webhook_slots = asyncio.Semaphore(AT_A_TIME), asyncio.Semaphore(AT_A_TIME)

    async def follow(self) -> None:
        """Looks at everything that is due and then at what becomes due; again every SWEEP_INTERVAL, since a person may
        have removed what stood in the way of a payment, and providers stop repeating webhooks after a few days."""
        failures = 0
        while True:
            try:
                async with asyncio.timeout(SWEEP_INTERVAL):
                    start = WatchDisputesRequest(resume_token=await self.sweep())
                    async with aclosing(watch(client.connect, start, identity)) as batches:
                        async for batch in batches:
                            for event in batch.events:
                                if event.dispute.settlement.status in UNPAID:
                                    self.wake(event.dispute.dispute_id)
                            failures = 0
            except TimeoutError:
                continue
            except grpc.aio.AioRpcError as error:
                # OUT_OF_RANGE: the token is too old, or of events that a restored backup has lost. The next sweep has a new one.
                if error.code() != StatusCode.OUT_OF_RANGE and is_final(error, was_accepted=False):
                    raise
                log.warning("starting over %s", facts(error=describe(error)))
            await asyncio.sleep(backoff(failures))
            failures += 1

    async def sweep(self) -> str:
        """Wakes all that is due. Returns a token: a watch from it delivers what the list does not show."""
        request = ListDisputesRequest(settlement_statuses=UNPAID, page_size=PAGE_SIZE)
        while True:
            page = await self.disputes.ListDisputes(request, metadata=identity())
            for dispute in page.disputes:
                self.wake(dispute.dispute_id)
            if not page.next_page_token:
                return page.resume_token
            request.page_token = page.next_page_token

    def wake(self, dispute_id: str) -> None:
        self.wanted.add(dispute_id)
        if dispute_id not in self.attended:
            self.attended.add(dispute_id)
            self.tasks.create_task(self.attend(dispute_id))

    async def attend(self, dispute_id: str) -> None:
        """Pays what is due of a dispute. No other task does so; if the dispute is woken meanwhile, it is looked at again."""
        failures = 0
        while dispute_id in self.wanted:
            self.wanted.discard(dispute_id)
            try:
                async with self.payment_slots:
                    await self.pay(dispute_id)
            except Exception as error:
                if is_definite(error):
                    needs_a_person("not paid", dispute=dispute_id, error=message(error))  # The next sweep tries again.
                    continue
                delay = backoff(failures)
                failures += 1
                log.warning("trying again %s", facts(dispute=dispute_id, seconds=f"{delay:.1f}", error=message(error)))
                self.wanted.add(dispute_id)
                await asyncio.sleep(delay)
        self.attended.discard(dispute_id)

    async def pay(self, dispute_id: str) -> None:
        """Pays the current attempt, unless the provider has a refund for it already."""
        # Whatever was read before may have changed: the refund may be voided by now, or another attempt be due.
        dispute = await self.dispute(dispute_id)
        settlement = dispute.settlement
        if settlement.status not in UNPAID:
            return
        # Providers forget idempotency keys, and keep errors as the result of one: the refunds themselves tell what was paid.
        # Earlier attempts count as well: a refund that was reported as failed may have succeeded after all.
        for attempt in range(1, settlement.attempt + 1):
            for refund in await self.provider.find(f"refund-{dispute_id}-{attempt}"):
                if attempt == settlement.attempt or refund.status != "failed":
                    log.info("paid before %s", facts(dispute=dispute_id, attempt=attempt, refund=refund.id, status=refund.status))
                    return await self.reconcile(dispute_id, attempt, refund)
        if settlement.attempt > MAX_ATTEMPTS:
            return needs_a_person("every attempt has failed", dispute=dispute_id, attempts=MAX_ATTEMPTS)
        # The key makes one payment of this request and those that are still on their way.
        refund = await self.provider.create(
            settlement.idempotency_key, dispute.order_id, decimal(settlement), settlement.amount.currency_code
        )
        # Whatever the answer says, how the refund ends is not known yet: a webhook will tell.
        log.info("refund created %s", facts(dispute=dispute_id, attempt=settlement.attempt, refund=refund.id))

    async def webhook(self, request: web.Request) -> web.Response:
        """Takes a webhook. Any answer but 2xx makes the provider deliver it again."""
        try:
            async with asyncio.timeout(WEBHOOK_TIMEOUT), self.webhook_slots:
                body, signature = await request.read(), request.headers.get("Webhook-Signature", "")
                try:
                    refund_id = payments.refund_of(body, signature)
                except ValueError as error:
                    log.warning("webhook refused %s", facts(sender=request.remote, reason=str(error)))
                    return web.Response(status=400)
                if refund_id:
                    await self.hear_of(refund_id)
        except (TimeoutError, grpc.aio.AioRpcError, payments.Unavailable, payments.Refused) as error:
            log.warning("webhook not taken %s", facts(error=message(error)))
            return web.Response(status=503)
        return web.Response(status=200)

    async def hear_of(self, refund_id: str) -> None:
        """Reports how a refund is doing now. Webhooks are repeated and overtake each other: what they say does not count."""
        refund = await self.provider.get(refund_id)
        if not (found := REFERENCE.fullmatch(refund.reference)):
            return log.info("not ours %s", facts(refund=refund.id))
        dispute_id, attempt = found[1], int(found[2])
        try:
            await self.reconcile(dispute_id, attempt, refund)
        except grpc.aio.AioRpcError as error:
            if not is_definite(error):
                raise
            needs_a_person("not reported", dispute=dispute_id, attempt=attempt, refund=refund.id, error=message(error))
        self.wake(dispute_id)  # If this refund has failed, another attempt may be due.

    async def reconcile(self, dispute_id: str, attempt: int, refund: payments.Refund) -> None:
        """Reports the result of a refund, until the service has nothing to learn from it.

        After a report, taken or refused, both are read again: they may have changed before it arrived, and reports can
        overtake each other like webhooks. Only a report that would have to be made twice is one that does not help.
        """
        reported, refusal = {}, ErrorInfo()
        while report := news(refund, attempt, (await self.dispute(dispute_id)).settlement):
            about = {"dispute": dispute_id, "attempt": attempt, "refund": refund.id, "status": refund.status}
            if report == reported:
                why = REFUSALS.get(refusal.reason, "the service does not take the result of a refund")
                said = {f"service_{key}": value for key, value in refusal.metadata.items()}
                return needs_a_person(why, **about, reason=refusal.reason, **said)
            # Needs no request_id: each result of an attempt takes effect once.
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

    async def dispute(self, dispute_id: str) -> Dispute:
        return (await self.disputes.GetDispute(GetDisputeRequest(dispute_id=dispute_id), metadata=identity())).dispute


def news(refund: payments.Refund, attempt: int, settlement: Settlement) -> dict:
    """The result of an attempt, as a field of the report, if the service does not know it."""
    current, settled = settlement.attempt == attempt, settlement.status == SettlementStatus.SETTLEMENT_STATUS_SETTLED
    if refund.status == "succeeded" and not (current and settled):
        return {"settled": Settled(reference=refund.id)}
    # Of earlier attempts the service knows it, or does not need to; of a voided refund, nothing was paid.
    if refund.status == "failed" and current and settlement.status != SettlementStatus.SETTLEMENT_STATUS_VOIDED:
        why = re.sub(r"[^ -~]", "?", refund.reason)[:200]
        return {"returned": Returned(detail=why)} if settled else {"failed": Failed(detail=why)}
    return {}


def is_definite(error: Exception) -> bool:
    """Whether the same call would only be refused again."""
    if isinstance(error, grpc.aio.AioRpcError):
        return error.code() in (StatusCode.INVALID_ARGUMENT, StatusCode.NOT_FOUND, StatusCode.FAILED_PRECONDITION)
    return isinstance(error, payments.Refused)


def decimal(settlement: Settlement) -> str:
    """The amount, exactly: never by way of a float."""
    return f"{settlement.amount.units}.{settlement.amount.nanos:09}".rstrip("0").rstrip(".")


def identity() -> tuple[tuple[str, str], ...]:
    # A token has the scope in it.
    return client.identity() if client.TOKEN_FILE else (*client.identity(), ("x-scope", "platform"))


def backoff(failures: int) -> float:
    """All of it is jitter: what failed together is not tried again together."""
    return random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 10)))


def needs_a_person(why: str, **about) -> None:
    log.error("NEEDS A PERSON: %s %s", why, facts(**about))


def facts(**values) -> str:
    """key=value, quoted where somebody could smuggle something into the log."""
    texts = {key: str(value) for key, value in values.items()}
    return " ".join(f"{key}={text if re.fullmatch(r'[!-~]+', text) else json.dumps(text)}" for key, text in texts.items())


def message(error: Exception) -> str:
    return describe(error) if isinstance(error, grpc.aio.AioRpcError) else repr(error)


@asynccontextmanager
async def listening(worker: Worker):
    app = web.Application(client_max_size=MAX_WEBHOOK)
    app.router.add_post("/webhooks", worker.webhook)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=WEBHOOK_TIMEOUT)
    await runner.setup()
    host, port = os.environ["WEBHOOK_LISTEN"].rsplit(":", 1)
    try:
        await web.TCPSite(runner, host, int(port)).start()
        yield
    finally:
        await runner.cleanup()


async def main() -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    needed = ("PROVIDER_URL", "PROVIDER_KEY", "WEBHOOK_SECRET", "WEBHOOK_LISTEN")
    if missing := [name for name in needed if not os.environ.get(name)]:
        log.error("Set %s.", ", ".join(missing))
        return 2
    for stop in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(stop, asyncio.current_task().cancel)
    status = 0
    try:
        async with client.connect() as channel, aiohttp.ClientSession() as http, asyncio.TaskGroup() as tasks:
            worker = Worker(DisputeServiceStub(channel), payments.Provider(http), tasks)
            async with listening(worker):
                log.info("listening on %s", os.environ["WEBHOOK_LISTEN"])
                await worker.follow()
    except* grpc.aio.AioRpcError as errors:
        log.error("%s", describe(errors.exceptions[0]))
        status = 1
    except* asyncio.CancelledError:
        pass  # Whatever was interrupted is looked up at the next start, as after a crash.
    log.info("stopped")
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
