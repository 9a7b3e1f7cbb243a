"""The proof that the worker pays once: against a real service and a provider that misbehaves, killed at every line.

    DISPUTE_SERVICE=/path/to/dispute-service python -m unittest -v"""

import asyncio
import hmac
import json
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
import time
import unittest
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

HERE = Path(__file__).parent
PYTHON = HERE.with_name("python")
sys.path[:0] = [str(HERE), str(PYTHON)]
os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{PYTHON}"

import aiohttp
import grpc
from aiohttp import web
from google.type.money_pb2 import Money

import kill_at
import marketplace
from disputes.v1.dispute_pb2 import SettlementStatus
from disputes.v1.dispute_service_pb2 import ReportSettlementRequest, Settled, Voided
from disputes.v1.dispute_service_pb2_grpc import DisputeServiceStub
from provider import FakeProvider

SERVICE = os.environ.get("DISPUTE_SERVICE", "dispute-service")
KEY, SECRET = "key-1", "secret-1"
QUICK = {"worker.FIRST_DELAY": 0.02, "worker.LONGEST_DELAY": 0.1, "watch.FIRST_DELAY": 0.02}
# The many workers are forks of a process that has imported what takes long to import.
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["aiohttp.web", "grpc.aio", "watch", "kill_at"])


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return bound.getsockname()[1]


