"""Exact counts per operation: allocations, system calls, instructions.

Each is the difference of two runs that differ only in how many operations
they do, divided by the difference: start-up, warm-up and end cancel. Runs
that count aren't timed.

  allocations   alloc_count.so, preloaded: every malloc, calloc, realloc and
                aligned allocation, operator new included.
  system calls  strace -f -c: every call of every thread, io_uring_enter
                included, stopped by the kernel and so not missed.
  instructions  callgrind: of the process in user mode, exact but for what
                threads do while they wait for each other.

A server is counted while it gets bursts of 64 requests, each of which is
complete before it sees any of it (load.h): what it does then is the same every
time. With more than one thread (gRPC, cross_thread_post, to_thread) a count
depends on who waits for whom, and repeats to a few percent only.

Callgrind runs one thread at a time, and passes the turn on when that one waits
in a system call. Valgrind 3.19, at least, doesn't know of io_uring_enter that it
may wait: a thread that waits there for another one keeps the turn, and the
program stands still. So cross_thread_post and to_thread on io_uring have no
count of instructions.
"""

import dataclasses
import pathlib
import re
import shutil
import tempfile

import subjects

_LIMIT = 300  # seconds; callgrind is about 50 times slower


@dataclasses.dataclass
class Counts:
    """None is unknown: its tool isn't here, or `unknown` says why, by the field's name."""

    allocations: float | None = None
    syscalls: float | None = None
    instructions: float | None = None
    unknown: dict[str, str] = dataclasses.field(default_factory=dict)


def _lines(runner, subject, bench, wrapper=(), env=None):
    """The subject's own line after each of the two numbers of operations, and what `wrapper` left meanwhile."""
    for ops in bench.count_ops:
        with tempfile.TemporaryDirectory() as folder:
            log = pathlib.Path(folder) / "log"
            words = [word.format(log=log) for word in wrapper]
            line = runner.untimed(subject, bench, ops, words, env, limit=_LIMIT)
            yield line, log.read_text() if wrapper else ""


def _per_op(few, many):
    """Each is how many operations were done, and what was counted."""
    return (many[1] - few[1]) / (many[0] - few[0])


def _allocations(runner, subject, bench):
    env = {"LD_PRELOAD": str(runner.programs / "alloc_count.so")}
    return _per_op(*((line["ops"], line["allocations"]) for line, _ in _lines(runner, subject, bench, env=env)))


def _syscalls(runner, subject, bench):
    if not shutil.which("strace"):
        return None
    wrapper = ("strace", "--follow-forks", "--summary-only", "--summary-columns=calls,name", "--output={log}")
    counted = []
    for line, log in _lines(runner, subject, bench, wrapper):
        total = re.search(r"^\s*(\d+)\s+total$", log, re.MULTILINE)
        if not total:
            return None
        counted.append((line["ops"], int(total[1])))
    return _per_op(*counted)


def _instructions(runner, subject, bench):
    if not shutil.which("valgrind"):
        return None
    wrapper = ("valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--log-file={log}")
    counted = []
    for line, log in _lines(runner, subject, bench, wrapper):
        total = re.search(r"Collected : (\d+)", log)
        if not total:
            return None
        counted.append((line["ops"], int(total[1])))
    return _per_op(*counted)


def count(runner, subject, bench) -> Counts:
    counts = Counts()
    for name, take in (("allocations", _allocations), ("syscalls", _syscalls), ("instructions", _instructions)):
        try:
            setattr(counts, name, take(runner, subject, bench))
        except subjects.Failed as reason:  # the tool isn't permitted, or can't do it
            counts.unknown[name] = str(reason)
    return counts
