"""What there is to measure, and one measurement of it.

A bench is a piece of work (benches.h says what exactly), a subject a program
that does it. This module has the tables of both and runs one subject once.
Not for: rounds and their statistics (rounds.py), exact counts (counting.py).
"""

import contextlib
import dataclasses
import json
import math
import os
import pathlib
import signal
import subprocess
import threading
import time

NOT_AVAILABLE = 77  # as in subject.h
_LIMIT = 60  # seconds that no run takes
_STANDSTILL = 20  # seconds that no bench sleeps


@dataclasses.dataclass(frozen=True)
class Bench:
    name: str
    unit: str  # ns, us, s or bytes
    field: str  # of the line that a subject or load generator prints
    about: str
    load: str | None = None  # the load generator, where the subject is a server
    ops: int | None = None  # fixed by what the bench is; otherwise found so that a run takes a while
    count_ops: tuple[int, int] = (20_000, 60_000)  # whose difference gives counts per operation
    smoke_ops: int = 2_000
    cores: int = 1  # that an in-process subject uses
    family: str | None = None  # of a sweep: its name without the size

    @property
    def key(self) -> str:
        """What a subject lists that has this bench."""
        return self.family or self.name

    @property
    def scale(self) -> float:
        """What the field is divided by to give the unit."""
        return {"ns": 1, "us": 1e3, "s": 1e9, "bytes": 1}[self.unit]


def _micro(name, about, **more):
    return Bench(name, "ns", "cpu_ns_per_op", about, **more)


def _server(name, about, load, **more):
    return Bench(name, "us", "cpu_ns_per_op", about, load=load, count_ops=(6_400, 19_200), **more)


def _file(name, about, block):
    # 1 GiB; a few MiB where it is about counts.
    return Bench(name, "us", "wall_ns_per_op", about, ops=(1 << 30) // block, count_ops=(50, 250), smoke_ops=20,
                 cores=2)


BENCHES = {
    bench.name: bench
    for bench in (
        _micro("spawn_join", "start and join a child"),
        _micro("call_depth1", "await a child coroutine"),
        _micro("call_depth100", "await, per level of 100"),
        _micro("yield", "go to the back of the run queue"),
        _micro("channel_rendezvous", "hand over an item, no buffer"),
        _micro("channel_buffered64", "send and receive an item, buffer of 64"),
        _micro("timeout_unfired", "yield under a timeout that doesn't fire"),
        Bench("sleep_100k", "us", "cpu_ns_per_op", "one of 100,000 concurrent sleeps, CPU",
              ops=100_000, count_ops=(100_000, 200_000)),
        _micro("cancel_parked_10k", "cancel and join one of 10,000 parked tasks"),
        Bench("parked_task_bytes", "bytes", "bytes_per_op", "memory of one of 1,000,000 parked tasks",
              ops=1_000_000, count_ops=(100_000, 200_000), smoke_ops=10_000),
        Bench("cross_thread_post", "ns", "wall_ns_per_op", "a callable handed to the loop by another thread, wall",
              cores=2),
        Bench("to_thread", "ns", "wall_ns_per_op", "await a function on a worker thread, wall", cores=2),
        _file("file_read_64k", "read a block of 64 KiB from the page cache, wall", 64 << 10),
        _file("file_read_1m", "read a block of 1 MiB from the page cache, wall", 1 << 20),
        _file("file_write_64k", "write a block of 64 KiB into the page cache, wall", 64 << 10),
        _file("file_write_1m", "write a block of 1 MiB into the page cache, wall", 1 << 20),
        _server("udp_echo_64", "server CPU per datagram, one at a time", "udp_load"),
        _server("udp_echo_64_batch", "server CPU per datagram, many at a time", "udp_load"),
        _server("udp_echo_64_offload", "server CPU per datagram, in runs of 64", "udp_load"),
        _server("tcp_echo_64x64", "server CPU per request, 64 connections", "tcp_load"),
        _server("grpc_unary_64", "server CPU per call, 64 in flight", "grpc_load", smoke_ops=500),
    )
}



def _sweep(family, sizes, make):
    return [dataclasses.replace(make(f"{family}_{size}", size), family=family) for size in sizes]


def _powers(last):
    return [10**exponent for exponent in range(last + 1)]