class Case(unittest.IsolatedAsyncioTestCase):
    maxDiff = None

    async def asyncSetUp(self):
        asyncio.get_running_loop().set_debug(False)  # which costs time
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.log = self.folder / "worker.log"
        self.log.touch()
        self.service_port, self.provider_port, self.webhook_port = free_port(), free_port(), free_port()
        self.service = None
        await self.start_service()
        self.addAsyncCleanup(self.stop_service)
        url = f"http://127.0.0.1:{self.webhook_port}/webhooks"
        self.fake = FakeProvider(KEY, SECRET, url, pending_seconds=0.005, retry_seconds=0.02, slow_seconds=0.3)
        await self.start_provider()
        self.addAsyncCleanup(self.stop_provider)
        self.http = await self.enterAsyncContext(aiohttp.ClientSession(f"http://127.0.0.1:{self.provider_port}"))
        options = [("grpc.service_config", (PYTHON / "service_config.json").read_text())]
        self.channel = await self.enterAsyncContext(grpc.aio.insecure_channel(f"127.0.0.1:{self.service_port}", options))

    async def start_service(self):
        database = f"sqlite://{self.folder}/disputes.db?mode=rwc"
        with (self.folder / "service.log").open("w") as log:
            command = [SERVICE, "--listen", f"127.0.0.1:{self.service_port}", "--database-url", database]
            self.service = await asyncio.create_subprocess_exec(*command, stderr=log, stdout=log)
        await self.until(lambda: "listening on" in (self.folder / "service.log").read_text())

    async def stop_service(self):
        if self.service.returncode is None:
            self.service.terminate()
            await self.service.wait()

    async def start_provider(self):
        self.provider = web.AppRunner(self.fake.app(), access_log=None, shutdown_timeout=0.1)
        await self.provider.setup()
        await web.TCPSite(self.provider, "127.0.0.1", self.provider_port).start()

    async def stop_provider(self):
        await self.provider.cleanup()

    def start_worker(self, kill=None, trace=None, webhook_port=None, **constants):
        environment = {
            "DISPUTES_URL": f"http://127.0.0.1:{self.service_port}",
            "DISPUTES_USER_ID": "payouts",
            "PROVIDER_URL": f"http://127.0.0.1:{self.provider_port}",
            "PROVIDER_KEY": KEY,
            "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_LISTEN": f"127.0.0.1:{webhook_port or self.webhook_port}",
        }
        constants = {**QUICK, **{name.replace("__", "."): value for name, value in constants.items()}}
        worker = forks.Process(target=kill_at.run, args=(environment, constants, str(self.log), kill, trace), daemon=True)
        worker.start()
        self.addCleanup(worker.kill)
        return worker

    @asynccontextmanager
    async def worker(self, **how):
        worker = self.start_worker(**how)
        try:
            yield worker
        finally:
            await self.stop(worker)
        # It may have had nothing to do, and was stopped before it listened to signals.
        self.assertIn(worker.exitcode, (0, -signal.SIGTERM), self.log.read_text())

    async def stop(self, worker):
        worker.terminate()
        await self.until(lambda: not worker.is_alive())

    async def until(self, condition, what=""):
        """Waits until the condition holds, which may be a coroutine function, and returns what it returned."""
        deadline = time.monotonic() + 30
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            if time.monotonic() > deadline:
                self.fail(f"waited in vain {what}\n{self.log.read_text()}")
            await asyncio.sleep(0.005)

    async def until_logged(self, text):
        await self.until(lambda: text in self.log.read_text(), f"for {text!r}")

    async def control(self, path, **body):
        async with self.http.post(f"/control/{path}", json=body) as response:
            self.assertEqual(response.status, 200)

    async def state(self):
        async with self.http.get("/control") as response:
            return await response.json()

    async def refund(self):
        """A dispute with a refund that has become due."""
        return await marketplace.refund(self.channel, Money(currency_code="USD", units=12, nanos=500_000_000))

    async def settlement(self, dispute):
        """Its status and attempt."""
        settlement = await marketplace.settlement(self.channel, dispute)
        return SettlementStatus.Name(settlement.status).removeprefix("SETTLEMENT_STATUS_"), settlement.attempt

    async def paid(self, dispute):
        """How many refunds the provider has for each attempt."""
        refunds = (await self.state())["refunds"]
        mine = Counter(refund["reference"].removeprefix(f"refund-{dispute}-") for refund in refunds if dispute in refund["reference"])
        return {int(attempt): count for attempt, count in mine.items()}

    async def until_settled(self, dispute, attempt=1):
        """Waits until the dispute is settled, and every webhook delivered."""

        async def is_settled():
            return await self.settlement(dispute) == ("SETTLED", attempt) and not (await self.state())["undelivered"]

        await self.until(is_settled, f"for attempt {attempt} of {dispute}")

    async def assert_paid_once(self, dispute, *events):
        """Asserts that each attempt has one refund, and that the settlement took this course."""
        self.assertEqual(await marketplace.events(self.channel, dispute), ["OPENED", "ACCEPTED", *events], self.log.read_text())
        attempts = 1 + sum(event != "SETTLED" for event in events)
        self.assertEqual(await self.paid(dispute), dict.fromkeys(range(1, attempts + 1), 1), self.log.read_text())

    def signed(self, body: bytes, age=0.0, secret=SECRET):
        when = str(int(time.time() - age))
        return {"Webhook-Signature": f"t={when},v1={hmac.new(secret.encode(), f'{when}.'.encode() + body, 'sha256').hexdigest()}"}

    async def send_webhook(self, body: bytes, headers: dict | None = None) -> int:
        async with aiohttp.ClientSession() as http:
            async with http.post(self.fake.webhook_url, data=body, headers=headers) as response:
                return response.status

    def about(self, refund: str, status: str) -> bytes:
        return json.dumps({"type": "refund.updated", "data": {"id": refund, "status": status}}).encode()


# How a refund goes: what the provider does, and which events follow.
STORIES = {
    "succeeds": ([["succeeded"]], ["SETTLED"]),
    "fails": ([["failed"], ["succeeded"]], ["SETTLEMENT_FAILED", "SETTLED"]),
    "is returned": ([["succeeded", "failed"], ["succeeded"]], ["SETTLED", "SETTLEMENT_RETURNED", "SETTLED"]),
}
# What goes wrong besides, in turns.
TROUBLES = (
    {},
    {"creates": ["lost"]},
    {"creates": ["error after"]},
    {"times": 2, "jitter_seconds": 0.02},
    {"creates": ["error"], "key_seconds": 0.05},
    {"creates": ["busy", "slow"], "slow_seconds": 0.1},
)
QUIET = {"creates": [], "outcomes": [], "times": 1, "jitter_seconds": 0.0, "key_seconds": 86_400.0}


