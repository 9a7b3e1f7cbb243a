"""What the tests share: a real service, a provider that misbehaves, and workers in processes of their own."""

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
# Nor by way of a proxy: everything is on this machine.
for variable in ("grpc_proxy", "http_proxy", "https_proxy"):
    os.environ.pop(variable, None)
os.environ["PYTHONPATH"] = f"{HERE}{os.pathsep}{PYTHON}"

import aiohttp
import grpc
from aiohttp import web
from google.type.money_pb2 import Money

import kill_at
import marketplace
from disputes.v1.dispute_pb2 import SettlementStatus
from provider import FakeProvider

SERVICE = os.environ.get("DISPUTE_SERVICE", "dispute-service")
TIMEOUT = 30.0  # seconds for whatever a test waits for
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
        self.fake = FakeProvider(KEY, SECRET, url, pending_seconds=0.005, retry_seconds=0.02)
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

    def environment(self, webhook_port=None) -> dict[str, str]:
        return {
            "DISPUTES_URL": f"http://127.0.0.1:{self.service_port}",
            "DISPUTES_USER_ID": "payouts",
            "PROVIDER_URL": f"http://127.0.0.1:{self.provider_port}",
            "PROVIDER_KEY": KEY,
            "WEBHOOK_SECRET": SECRET,
            "WEBHOOK_LISTEN": f"127.0.0.1:{webhook_port or self.webhook_port}",
        }

    def start_worker(self, kill=None, trace=None, webhook_port=None, **constants):
        environment = self.environment(webhook_port)
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
        await self.death(worker)

    async def death(self, worker):
        await self.until(lambda: not worker.is_alive(), "for the end of a worker")

    async def until(self, condition, what=""):
        """Waits until the condition holds, which may be a coroutine function, and returns what it returned."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            if time.monotonic() > deadline:
                self.fail(f"waited in vain {what}\n{self.log.read_text()}")
            await asyncio.sleep(0.01)

    async def until_logged(self, text):
        await self.until(lambda: text in self.log.read_text(), f"for {text!r}")

    async def control(self, path, **body):
        async with self.http.post(f"/control/{path}", json=body) as response:
            self.assertEqual(response.status, 200)

    async def refund(self):
        """A dispute with a refund that has become due."""
        return await marketplace.refund(self.channel, Money(currency_code="USD", units=12, nanos=500_000_000))

    async def settlement(self, dispute):
        """Its status and attempt."""
        settlement = await marketplace.settlement(self.channel, dispute)
        return SettlementStatus.Name(settlement.status).removeprefix("SETTLEMENT_STATUS_"), settlement.attempt

    def paid(self, dispute):
        """How many refunds the provider has for each attempt."""
        references = Counter(refund["reference"] for refund in self.fake.refunds.values() if dispute in refund["reference"])
        return {int(reference.rpartition("-")[2]): count for reference, count in references.items()}

    async def until_settled(self, dispute, attempt=1):
        """Waits until the dispute is settled, every refund has come to its end, and every webhook is delivered."""

        async def is_settled():
            return self.fake.is_quiet() and await self.settlement(dispute) == ("SETTLED", attempt)

        await self.until(is_settled, f"for attempt {attempt} of {dispute}")

    async def assert_paid_once(self, dispute, *events):
        """Asserts that each attempt has one refund, and that the settlement took this course."""
        happened = await marketplace.events(self.channel, dispute)
        self.assertEqual(happened, ["OPENED", "ACCEPTED", *events], self.log.read_text())
        attempts = 1 + sum(event != "SETTLED" for event in events)
        self.assertEqual(self.paid(dispute), dict.fromkeys(range(1, attempts + 1), 1), self.log.read_text())

    def signed(self, body: bytes, age=0.0, secret=SECRET):
        when = str(int(time.time() - age))
        signature = hmac.new(secret.encode(), f"{when}.".encode() + body, "sha256").hexdigest()
        return {"Webhook-Signature": f"t={when},v1={signature}"}

    async def send_webhook(self, body: bytes, headers: dict | None = None) -> int:
        async with aiohttp.ClientSession() as http:
            async with http.post(self.fake.webhook_url, data=body, headers=headers) as response:
                return response.status

    def about(self, refund: str, status: str) -> bytes:
        return json.dumps({"type": "refund.updated", "data": {"id": refund, "status": status}}).encode()