# What a size changes: measured on request only, and not counted.
SWEEPS = {
    bench.name: bench
    for bench in (
        *_sweep("sweep_tasks", _powers(6), lambda name, size: _micro(
            name, f"start and join one of {size:,} children", ops=max(size, 200_000))),
        *_sweep("sweep_yields", _powers(6), lambda name, size: _micro(
            name, f"yield to the next of {size:,} tasks", ops=max(10 * size, 1_000_000))),
        *_sweep("sweep_timers", _powers(6), lambda name, size: _micro(
            name, f"yield under a timeout that doesn't fire, beside {size:,} timers", ops=200_000)),
        *_sweep("sweep_connections", _powers(4), lambda name, size: _server(
            name, f"server CPU per request, {size:,} connections", "tcp_load")),
        *_sweep("sweep_shards", (1, 2), lambda name, size: _server(
            name, f"server CPU per datagram, {size} shards on one core", "udp_load")),
    )
}

# Compiled by header_cost.py; no program of ours does it.
HEADER_COST = Bench("header_cost", "s", "", "what a header adds to a compile")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A program under a name. Two of one name share no bench, and are one subject to whoever reads the figures."""

    name: str
    program: str  # a cc_binary of this package
    benches: tuple[str, ...]
    args: tuple[str, ...] = ()


_CORE = ("spawn_join", "call_depth1", "call_depth100", "yield", "channel_rendezvous", "channel_buffered64")
_TASKS = _CORE + ("timeout_unfired", "sleep_100k", "cancel_parked_10k", "parked_task_bytes", "cross_thread_post",
                  "to_thread")
_FILES = ("file_read_64k", "file_read_1m", "file_write_64k", "file_write_1m")
_UDP = ("udp_echo_64", "udp_echo_64_batch", "udp_echo_64_offload")
_GRPC = ("grpc_unary_64",)
_SWEEPS = ("sweep_tasks", "sweep_yields", "sweep_timers", "sweep_connections", "sweep_shards")

SUBJECTS = (
    Subject("braid/asio", "braid", _TASKS + _FILES + _UDP + ("tcp_echo_64x64",) + _SWEEPS,
            args=("--backend=asio",)),
    Subject("braid/uring", "braid", _TASKS + _FILES + _UDP + ("tcp_echo_64x64",) + _SWEEPS,
            args=("--backend=uring",)),
    Subject("braid/asio", "braid_grpc", _GRPC, args=("--backend=asio",)),
    Subject("floor", "floor", _CORE + ("parked_task_bytes",)),
    Subject("asio", "asio", _TASKS + ("udp_echo_64", "tcp_echo_64x64")),
    Subject("libuv", "libuv", ("timeout_unfired", "sleep_100k", "udp_echo_64", "udp_echo_64_batch", "tcp_echo_64x64")),
    Subject("raw_epoll_plain", "raw_epoll", ("udp_echo_64",)),
    Subject("raw_epoll_mmsg", "raw_epoll", ("udp_echo_64_batch",)),
    Subject("raw_epoll_offload", "raw_epoll", ("udp_echo_64_offload",)),
    Subject("raw_epoll", "raw_epoll", ("tcp_echo_64x64", "sweep_connections")),
    Subject("raw_uring", "raw_uring", ("udp_echo_64", "udp_echo_64_batch", "tcp_echo_64x64",
                                         "sweep_connections")),
    Subject("raw_file", "raw_file", _FILES),
    Subject("raw_uring", "raw_uring_file", _FILES),
    Subject("raw_callback", "grpc_callback", _GRPC),
    Subject("raw_cq", "grpc_cq", _GRPC),
)


def with_bench(bench: Bench) -> list[Subject]:
    return [subject for subject in SUBJECTS if bench.key in subject.benches]


class Failed(Exception):
    """A subject or load generator didn't do what it was asked for."""


class NotAvailable(Exception):
    """This machine doesn't allow what the subject stands on."""


def _sibling_groups(cpus):
    """Hyper-threads of one core share it: one CPU of each core."""
    seen = set()
    for cpu in cpus:
        path = pathlib.Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        core = path.read_text() if path.exists() else str(cpu)
        if core not in seen:
            seen.add(core)
            yield cpu


@dataclasses.dataclass(frozen=True)
class Cores:
    """Who runs where. With one core only, both share it and no server row is worth much."""

    subject: int
    load: int

    @staticmethod
    def choose() -> "Cores":
        cpus = list(_sibling_groups(sorted(os.sched_getaffinity(0))))
        return Cores(subject=cpus[-1], load=cpus[0])