class Killed(Case):
    async def test_killed_at_every_line(self):
        began, deaths, points = time.monotonic(), 0, await self.kill_points()
        for number, (story, trouble, kill) in enumerate(points):
            with self.subTest(story=story, trouble=trouble, kill=kill):
                deaths += await self.kill(story, trouble, kill, forget=number % 2 == 0)
        seconds = time.monotonic() - began
        refunds = len((await self.state())["refunds"])
        print(f"\n{len(points)} kill points, {deaths} deaths, {refunds} refunds, {seconds:.0f} s", file=sys.stderr)

    async def kill_points(self):
        """Every line that runs in a story, and every line that waited and goes on. A story adds the lines that no story
        before it has reached as often; three times at most."""
        points, known = [], Counter()
        for story, trouble in [*((story, {}) for story in STORIES), *(("succeeds", trouble) for trouble in TROUBLES[1:])]:
            trace = self.folder / "trace"
            trace.unlink(missing_ok=True)
            await self.play(story, trouble, trace=str(trace))
            reached = Counter(tuple(line.split()) for line in trace.read_text().splitlines())
            for (file, line, event), times in reached.items():
                point = (file, int(line), event)
                points += [(story, trouble, (*point, n)) for n in range(known[point] + 1, min(times, 3) + 1)]
                known[point] = max(known[point], times)
        # Those of the first story run in all kinds of trouble.
        return [
            (story, trouble or TROUBLES[number % len(TROUBLES)], kill) for number, (story, trouble, kill) in enumerate(points)
        ]

    async def play(self, story, trouble, **how):
        outcomes, events = STORIES[story]
        await self.control("settings", **{**QUIET, **trouble, "outcomes": outcomes})
        dispute = await self.refund()
        async with self.worker(**how):
            await self.until_settled(dispute, attempt=len(outcomes))
        await self.assert_paid_once(dispute, *events)

    async def kill(self, story, trouble, kill, forget) -> bool:
        """Has the worker killed at a point, starts it again, and returns whether it was killed."""
        outcomes, events = STORIES[story]
        await self.control("settings", **{**QUIET, **trouble, "outcomes": outcomes})
        dispute = await self.refund()
        first = self.start_worker(kill=kill)

        async def is_settled():
            settled = await self.settlement(dispute) == ("SETTLED", len(outcomes))
            return not first.is_alive() or settled and not (await self.state())["undelivered"]

        await self.until(is_settled, "for death or settlement")
        await self.stop(first)  # It may be killed on its way out.
        self.assertIn(first.exitcode, (0, -signal.SIGKILL), self.log.read_text())
        if forget:
            await self.control("forget-keys")
        async with self.worker():
            await self.until_settled(dispute, attempt=len(outcomes))
        await self.assert_paid_once(dispute, *events)
        self.assertNotIn("NEEDS A PERSON", self.log.read_text())
        self.log.write_text("")
        return first.exitcode == -signal.SIGKILL

    async def test_killed_while_the_provider_creates_the_refund(self):
        await self.control("settings", creates=["slow"], slow_seconds=0.5)
        dispute = await self.refund()
        worker = self.start_worker()

        async def in_progress():
            return (await self.state())["in_progress"]

        await self.until(in_progress)
        worker.kill()
        # Started while the request is in progress: there is no refund to see yet, and the key alone prevents another one.
        async with self.worker():
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")


