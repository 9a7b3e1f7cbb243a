"""Runs the worker in this process, and kills it with SIGKILL just before it runs a line for the N-th time, or goes on with
a line that waited for something. The worker needs no hooks for it."""

import asyncio
import importlib
import os
import signal
import sys
from collections import Counter
from pathlib import Path

FILES = {str(Path(__file__).with_name(name)): name for name in ("worker.py", "payments.py")}


def run(environment: dict[str, str], constants: dict[str, float], log: str, kill: tuple | None, trace: str | None) -> None:
    """Kills at `kill`, a line of a file and how many times; writes every line that is run to `trace`."""
    for stream in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    os.environ.update(environment)
    lines = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if trace else None
    reached: Counter = Counter()

    def follow(frame, event, _):
        if not (name := FILES.get(frame.f_code.co_filename)):
            return None
        # "call" is also when a coroutine goes on: whatever the line waited for has happened.
        if event in ("call", "line"):
            point = (name, frame.f_lineno, event)
            reached[point] += 1
            if lines:
                os.write(lines, f"{name} {frame.f_lineno} {event}\n".encode())
            if kill == (*point, reached[point]):
                os.kill(os.getpid(), signal.SIGKILL)
        return follow

    if kill or trace:
        sys.settrace(follow)
    for name, value in constants.items():
        module, _, constant = name.partition(".")
        setattr(importlib.import_module(module), constant, value)
    sys.exit(asyncio.run(importlib.import_module("worker").main()))