def _cpu_time(pid) -> int:
    """Clock ticks that all threads of a process have run; once it is gone, 0."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except OSError:
        return 0
    user, system = stat.rpartition(")")[2].split()[11:13]  # proc(5): after the name, fields 14 and 15
    return int(user) + int(system)


@contextlib.contextmanager
def _process(argv, cpus, seconds, env=None, idle=False, standstill=math.inf):
    """A child of its own process group, which is ended after `seconds` or at the end of the block.

    With `idle` it runs only when nothing else wants its core. With `standstill` it is ended as well once it hasn't run
    for that many seconds, because nothing will make it.
    """
    def prepare():
        os.sched_setaffinity(0, cpus)
        if idle:
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    child = subprocess.Popen([str(word) for word in argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, process_group=0, env={**os.environ, **(env or {})},
                             preexec_fn=prepare)
    over = threading.Event()
    why_ended = []

    def end():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    def watch():
        deadline = time.monotonic() + seconds
        ran = -1
        while not over.wait(min(max(deadline - time.monotonic(), 0), standstill)):
            if time.monotonic() >= deadline:
                why_ended.append(f"not done after {seconds} s")
            elif ran == (ran := _cpu_time(child.pid)):
                why_ended.append(f"stood still for {standstill} s: its threads wait for each other")
            if why_ended:
                return end()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield child
    except Failed:
        if not why_ended:  # or it is only said that it was killed
            raise
    finally:
        over.set()
        watcher.join()
        if child.returncode is None:
            end()
            child.wait()
        child.stdout.close()
        child.stderr.close()
    if why_ended:
        raise Failed(f"{_command(child)}: {why_ended[0]}")


def _command(child):
    return " ".join(pathlib.Path(word).name if word.startswith("/") else word for word in child.args)


def _finish(child):
    """The last line that `child` prints, as a dictionary."""
    out, err = child.communicate()
    if child.returncode == NOT_AVAILABLE:
        raise NotAvailable(err.strip())
    if child.returncode != 0:
        raise Failed(f"{_command(child)}: exit code {child.returncode}: {err.strip()[-1000:]}")
    try:
        return json.loads(out.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise Failed(f"{_command(child)}: printed no line of JSON but {out[-200:]!r}") from error


class Runner:
    """Runs subjects whose programs are in one folder."""

    def __init__(self, programs: pathlib.Path, cores: Cores):
        self.programs = programs
        self.cores = cores

    def has(self, subject: Subject) -> bool:
        return (self.programs / subject.program).exists()

    def _cpus(self, bench):
        return {self.cores.subject} if bench.cores == 1 else {self.cores.subject, self.cores.load}

    def _argv(self, subject, bench, ops, *more):
        return [self.programs / subject.program, *subject.args, "--bench", bench.name, "--ops", ops, *more]

    def in_process(self, subject, bench, ops) -> dict:
        """What a subject says of itself after `ops` operations."""
        with _process(self._argv(subject, bench, ops), self._cpus(bench), _LIMIT) as child:
            return _finish(child)

    def server(self, subject, bench, seconds) -> dict:
        """What the load generator says of a subject after `seconds` of load."""
        with _process(self._argv(subject, bench, 0), {self.cores.subject}, _LIMIT) as server:
            return self._load(server, bench, self.cores.load, ["--seconds", seconds], _LIMIT)

    def untimed(self, subject, bench, ops, wrapper=(), env=None, exact=True, limit=_LIMIT) -> dict:
        """What a subject says of itself after exactly `ops` operations, without clocks.

        `wrapper` is a command that runs it, `env` what to add to its environment. With `exact`, a server shares the
        load generator's core and runs only when that sleeps: load.h says what for.
        """
        argv = [*wrapper, *self._argv(subject, bench, ops, "--untimed")]
        if not bench.load:
            with _process(argv, self._cpus(bench), limit, env, standstill=_STANDSTILL) as child:
                return _finish(child)
        with _process(argv, {self.cores.subject}, limit, env, idle=exact) as child:
            load = self._load(child, bench, self.cores.subject if exact else self.cores.load, ["--ops", ops], limit)
            if load["ops"] != ops:
                raise Failed(f"{bench.load} saw {load['ops']} answers to {ops} requests")
            return _finish(child)

    def _load(self, server, bench, cpu, amount, limit):
        first = server.stdout.readline()
        if not first:
            _finish(server)
            raise Failed(f"{_command(server)}: ended before it listened")
        argv = [self.programs / bench.load, "--bench", bench.name, "--port", json.loads(first)["listening"],
                "--server-pid", server.pid, *amount]
        with _process(argv, {cpu}, limit) as generator:
            return _finish(generator)