class Refunds(Case):
    async def test_a_pending_refund_is_not_reported(self):
        await self.control("settings", outcomes=[[]])
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("refund created")
            # The provider signed this when the refund had succeeded, it seems. It asks the provider again.
            old = self.about("re_1", "succeeded")
            self.assertEqual(await self.send_webhook(old, self.signed(old)), 200)
            self.assertEqual(await self.settlement(dispute), ("DUE", 1))
            await self.control("refunds/re_1", status="succeeded")
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_a_returned_refund_is_paid_again_once(self):
        await self.control("settings", outcomes=[["succeeded", "failed"]])
        async with self.worker():
            dispute = await self.refund()
            await self.until_settled(dispute, attempt=2)
        await self.assert_paid_once(dispute, "SETTLED", "SETTLEMENT_RETURNED", "SETTLED")

    async def test_webhooks_in_the_wrong_order(self):
        await self.control("settings", outcomes=[[]], hold=True, times=2)
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("refund created")
            await self.control("refunds/re_1", status="succeeded")
            await self.control("refunds/re_1", status="failed")
            await self.control("settings", hold=False)  # "succeeded" comes last
            await self.until_settled(dispute, attempt=2)
        await self.assert_paid_once(dispute, "SETTLEMENT_FAILED", "SETTLED")

    async def test_reports_that_overtake_each_other(self):
        await self.control("settings", outcomes=[[], []])
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("refund created")
            await self.control("settings", gets=[0.5])  # what the worker reads about "succeeded" arrives late
            await self.control("refunds/re_1", status="succeeded")
            await self.until(lambda: not self.fake.settings["gets"])
            await self.control("refunds/re_1", status="failed")
            await self.until_logged("refund created dispute=" + dispute + " attempt=2")
            await self.until_logged("status=succeeded")
            await self.control("refunds/re_2", status="succeeded")

            async def is_settled():
                return await self.settlement(dispute) == ("SETTLED", 2) and not (await self.state())["undelivered"]

            await self.until(is_settled)
        self.assertEqual(await self.paid(dispute), {1: 1, 2: 1}, self.log.read_text())

    async def test_a_refund_that_succeeds_after_all_is_not_followed_by_another(self):
        await self.control("settings", outcomes=[["failed"]], creates=["", *["busy"] * 10_000])
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("429")
            self.assertEqual(await self.settlement(dispute), ("FAILED", 2))
            await self.control("settings", hold=True)  # no webhook tells
            await self.control("refunds/re_1", status="succeeded")
            await self.until_logged("paid before")
            await self.control("settings", creates=[], hold=False)
            await self.until_settled(dispute)
        self.assertEqual(await self.paid(dispute), {1: 1})

    async def test_paid_twice_needs_a_person(self):
        await self.control("settings", outcomes=[["failed"]])
        async with self.worker():
            dispute = await self.refund()
            await self.until_settled(dispute, attempt=2)
            before = len((await self.state())["answers"])
            await self.control("refunds/re_1", status="succeeded")
            await self.until_logged("NEEDS A PERSON: the buyer was paid twice")
            await self.until_settled(dispute, attempt=2)
            self.assertEqual((await self.state())["answers"][before:], [200])
        self.assertIn(f"dispute={dispute} attempt=1 refund=re_1 status=succeeded reason=SETTLED_TWICE service_attempt=2", self.log.read_text())
        await self.assert_paid_once(dispute, "SETTLEMENT_FAILED", "SETTLED")

    async def test_money_after_it_was_voided_needs_a_person(self):
        await self.control("settings", outcomes=[[]])
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("refund created")
            await self.void(dispute)
            await self.control("refunds/re_1", status="succeeded")
            await self.until_logged("NEEDS A PERSON: the buyer was paid although the refund was voided")
            await self.control("refunds/re_1", status="failed")  # and has given it back

            async def delivered():
                return not (await self.state())["undelivered"]

            await self.until(delivered)
            self.assertEqual((await self.state())["answers"], [200, 200])
        self.assertEqual(await self.settlement(dispute), ("VOIDED", 1))
        self.assertEqual(self.log.read_text().count("NEEDS A PERSON"), 1)

    async def test_a_refund_that_is_voided_between_two_tries_is_not_paid(self):
        await self.control("settings", creates=["busy"] * 10_000)
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("429")
            await self.void(dispute)
            await asyncio.sleep(0.5)  # past the longest delay
            await self.control("settings", creates=[])
            await asyncio.sleep(0.5)
        self.assertEqual(await self.paid(dispute), {})

    async def void(self, dispute):
        request = ReportSettlementRequest(dispute_id=dispute, voided=Voided(detail="Paid in cash."))
        await DisputeServiceStub(self.channel).ReportSettlement(request, metadata=marketplace.PLATFORM)

    async def test_three_attempts_then_a_person(self):
        await self.control("settings", outcomes=[["failed"]] * 4)
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("NEEDS A PERSON: every attempt has failed")
        self.assertEqual(await self.settlement(dispute), ("FAILED", 4))
        self.assertEqual(await self.paid(dispute), {1: 1, 2: 1, 3: 1})

    async def test_a_refusal_is_tried_again_with_the_next_sweep(self):
        await self.control("settings", creates=["refused"])
        dispute = await self.refund()
        async with self.worker(worker__SWEEP_INTERVAL=1.0):
            await self.until_logged("NEEDS A PERSON: not paid")
            self.assertEqual((await self.state())["creates"], 1)
            self.assertEqual(await self.settlement(dispute), ("DUE", 1))
            await self.control("forget-keys")  # and somebody has filled up the account
            await self.until_settled(dispute)
        self.assertEqual((await self.state())["creates"], 2)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_a_provider_that_takes_longer_than_the_worker_waits(self):
        await self.control("settings", creates=["slow"], slow_seconds=1.0)
        dispute = await self.refund()
        async with self.worker(payments__TIMEOUT=0.3):
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_a_provider_that_is_away(self):
        await self.stop_provider()
        dispute = await self.refund()
        async with self.worker():
            await self.until_logged("trying again")
            await self.start_provider()
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_webhooks_that_never_came(self):
        self.fake.webhook_url = f"http://127.0.0.1:{free_port()}/"
        dispute = await self.refund()
        async with self.worker(worker__SWEEP_INTERVAL=0.5):
            await self.until_logged("paid before")
            self.fake.webhook_url = f"http://127.0.0.1:{self.webhook_port}/webhooks"
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_many_refunds_a_few_at_a_time(self):
        disputes = [await self.refund() for _ in range(30)]
        await self.control("settings", creates=["slow"] * 30, slow_seconds=0.1)
        async with self.worker(worker__PAGE_SIZE=7):
            for dispute in disputes:
                await self.until_settled(dispute)
        for dispute in disputes:
            await self.assert_paid_once(dispute, "SETTLED")
        self.assertLessEqual((await self.state())["most_at_once"], 8)

    async def test_two_workers(self):
        async with self.worker(), self.worker(webhook_port=free_port()):
            disputes = [await self.refund() for _ in range(20)]
            for dispute in disputes:
                await self.until_settled(dispute)
        for dispute in disputes:
            await self.assert_paid_once(dispute, "SETTLED")


