"""A marketplace in which a refund falls due: the seller of an order offers it, the buyer accepts.

    marketplace.py refund [AMOUNT]      prints the id of the dispute
    marketplace.py show DISPUTE_ID      its events, and whether the refund was paid

For a service that trusts its callers, at DISPUTES_URL."""

import asyncio
import sys
import uuid

import grpc
from google.type.money_pb2 import Money

from disputes.v1 import dispute_pb2, event_pb2, order_pb2
from disputes.v1.dispute_service_pb2 import (
    AcceptDisputeRequest,
    DisputeEventFilter,
    GetDisputeRequest,
    ListDisputeEventsRequest,
    OfferPartialRefundRequest,
)
from disputes.v1.dispute_service_pb2_grpc import DisputeServiceStub
from disputes.v1.order_service_pb2 import UpsertOrderRequest
from disputes.v1.order_service_pb2_grpc import OrderServiceStub

PLATFORM = (("x-user-id", "shop"), ("x-scope", "platform"))
BUYER, SELLER = (("x-user-id", "ann"),), (("x-user-id", "bob"),)


async def refund(channel: grpc.aio.Channel, amount: Money) -> str:
    order = order_pb2.Order(
        order_id=f"order-{uuid.uuid4()}",
        buyer_id="ann",
        seller_id="bob",
        title="A logo",
        price=Money(currency_code=amount.currency_code, units=100),
        status=order_pb2.ORDER_STATUS_IN_PROGRESS,
        source_version=1,
    )
    await OrderServiceStub(channel).UpsertOrder(UpsertOrderRequest(order=order), metadata=PLATFORM)
    offer = OfferPartialRefundRequest(
        order_id=order.order_id, amount=amount, message="Sorry, it is late.", reason=dispute_pb2.REASON_DELAY_COMPENSATION
    )
    dispute_id = (await DisputeServiceStub(channel).OfferPartialRefund(offer, metadata=SELLER)).dispute.dispute_id
    await DisputeServiceStub(channel).AcceptDispute(AcceptDisputeRequest(dispute_id=dispute_id), metadata=BUYER)
    return dispute_id


async def settlement(channel: grpc.aio.Channel, dispute_id: str) -> dispute_pb2.Settlement:
    request = GetDisputeRequest(dispute_id=dispute_id)
    return (await DisputeServiceStub(channel).GetDispute(request, metadata=PLATFORM)).dispute.settlement


async def events(channel: grpc.aio.Channel, dispute_id: str) -> list[str]:
    only = DisputeEventFilter(dispute_ids=[dispute_id])
    request = ListDisputeEventsRequest(filter=only, from_beginning=True, page_size=500)
    page = await DisputeServiceStub(channel).ListDisputeEvents(request, metadata=PLATFORM)
    return [event_pb2.EventType.Name(event.type).removeprefix("EVENT_TYPE_") for event in page.events]


async def main(arguments: list[str]) -> None:
    from client import connect, parse

    async with connect() as channel:
        match arguments:
            case ["refund", *amount] if len(amount) < 2:
                money = parse(*(amount or ["25"]))
                money.currency_code = "USD"
                print(await refund(channel, money))
            case ["show", dispute_id]:
                print(*await events(channel, dispute_id))
                print(await settlement(channel, dispute_id), end="")
            case _:
                sys.exit(__doc__)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
