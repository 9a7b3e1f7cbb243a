"""Follows the disputes of a marketplace over whatever breaks: connections, servers, credentials that expire.

Copy this file; it needs grpcio, grpcio-status, googleapis-common-protos, and the generated package `disputes`."""

import asyncio
import logging
import os
import random
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc import StatusCode
from grpc_status import rpc_status

from disputes.v1.dispute_service_pb2 import WatchDisputesRequest
from disputes.v1.dispute_service_pb2_grpc import DisputeServiceStub
from disputes.v1.event_pb2 import DisputeEvent

HEARTBEAT = 15.0  # seconds between messages, until the request or the service says otherwise
HEARTBEATS = 3  # after so many without a message a stream is dead
FIRST_DELAY, LONGEST_DELAY = 0.1, 10.0
DISPUTES = 65_536  # how many are remembered at least, to recognise repetitions

FINAL = {
    StatusCode.INVALID_ARGUMENT,
    StatusCode.NOT_FOUND,
    StatusCode.ALREADY_EXISTS,
    StatusCode.PERMISSION_DENIED,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.OUT_OF_RANGE,
    StatusCode.UNIMPLEMENTED,
    StatusCode.DATA_LOSS,
    StatusCode.UNAUTHENTICATED,
}
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Batch:
    """Events in the order of the log, and the position after them."""

    events: list[DisputeEvent]
    resume_token: str  # store it once the events are handled: a watch that starts with it continues from here
    snapshot_complete: bool  # the snapshot that was requested has been yielded; live events follow


async def watch(
    connect: Callable[[], grpc.aio.Channel],
    request: WatchDisputesRequest,
    identity: Callable[[], tuple[tuple[str, str], ...]] = tuple,
) -> AsyncGenerator[Batch, None]:
    """Yields every event that matches the request and that the caller may see: in order, none lost, none twice.

    `connect` and `identity` (metadata) are called before each attempt. A channel keeps a connection that has gone
    silent, so each attempt has a new one. Raises the first error that connecting again cannot help; ends with nothing
    else. Wrap it in `contextlib.aclosing` if you may leave the loop early.
    """
    position = WatchDisputesRequest()
    position.CopyFrom(request)
    heartbeat = request.heartbeat_interval.ToTimedelta().total_seconds() or HEARTBEAT
    newest = Revisions()
    token, failures = None, 0
    while True:
        messages, asked_for = 0, 0.0
        async with connect() as channel:
            try:
                call = DisputeServiceStub(channel).WatchDisputes(position, metadata=identity())
                while True:
                    # Not wait_for, which before Python 3.12 may lose a cancellation. When time is up, the call is cancelled.
                    async with asyncio.timeout(HEARTBEATS * max(heartbeat, 1.0)):
                        response = await call.read()
                    if response is grpc.aio.EOF:
                        break
                    messages += 1
                    if messages > 1:
                        failures = 0
                    checkpoint = response.checkpoint
                    heartbeat = checkpoint.heartbeat_interval.ToTimedelta().total_seconds() or heartbeat
                    events = [event for event in response.events if newest.is_new(event)]
                    moves_on, token = token != response.resume_token, response.resume_token
                    # It replaces the start. A token from within a snapshot asks for the snapshot by itself.
                    position.resume_token = token
                    position.include_snapshot = False
                    if events or moves_on or checkpoint.snapshot_complete:
                        yield Batch(events, token, checkpoint.snapshot_complete)
                why = "the service has ended it"
            except TimeoutError:
                why = f"nothing arrived for {HEARTBEATS} heartbeats"
            except OSError as error:  # The token is being replaced, say.
                why = str(error)
            except grpc.aio.AioRpcError as error:
                if is_final(error, was_accepted=messages > 0):
                    raise
                retry = detail(error, RetryInfo)
                asked_for = retry.retry_delay.ToTimedelta().total_seconds() if retry else 0.0
                why = f"{error.code().name}: {error.details()}"
        # All of it is jitter: clients that were cut off together do not come back together.
        delay = asked_for + random.uniform(0, min(LONGEST_DELAY, FIRST_DELAY * 2 ** min(failures, 10)))
        failures += 1
        log.warning("the watch was interrupted (%s); connecting again in %.1f s", why, delay)
        await asyncio.sleep(delay)


def is_final(error: grpc.aio.AioRpcError, was_accepted: bool) -> bool:
    """Whether the same request would only be refused again. A stream that was accepted ends when its credential expires:
    with a new one it goes on."""
    info = detail(error, ErrorInfo)
    reason = info.reason if info else ""
    if error.code() == StatusCode.UNAUTHENTICATED and was_accepted:
        return reason != "CREDENTIAL_EXPIRED"
    if error.code() == StatusCode.RESOURCE_EXHAUSTED:
        return reason == "MESSAGE_TOO_LARGE"
    return error.code() in FINAL


Detail = TypeVar("Detail", bound=Message)


def detail(error: grpc.aio.AioRpcError, kind: type[Detail]) -> Detail | None:
    """The detail of this kind that an error carries, or None."""
    try:
        status = rpc_status.from_call(error)
        for packed in status.details if status else ():
            if packed.Unpack(found := kind()):
                return found
    except (ValueError, DecodeError):  # Something between us and the service has changed it.
        pass
    return None


def describe(error: Exception) -> str:
    """What an error of the service says: code and reason, facts, and everything that is wrong with the request."""
    if not isinstance(error, grpc.aio.AioRpcError):
        return str(error)
    info, request = detail(error, ErrorInfo) or ErrorInfo(), detail(error, BadRequest) or BadRequest()
    lines = [f"{error.code().name} {info.reason}".rstrip() + f": {error.details()}"]
    lines += [f"  {key}: {value}" for key, value in sorted(info.metadata.items())]
    lines += [f"  {violation.field}: {violation.description}" for violation in request.field_violations]
    return "\n".join(lines)


class TokenFile:
    """Where a watch that is started again continues: a file for each user and filter."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> str | None:
        """The token; None if there is no file yet. An empty token would mean "from now on", and skip what has happened."""
        if not os.path.exists(self.path):
            return None
        with open(self.path) as file:
            if token := file.read().strip():
                return token
        raise OSError(f"{self.path} is empty: remove it, and the watch begins with a snapshot")

    def store(self, token: str) -> None:
        """Replaces the file, whole or not at all, whatever happens to the program or to the machine."""
        with open(f"{self.path}.new", "w") as file:
            file.write(token)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, self.path)


class Revisions:
    """The highest revision of each dispute that was yielded: it tells repetitions, and what a snapshot already showed.

    Bounded: of the disputes that most recently had an event, at least DISPUTES, at most twice as many.
    """

    def __init__(self) -> None:
        self.recent: dict[str, int] = {}
        self.earlier: dict[str, int] = {}

    def is_new(self, event: DisputeEvent) -> bool:
        dispute, revision = event.dispute.dispute_id, event.revision
        highest = self.recent.get(dispute, self.earlier.get(dispute, 0))
        if dispute not in self.recent and len(self.recent) >= DISPUTES:
            self.earlier, self.recent = self.recent, {}
        self.recent[dispute] = max(revision, highest)
        return revision > highest