class Service(Case):
    async def test_away_when_a_webhook_comes(self):
        await self.control("settings", outcomes=[[]])
        dispute = await self.refund()
        async with self.worker(worker__WEBHOOK_TIMEOUT=0.5):
            await self.until_logged("refund created")
            await self.stop_service()
            await self.control("refunds/re_1", status="succeeded")
            await self.until_logged("webhook not taken")
            await self.start_service()
            await self.until_settled(dispute)
        answers = (await self.state())["answers"]
        self.assertEqual((set(answers[:-1]), answers[-1]), ({503}, 200))
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_another_log(self):
        async with self.worker():
            await self.until_settled(await self.refund())
            await self.stop_service()
            for file in self.folder.glob("disputes.db*"):
                file.unlink()
            await self.start_service()
            dispute = await self.refund()  # the watch may have reconnected, or not
            await self.until_logged("RESUME_TOKEN_UNKNOWN")
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_refuses_the_worker(self):
        environment = {**os.environ, "PROVIDER_URL": "http://127.0.0.1:9", "PROVIDER_KEY": KEY, "WEBHOOK_SECRET": SECRET}
        environment |= {"WEBHOOK_LISTEN": f"127.0.0.1:{self.webhook_port}", "DISPUTES_URL": f"http://127.0.0.1:{self.service_port}"}
        for missing, status, text in (("WEBHOOK_SECRET", 2, "Set WEBHOOK_SECRET."), ("", 1, "CREDENTIAL_INVALID")):
            command = [sys.executable, str(HERE / "worker.py")]
            pipe = asyncio.subprocess.PIPE
            worker = await asyncio.create_subprocess_exec(*command, env={**environment, "DISPUTES_USER_ID": "?", missing or "_": ""}, stderr=pipe)
            _, log = await worker.communicate()
            self.assertEqual(worker.returncode, status, log)
            self.assertIn(text, log.decode())


