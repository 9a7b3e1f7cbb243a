"""Runs the worker in this process and kills it with SIGKILL just before it runs a line for the N-th time, or just after what
a line waited for has happened. The worker needs no hooks for it."""

import asyncio
import importlib
import os
import signal
import sys
from collections import Counter
from pathlib import Path

FILES = {str(Path(__file__).with_name(name)): name for name in ("worker.py", "settlements.py", "payments.py")}


def run(environment: dict[str, str], constants: dict[str, float], log: str, kill: tuple | None, trace: str | None) -> None:
    """Kills at `kill`: a file, a line, "line" or "call", and how often. Writes the points that are reached to `trace`."""
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.update(environment)
    points = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) if trace else None
    reached: Counter = Counter()

    def follow(frame, event, _):
        if not (name := FILES.get(frame.f_code.co_filename)):
            return None
        # "call" is also the resumption of a coroutine: what its line waited for has happened.
        if event in ("line", "call"):
            point = (name, frame.f_lineno, event)
            reached[point] += 1
            if points:
                os.write(points, f"{name} {frame.f_lineno} {event} {frame.f_code.co_name}\n".encode())
            if kill == (*point, reached[point]):
                os.kill(os.getpid(), signal.SIGKILL)
        return follow

    if kill or trace:
        sys.settrace(follow)
    for name, value in constants.items():
        module, _, constant = name.partition(".")
        setattr(importlib.import_module(module), constant, value)
    sys.exit(asyncio.run(importlib.import_module("worker").main()))
