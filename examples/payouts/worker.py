"""Pays the refunds of disputes at a payment provider: each attempt once, wherever and by whatever the worker is stopped.

It stores nothing. The service knows what is due and the provider knows what was paid; both are read before anything is
done, and events and webhooks only say where to look. WEBHOOK_LISTEN is the address for webhooks, which come to /webhooks."""

import asyncio
import logging
import os
import random
import re
import signal
import sys
import time
from contextlib import aclosing, asynccontextmanager

import aiohttp
import grpc
from aiohttp import web
from grpc import StatusCode

import client
import payments
from disputes.v1.dispute_pb2 import SettlementStatus
from disputes.v1.dispute_service_pb2 import ListDisputesRequest, WatchDisputesRequest
from disputes.v1.dispute_service_pb2_grpc import DisputeServiceStub
from settlements import Settlements, amount, facts, identity, is_definite, message, needs_a_person, what_is_wrong
from watch import describe, is_final, watch

MAX_ATTEMPTS = 3  # to pay a refund, before a person has to look at it
AT_A_TIME = 8  # payments, and as many webhooks
PAGE_SIZE = 500
SWEEP_INTERVAL = 3600.0  # seconds between looks at everything that is due
PATIENCE = 6 * 3600.0  # seconds that a refund may wait for its webhook, or a payment for a provider that answers
FIRST_DELAY, LONGEST_DELAY = 0.5, 60.0
WEBHOOK_TIMEOUT, MAX_WEBHOOK = 8.0, 65_536  # seconds, bytes

UNPAID = tuple(map(SettlementStatus.Value, (f"SETTLEMENT_STATUS_{name}" for name in ("DUE", "FAILED", "RETURNED"))))
REFERENCE = re.compile(r"refund-([0-9a-f-]{36})-([1-9][0-9]{0,8})")
log = logging.getLogger("payouts")