class Webhooks(Case):
    async def test_hostile_ones(self):
        await self.control("settings", outcomes=[[]])
        dispute = await self.refund()
        async with self.worker(worker__WEBHOOK_TIMEOUT=1.0):
            await self.until_logged("refund created")
            # Taken at its word, or looked up, each of these would have something to report.
            self.fake.refunds["re_1"]["status"] = "succeeded"
            good = self.about("re_1", "succeeded")
            signature = self.signed(good)["Webhook-Signature"]
            self.assertEqual(await self.send_webhook(good), 400)
            for headers in (
                self.signed(good, secret="another"),
                self.signed(good, secret=""),
                self.signed(good + b" "),
                self.signed(good, age=400),
                self.signed(good, age=-400),
                *({"Webhook-Signature": hostile} for hostile in (
                    "", "t=,v1=", "t=1", "v1=00", signature.upper(), signature + ",", signature.replace("t=", "t=9" * 5_000)[:8_000],
                    "t=\N{ARABIC-INDIC DIGIT ONE},v1=" + "0" * 64, signature.split(",")[0] + ",v1=" + "0" * 64, "t=nan,v1=" + "0" * 64,
                )),
            ):
                self.assertEqual(await self.send_webhook(good, headers), 400, headers)
            # Signed by the provider, and yet no use.
            for body, status in (
                (b"", 400), (b"{", 400), (b"\xff\xfe", 400), (b"[" * 60_000, 400), (b"[]", 200), (b"null", 200), (b"{}", 200),
                (b'{"type": "payment.updated", "data": {"id": "re_1"}}', 200), (b'{"type": "refund.updated", "data": {"id": 1}}', 200),
                (self.about("../control", "succeeded"), 503), (self.about("re_99", "succeeded"), 503),
            ):
                self.assertEqual(await self.send_webhook(body, self.signed(body)), status, body[:80])
            large = good + b" " * 70_000
            self.assertEqual(await self.send_webhook(large, self.signed(large)), 413)
            # One that never ends.
            reader, writer = await asyncio.open_connection("127.0.0.1", self.webhook_port)
            writer.write(b"POST /webhooks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
            self.assertIn(b"503", await asyncio.wait_for(reader.readline(), 10))
            writer.close()
            self.assertEqual(await self.settlement(dispute), ("DUE", 1))
            # While a secret is being replaced, one of two signatures is good.
            when, right = signature.split(",")
            self.assertEqual(await self.send_webhook(good, {"Webhook-Signature": f"{when},v1={'0' * 64},{right}"}), 200)
            self.assertEqual(await self.settlement(dispute), ("SETTLED", 1))
            # What was recorded and is sent again says nothing new.
            self.assertEqual(await self.send_webhook(good, {"Webhook-Signature": signature}), 200)
        await self.assert_paid_once(dispute, "SETTLED")

    async def test_refunds_of_others(self):
        dispute = await self.refund()
        strange = f"refund-{dispute}-7"  # the service has not given it
        unknown = "refund-00000000-0000-7000-8000-000000000000-1"
        async with self.worker():
            await self.until_settled(dispute)
            for number, reference in enumerate(("", "order-1", f"refund-{dispute}-0", f"refund-{dispute}-1-1", strange, unknown)):
                refund = {"id": f"re_x{number}", "reference": reference, "status": "succeeded", "failure_reason": None}
                self.fake.refunds[refund["id"]] = refund
                body = self.about(refund["id"], "succeeded")
                self.assertEqual(await self.send_webhook(body, self.signed(body)), 200, reference)
                del self.fake.refunds[refund["id"]]
            log = self.log.read_text()
            self.assertEqual((log.count("not ours"), log.count("NEEDS A PERSON")), (4, 2), log)
        await self.assert_paid_once(dispute, "SETTLED")


if __name__ == "__main__":
    unittest.main()
