"""The worker pays once, wherever it is killed. To run all tests, with the settings of the README or without:

DISPUTE_SERVICE=/path/to/dispute-service python -m unittest -v
"""

import itertools
import signal
import sys
import time
from collections import Counter

from testbed import Case

# How a refund goes: what the provider does with each attempt, and the events that follow.
STORIES = {
    "succeeds": ([["succeeded"]], ["SETTLED"]),
    "fails": ([["failed"], ["succeeded"]], ["SETTLEMENT_FAILED", "SETTLED"]),
    "is returned": ([["succeeded", "failed"], ["succeeded"]], ["SETTLED", "SETTLEMENT_RETURNED", "SETTLED"]),
}
# What goes wrong besides.
TROUBLES = (
    {},
    {"creates": ["lost"]},
    {"creates": ["error after"]},
    {"times": 2, "jitter_seconds": 0.02},
    {"creates": ["error"], "key_seconds": 0.05},
    {"creates": ["busy", "slow"], "slow_seconds": 0.1},
)
NO_TROUBLE = {"creates": [], "outcomes": [], "times": 1, "jitter_seconds": 0.0, "key_seconds": 86_400.0}


TIMES = 2  # how often the worker is killed at one point: the first time that it is reached, the second, …


class Kills(Case):
    async def test_killed_at_every_line(self):
        began, deaths, kills = time.monotonic(), 0, await self.kills()
        for number, (story, trouble, kill) in enumerate(kills):
            with self.subTest(story=story, trouble=trouble, kill=kill):
                deaths += await self.kill(story, trouble, kill, forget=number % 2 == 0)
        refunds, seconds = len(self.fake.refunds), time.monotonic() - began
        print(f"\n{len(kills)} places, killed at {deaths}, {refunds} refunds, {seconds:.0f} s", file=sys.stderr)
        self.assertGreater(deaths, len(kills) * 0.8)

    async def kills(self) -> list[tuple]:
        """The story, the trouble and the place of each kill. Places are the lines of the worker, and the lines that waited
        for something and go on. Each story adds those that no earlier one has reached as often."""
        kills, known = [], Counter()
        for story, trouble in [*(("succeeds", trouble) for trouble in TROUBLES), ("fails", {}), ("is returned", {})]:
            _, running = await self.trace(story, trouble)
            for place, times in Counter(running).items():
                kills += [(story, trouble, (*place, nth)) for nth in range(known[place] + 1, min(times, TIMES) + 1)]
                known[place] = max(known[place], times)
        # In stories without a trouble of their own, everything goes wrong in turn.
        turns = itertools.cycle(TROUBLES)
        return [(story, trouble or next(turns), kill) for story, trouble, kill in kills]

    async def trace(self, story, trouble) -> tuple[list, list]:
        """The places that the worker reaches while it is loaded, and then."""
        trace = self.folder / "trace"
        dispute = await self.begin(story, trouble)
        async with self.worker(trace=str(trace)):
            await self.end(story, dispute)
        reached = [line.split() for line in trace.read_text().splitlines()]
        loaded = next(number for number, (*_, function) in enumerate(reached) if function == "main")
        places = [(file, int(line), event) for file, line, event, _ in reached]
        return places[:loaded], places[loaded:]

    async def test_killed_while_it_is_loaded(self):
        loading, _ = await self.trace("succeeds", {})
        dispute = await self.begin("succeeds", {})
        for place in dict.fromkeys(loading):
            worker = self.start_worker(kill=(*place, 1))
            await self.death(worker)
            self.assertEqual(worker.exitcode, -signal.SIGKILL, place)
        async with self.worker():
            await self.end("succeeds", dispute)

    async def kill(self, story, trouble, kill, forget) -> bool:
        """Kills a worker, starts another one, and returns whether it was killed."""
        dispute = await self.begin(story, trouble)
        first = self.start_worker(kill=kill)
        attempts = len(STORIES[story][0])

        def is_over():
            return not first.is_alive() or (len(self.paid(dispute)) == attempts and self.fake.is_quiet())

        await self.until(is_over, "for death or the end of the story")
        await self.stop(first)  # It may be killed on its way out.
        self.assertIn(first.exitcode, (0, -signal.SIGKILL), self.log.read_text())
        if forget:
            await self.control("forget-keys")
        async with self.worker():
            await self.end(story, dispute)
        self.assertNotIn("NEEDS A PERSON", self.log.read_text())
        self.log.write_text("")
        return first.exitcode == -signal.SIGKILL

    async def begin(self, story, trouble) -> str:
        await self.control("settings", **{**NO_TROUBLE, **trouble, "outcomes": STORIES[story][0]})
        return await self.refund()

    async def end(self, story, dispute):
        outcomes, events = STORIES[story]
        await self.until_settled(dispute, attempt=len(outcomes))
        await self.assert_paid_once(dispute, *events)

    async def test_killed_while_the_provider_creates_the_refund(self):
        await self.control("settings", creates=["slow"])
        dispute = await self.refund()
        worker = self.start_worker()
        await self.until(self.fake.in_progress)
        worker.kill()
        # The refund does not exist yet when the next worker looks for it: the key alone prevents another one.
        async with self.worker():
            await self.until(lambda: self.fake.creates > 1)
            await self.control("settings", slow_seconds=0)
            await self.until_settled(dispute)
        await self.assert_paid_once(dispute, "SETTLED")
        self.assertNotIn("NEEDS A PERSON", self.log.read_text())
