"""The payment provider: everything the worker knows about it. For another provider, change this file.

The environment says where it is, PROVIDER_URL, and has the secrets: PROVIDER_KEY for calls, WEBHOOK_SECRET for webhooks."""

import hmac
import json
import os
import re
import time
from dataclasses import dataclass
from urllib.parse import quote

import aiohttp

URL, KEY, WEBHOOK_SECRET = (os.environ.get(name, "") for name in ("PROVIDER_URL", "PROVIDER_KEY", "WEBHOOK_SECRET"))
TIMEOUT = 10.0  # seconds for a call
TOLERANCE = 300.0  # seconds that the time of a webhook may be off: an old one may have been recorded by somebody
# 409: the first request with this idempotency key is still in progress.
TRY_AGAIN = {408, 409, 425, 429}
SIGNATURE = re.compile(r"t=([0-9]{1,12})((?:,v1=[0-9a-f]{64})+)")


class Unavailable(Exception):
    """The call may or may not have had an effect: try again."""


class Refused(Exception):
    """The provider refused the call. It had no effect, so no webhook will follow."""


@dataclass(frozen=True)
class Refund:
    id: str
    reference: str
    status: str  # pending, succeeded, failed; one that succeeded can still fail
    reason: str  # why it failed
    payment: str
    value: str  # an exact decimal
    currency: str


class Provider:
    def __init__(self, http: aiohttp.ClientSession) -> None:
        self.http = http

    async def create(self, idempotency_key: str, payment: str, value: str, currency: str) -> Refund:
        """Creates a refund, which is pending at first. A repeated key returns the first result, of however long ago: the
        answer tells that the refund exists, not how it is doing."""
        # All of it follows from the attempt: a provider refuses a repeated key with other parameters.
        body = {"reference": idempotency_key, "payment": payment, "amount": {"value": value, "currency": currency}}
        return refund(await self.call("POST", "/refunds", json=body, headers={"Idempotency-Key": idempotency_key}))

    async def get(self, refund_id: str) -> Refund:
        return refund(await self.call("GET", f"/refunds/{quote(refund_id, safe='')}"))

    async def find(self, payment: str, reference: str) -> list[Refund]:
        """The refunds of a payment that were created with this reference, as they are now; of all pages."""
        params = {"payment": payment, "reference": reference}
        return [refund(found) for found in (await self.call("GET", "/refunds", params=params))["refunds"]]

    async def call(self, method: str, path: str, headers: dict[str, str] | None = None, **request) -> dict:
        headers = {"Authorization": f"Bearer {KEY}", **(headers or {})}
        limit = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            async with self.http.request(
                method, URL + path, headers=headers, timeout=limit, allow_redirects=False, **request
            ) as response:
                body = await response.json()
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f"{method} {path}: {str(error) or type(error).__name__}") from error
        if 400 <= response.status < 500 and response.status not in TRY_AGAIN:
            raise Refused(f"{method} {path}: {response.status} {json.dumps(body)[:500]}")
        if response.status not in (200, 201):
            raise Unavailable(f"{method} {path}: {response.status}")
        return body


def refund(answer: dict) -> Refund:
    """What is missing is empty: refunds of others need not have it."""
    amount = answer.get("amount") or {}
    found = {name: answer.get(name) or "" for name in ("reference", "status", "payment")}
    return Refund(
        id=answer["id"],
        reason=answer.get("failure_reason") or "",
        value=amount.get("value") or "",
        currency=amount.get("currency") or "",
        **found,
    )


def refund_of(webhook: bytes, signature: str) -> str | None:
    """The id of the refund that a webhook is about, None if it is about something else. Raises ValueError unless the
    provider has signed it, and recently."""
    if not (found := SIGNATURE.fullmatch(signature)):
        raise ValueError("the signature is missing or malformed")
    if abs(time.time() - int(found[1])) > TOLERANCE:
        raise ValueError("the signature is too old, or from the future")
    expected = hmac.new(WEBHOOK_SECRET.encode(), found[1].encode() + b"." + webhook, "sha256").hexdigest()
    # There are several while a secret is being replaced.
    if not any(hmac.compare_digest(expected, given) for given in found[2].split(",v1=")[1:]):
        raise ValueError("the signature is wrong")
    try:
        match json.loads(webhook):
            case {"type": "refund.updated", "data": {"id": str(refund_id)}}:
                return refund_id
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return None
