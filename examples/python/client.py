"""Offers a partial refund as a seller, or follows the disputes that its user may see.

    client.py offer ORDER_ID AMOUNT MESSAGE
    client.py watch [TOKEN_FILE]

The environment says where the service is, DISPUTES_URL and perhaps DISPUTES_CA (a PEM file), and who calls:
DISPUTES_TOKEN_FILE or, for a service that trusts its callers, DISPUTES_USER_ID."""

import asyncio
import os
import re
import signal
import sys
import uuid
from pathlib import Path
from urllib.parse import urlsplit

import grpc
from google.protobuf.duration_pb2 import Duration
from google.type.money_pb2 import Money

from disputes.v1 import dispute_pb2, dispute_service_pb2, event_pb2, order_service_pb2
from disputes.v1.dispute_service_pb2_grpc import DisputeServiceStub
from disputes.v1.order_service_pb2_grpc import OrderServiceStub
from watch import TokenFile, describe, watch

URL = urlsplit(os.environ.get("DISPUTES_URL") or "http://127.0.0.1:50051")
CA, TOKEN_FILE, USER_ID = (os.environ.get(f"DISPUTES_{name}", "") for name in ("CA", "TOKEN_FILE", "USER_ID"))
# Deadlines, retries, waiting until the service is there and healthy: the library does all of it, told by this file.
SERVICE_CONFIG = Path(__file__).with_name("service_config.json").read_text()


class Unusable(Exception):
    """The arguments, or the environment."""


def connect() -> grpc.aio.Channel:
    # Channels of one process share their connections, unless told not to: a watch that connects again needs a new one.
    options = [("grpc.service_config", SERVICE_CONFIG), ("grpc.use_local_subchannel_pool", 1)]
    if URL.scheme == "https":
        credentials = grpc.ssl_channel_credentials(Path(CA).read_bytes() if CA else None)
        return grpc.aio.secure_channel(URL.netloc, credentials, options)
    if URL.scheme != "http" or TOKEN_FILE or not USER_ID:  # A token never travels in plain text.
        raise Unusable("Set DISPUTES_USER_ID; or DISPUTES_TOKEN_FILE, and a DISPUTES_URL that begins with https://.")
    return grpc.aio.insecure_channel(URL.netloc, options)


def identity() -> tuple[tuple[str, str], ...]:
    """The metadata that says who calls. The token is read for each call: somebody replaces it before it expires."""
    if TOKEN_FILE:
        return (("authorization", f"Bearer {Path(TOKEN_FILE).read_text().strip()}"),)
    return (("x-user-id", USER_ID),)


def parse(amount: str) -> Money:
    """An amount in some currency: never by way of a float, which has no 0.10."""
    if not (found := re.fullmatch(r"([0-9]{1,15})(?:\.([0-9]{1,9}))?", amount)):
        raise Unusable(f"{amount} is no amount: write 12.50, say.")
    return Money(units=int(found[1]), nanos=int((found[2] or "").ljust(9, "0")))


async def offer(order_id: str, amount: Money, message: str) -> None:
    async with connect() as channel:
        request = order_service_pb2.GetOrderRequest(order_id=order_id)
        order = (await OrderServiceStub(channel).GetOrder(request, metadata=identity())).order
        request = dispute_service_pb2.OfferPartialRefundRequest(
            request_id=str(uuid.uuid4()),  # with one id, it takes effect once, however often the library sends it
            order_id=order_id,
            amount=Money(currency_code=order.price.currency_code, units=amount.units, nanos=amount.nanos),
            message=message,
            reason=dispute_pb2.REASON_BUYER_PARTLY_DISSATISFIED,  # one of those that ListReasons names
        )
        dispute = (await DisputeServiceStub(channel).OfferPartialRefund(request, metadata=identity())).dispute
        status = dispute_pb2.DisputeStatus.Name(dispute.status).removeprefix("DISPUTE_STATUS_")
        print(dispute.dispute_id, status, f"{dispute.respond_by.ToDatetime():%Y-%m-%dT%H:%M:%SZ}")


async def follow(position: TokenFile | None) -> None:
    request = dispute_service_pb2.WatchDisputesRequest(heartbeat_interval=Duration(seconds=5))
    if token := position.read() if position else None:
        request.resume_token = token
    else:
        request.include_snapshot = True
    greeting = "watching\n"
    async for batch in watch(connect, request, identity):
        sys.stderr.write(greeting)
        greeting = ""
        for event in batch.events:
            kind = event_pb2.EventType.Name(event.type).removeprefix("EVENT_TYPE_")
            print(kind, event.dispute.order_id, event.dispute.dispute_id, event.revision, flush=True)
        if position:  # After the events were handled.
            position.store(batch.resume_token)


async def main(arguments: list[str]) -> int:
    try:
        match arguments:
            case ["offer", order_id, amount, message]:
                await offer(order_id, parse(amount), message)
            case ["watch", *files] if len(files) < 2:
                for stop in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(stop, asyncio.current_task().cancel)
                await follow(TokenFile(files[0]) if files else None)
            case _:
                raise Unusable(__doc__)
    except asyncio.CancelledError:
        pass  # A watch that is told to end.
    except Unusable as why:
        print(why, file=sys.stderr)
        return 2
    except (grpc.aio.AioRpcError, OSError) as error:
        print(describe(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))