class Worker:
    def __init__(self, disputes: DisputeServiceStub, provider: payments.Provider, tasks: asyncio.TaskGroup) -> None:
        self.disputes, self.provider, self.tasks = disputes, provider, tasks
        self.settlements = Settlements(disputes, provider)
        self.waiting: dict[tuple[str, str], float] = {}  # since when, for the webhook of a refund in a status
        self.wanted: set[str] = set()  # disputes to look at, or to look at again
        self.attended: set[str] = set()  # disputes that have a task
        self.payment_slots, self.webhook_slots = asyncio.Semaphore(AT_A_TIME), asyncio.Semaphore(AT_A_TIME)

    async def follow(self) -> None:
        """Looks at everything that is due, then at whatever becomes due. Starts over every SWEEP_INTERVAL: a person may
        have removed what stood in the way of a payment."""
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
            except OSError as error:  # A token that is being replaced, say.
                log.warning("starting over %s", facts(error=error))
            except grpc.aio.AioRpcError as error:
                # OUT_OF_RANGE: the events after the token are gone, or a restored backup never had them. A sweep needs none.
                if error.code() != StatusCode.OUT_OF_RANGE and is_final(error, was_accepted=False):
                    raise
                log.warning("starting over %s", facts(error=describe(error)))
            await asyncio.sleep(backoff(failures))
            failures += 1

    async def sweep(self) -> str:
        """Wakes everything that is due. Returns a token: a watch from it delivers what the list does not show."""
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
        """Pays what a dispute owes. A dispute has one such task; if it is woken meanwhile, the task looks at it again."""
        failures, began = 0, time.monotonic()
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
                if time.monotonic() - began > PATIENCE:
                    began = time.monotonic()
                    needs_a_person("not paid for hours", dispute=dispute_id, error=message(error))
                self.wanted.add(dispute_id)
                await asyncio.sleep(delay)
        self.attended.discard(dispute_id)

    async def pay(self, dispute_id: str) -> None:
        """Pays the current attempt, unless the provider has a refund for it already."""
        # Things may have changed since it was woken: the refund may be voided by now, or another attempt may be due.
        dispute = await self.settlements.dispute(dispute_id)
        settlement = dispute.settlement
        if settlement.status not in UNPAID:
            return
        # The idempotency key is not enough: providers forget it, or keep an error as its result although a refund exists.
        # Earlier attempts count as well: a refund that was reported as failed may have succeeded after all.
        for attempt in range(1, settlement.attempt + 1):
            refunds = await self.provider.find(dispute.order_id, f"refund-{dispute_id}-{attempt}")
            for refund in refunds:
                if attempt == settlement.attempt or refund.status != "failed":
                    # Its webhook reports it, and nothing else does: the provider delivers it until it is taken.
                    about = {"dispute": dispute_id, "attempt": attempt, "refund": refund.id, "status": refund.status}
                    doubt = "an attempt has several refunds" if refunds[1:] else what_is_wrong(refund, attempt, dispute)
                    if doubt:
                        needs_a_person(doubt, **about)
                    elif time.monotonic() - self.waiting.setdefault((refund.id, refund.status), time.monotonic()) > PATIENCE:
                        needs_a_person("no webhook tells about a refund: have it delivered again", **about)
                    return log.info("already there %s", facts(**about))
        if settlement.attempt > MAX_ATTEMPTS:
            return needs_a_person("every attempt has failed", dispute=dispute_id, attempts=MAX_ATTEMPTS)
        # Looking is not enough either: an earlier request may still be on its way. The key makes one refund of both.
        refund = await self.provider.create(
            settlement.idempotency_key, dispute.order_id, amount(settlement), settlement.amount.currency_code
        )
        # Whatever the answer says, it is not known yet how the refund ends. A webhook will tell.
        log.info("refund created %s", facts(dispute=dispute_id, attempt=settlement.attempt, refund=refund.id))

    async def webhook(self, request: web.Request) -> web.Response:
        """Handles a webhook. The provider delivers it again unless the status is 2xx."""
        try:
            async with asyncio.timeout(WEBHOOK_TIMEOUT):
                body, signature = await request.read(), request.headers.get("Webhook-Signature", "")
                try:
                    refund_id = payments.refund_of(body, signature)
                except ValueError as error:
                    log.warning("webhook refused %s", facts(sender=request.remote, reason=str(error)))
                    return web.Response(status=400)
                if refund_id:
                    # Only now: a stranger's slow body holds up nobody.
                    async with self.webhook_slots:
                        await self.look_at(refund_id)
        except (OSError, grpc.aio.AioRpcError, payments.Unavailable, payments.Refused) as error:
            log.warning("webhook not handled %s", facts(error=message(error)))
            return web.Response(status=503)
        return web.Response(status=200)

    async def look_at(self, refund_id: str) -> None:
        """Reports the state of a refund as it is now. Webhooks are repeated and overtake each other: theirs may be old."""
        refund = await self.provider.get(refund_id)
        if not (found := REFERENCE.fullmatch(refund.reference)):
            return log.info("not ours %s", facts(refund=refund.id))
        dispute_id, attempt = found[1], int(found[2])
        try:
            await self.settlements.reconcile(dispute_id, attempt, refund)
        except grpc.aio.AioRpcError as error:
            if not is_definite(error):
                raise
            needs_a_person("not reported", dispute=dispute_id, attempt=attempt, refund=refund.id, error=message(error))
        self.wake(dispute_id)  # If this refund has failed, another attempt may be due.


def backoff(failures: int) -> float:
    """All of it is jitter: calls that failed together are not repeated together."""
    return random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 10)))


@asynccontextmanager
async def listening(worker: Worker):
    app = web.Application(client_max_size=MAX_WEBHOOK)
    app.router.add_post("/webhooks", worker.webhook)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=WEBHOOK_TIMEOUT)
    await runner.setup()
    try:
        host, _, port = os.environ["WEBHOOK_LISTEN"].rpartition(":")
        await web.TCPSite(runner, host, int(port)).start()
    except (ValueError, OSError) as error:
        await runner.cleanup()
        raise client.Unusable(f"WEBHOOK_LISTEN={os.environ['WEBHOOK_LISTEN']}: {error}") from error
    try:
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
    except* client.Unusable as errors:
        log.error("%s", errors.exceptions[0])
        status = 2
    except* grpc.aio.AioRpcError as errors:
        log.error("%s", describe(errors.exceptions[0]))
        status = 1
    except* asyncio.CancelledError:
        pass  # What was interrupted is looked up at the next start, as after a crash.
    log.info("stopped")
    return status


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
