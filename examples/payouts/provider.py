"""A payment provider to try the worker with. It behaves as real ones do, and worse if it is told to.

It keeps the first result of each idempotency key, errors included, and delivers each webhook until it is taken. Listens on
PROVIDER_LISTEN, sends webhooks to WEBHOOK_URL. Refunds are pending for PENDING_SECONDS. /control/ makes it misbehave."""

import asyncio
import hmac
import json
import logging
import os
import random
import time

import aiohttp
from aiohttp import web

log = logging.getLogger("provider")


class FakeProvider:
    def __init__(self, key: str, secret: str, webhook_url: str, **settings) -> None:
        self.key, self.secret, self.webhook_url = key, secret, webhook_url
        self.refunds: dict[str, dict] = {}
        self.results: dict[str, dict] = {}  # by idempotency key
        self.events: list[dict] = []  # not taken yet
        self.answers: list[int] = []  # to webhooks; 0 where there was none
        self.creates = self.most_at_once = 0  # requests for refunds
        self.tasks: set[asyncio.Task] = set()
        self.random = random.Random(1)
        self.settings = {
            "pending_seconds": 1.0,  # from one status of a refund to the next
            "retry_seconds": 1.0,  # from one delivery of a webhook to the next
            "key_seconds": 86_400.0,  # how long idempotency keys are kept
            "creates": [],  # how the next ones go wrong: busy, slow, refused, error, error after, lost; "" does not
            "slow_seconds": 30.0,  # how long a slow creation takes
            "gets": [],  # seconds that the next answers are on their way
            "outcomes": [],  # of the next refunds, ["succeeded", "failed"] say; [] stays pending; after those: succeeded
            "hold": False,  # keeps webhooks back; when that ends, the last comes first
            "times": 1,  # how often each webhook is delivered
            "jitter_seconds": 0.0,  # delays webhooks by up to this, so that they overtake each other
            **settings,
        }

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self.authenticated])
        app.router.add_post("/refunds", self.create)
        app.router.add_get("/refunds", self.find)
        app.router.add_get("/refunds/{id}", self.get)
        app.router.add_post("/control/settings", self.set)
        app.router.add_post("/control/forget-keys", self.forget)
        app.router.add_post("/control/refunds/{id}", self.update)
        return app

    @web.middleware
    async def authenticated(self, request: web.Request, handler) -> web.StreamResponse:
        if not request.path.startswith("/control") and request.headers.get("Authorization") != f"Bearer {self.key}":
            return web.json_response({"error": "unauthorized"}, status=401)
        return await handler(request)

    async def create(self, request: web.Request) -> web.Response:
        body, key = await request.json(), request.headers["Idempotency-Key"]
        self.creates += 1
        how = self.settings["creates"].pop(0) if self.settings["creates"] else ""
        if how == "busy":  # nothing is kept of such a call
            return web.json_response({"error": "too many requests"}, status=429)
        known = self.results.get(key)
        if known and (not known["result"] or time.monotonic() - known["time"] < self.settings["key_seconds"]):
            if known["body"] != body:
                return web.json_response({"error": "the key was used with other parameters"}, status=422)
            if not known["result"]:
                return web.json_response({"error": "a request with this key is in progress"}, status=409)
            return web.json_response(known["result"][1], status=known["result"][0])
        self.results[key] = known = {"time": 0.0, "body": body, "result": None}
        self.most_at_once = max(self.most_at_once, self.in_progress())
        if how == "slow":
            began = time.monotonic()
            while time.monotonic() - began < self.settings["slow_seconds"]:
                await asyncio.sleep(0.005)
        if how == "refused":
            known["result"] = 402, {"error": "insufficient funds"}
        elif how == "error":
            known["result"] = 500, {"error": "internal error"}
        else:
            refund = {"id": f"re_{len(self.refunds) + 1}", **body, "status": "pending", "failure_reason": None}
            self.refunds[refund["id"]] = refund
            outcomes = self.settings["outcomes"].pop(0) if self.settings["outcomes"] else ["succeeded"]
            self.start(self.settle(refund, outcomes))
            log.info("%s created for %s", refund["id"], refund["reference"])
            known["result"] = (500, {"error": "internal error"}) if how == "error after" else (201, dict(refund))
            if how == "lost":
                request.transport.abort()
        known["time"] = time.monotonic()
        return web.json_response(known["result"][1], status=known["result"][0])

    def is_quiet(self) -> bool:
        """Whether every refund has come to its end, and every webhook was taken."""
        return not self.tasks and not self.events and not self.in_progress()

    def in_progress(self) -> int:
        return sum(not known["result"] for known in self.results.values())

    async def find(self, request: web.Request) -> web.Response:
        wanted = request.query.items()
        found = [refund for refund in self.refunds.values() if all(refund[name] == value for name, value in wanted)]
        return web.json_response({"refunds": found})

    async def get(self, request: web.Request) -> web.Response:
        refund = self.refunds.get(request.match_info["id"])
        refund = refund and dict(refund)
        if self.settings["gets"]:
            await asyncio.sleep(self.settings["gets"].pop(0))
        return web.json_response(refund or {"error": "not found"}, status=200 if refund else 404)

    async def settle(self, refund: dict, outcomes: list[str]) -> None:
        for status in outcomes:
            await asyncio.sleep(self.settings["pending_seconds"])
            # What was paid falls back only after everybody has heard that it was paid.
            while any(event["data"]["id"] == refund["id"] for event in self.events) and not self.settings["hold"]:
                await asyncio.sleep(0.005)
            self.change(refund, status)

    def change(self, refund: dict, status: str) -> None:
        refund.update(status=status, failure_reason="account_closed" if status == "failed" else None)
        # With the refund as it is at this moment, which says nothing about the moment of delivery.
        event = {"type": "refund.updated", "data": dict(refund)}
        self.events.append(event)
        log.info("%s %s", refund["id"], status)
        if not self.settings["hold"]:
            self.start(self.deliver(event))

    async def deliver(self, event: dict) -> None:
        body = json.dumps(event).encode()
        for _ in range(self.settings["times"]):
            await asyncio.sleep(self.random.uniform(0, self.settings["jitter_seconds"]))
            while await self.send(body) // 100 != 2:
                await asyncio.sleep(self.settings["retry_seconds"])
        self.events.remove(event)

    async def send(self, body: bytes) -> int:
        now = str(int(time.time()))
        signature = hmac.new(self.secret.encode(), f"{now}.".encode() + body, "sha256").hexdigest()
        headers = {"Webhook-Signature": f"t={now},v1={signature}", "Content-Type": "application/json"}
        limit = aiohttp.ClientTimeout(total=10)
        try:
            async with aiohttp.ClientSession(timeout=limit) as http:
                async with http.post(self.webhook_url, data=body, headers=headers) as response:
                    status = response.status
        except (aiohttp.ClientError, TimeoutError):
            status = 0
        self.answers.append(status)
        return status

    async def set(self, request: web.Request) -> web.Response:
        held = self.settings["hold"]
        self.settings.update(await request.json())
        if held and not self.settings["hold"]:
            for event in reversed(list(self.events)):
                await self.deliver(event)
        return web.json_response(self.settings)

    async def forget(self, _: web.Request) -> web.Response:
        self.results = {key: known for key, known in self.results.items() if not known["result"]}
        return web.json_response({})

    async def update(self, request: web.Request) -> web.Response:
        self.change(self.refunds[request.match_info["id"]], (await request.json())["status"])
        return web.json_response({})

    def start(self, work) -> None:
        self.tasks.add(task := asyncio.create_task(work))
        task.add_done_callback(self.tasks.discard)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s provider %(message)s")
    host, port = os.environ.get("PROVIDER_LISTEN", "127.0.0.1:8070").rsplit(":", 1)
    pending = float(os.environ.get("PENDING_SECONDS", "1"))
    key, secret, webhook_url = (os.environ[name] for name in ("PROVIDER_KEY", "WEBHOOK_SECRET", "WEBHOOK_URL"))
    fake = FakeProvider(key, secret, webhook_url, pending_seconds=pending)
    web.run_app(fake.app(), host=host, port=int(port), access_log=None)
