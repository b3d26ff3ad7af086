#!/usr/bin/env python3
"""Drives a UDP echo service with real traffic and verifies the outcome.

    tools/check.py BINARY [--seconds N]

Starts the service on free ports of loopback, sends datagrams of all sizes from
many sockets for a few seconds, checks every reply, compares what the clients
saw with what the service counted, and ends it with SIGTERM. Prints one page;
exits 0 if all is well, else 1. tools/run --check calls it.
"""

import argparse
import os
import pathlib
import random
import select
import socket
import struct
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent
                       / "tests/integration"))
import harness  # noqa: E402

SIZES = (0, 1, 64, 512, 1400, 1472, 8192, 65507)
SOCKETS = 32
WINDOW = 2  # datagrams in flight per socket
LARGE = 8192  # of these one is in flight, as the default receive buffer holds but few

SMALL = tuple(size for size in SIZES if size < LARGE)


class Report:
    """What was checked, a line each."""

    def __init__(self):
        self.failed = 0

    def check(self, ok, what, detail=""):
        self.failed += not ok
        print(f"  {'ok  ' if ok else 'FAIL'}  {what:<44} {detail}", flush=True)
        return ok


class Flow:
    """One client socket: numbered datagrams, each answered by itself."""

    def __init__(self, address, seed):
        self.random = random.Random(seed)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.connect(address)
        self.socket.setblocking(False)
        self.seed = seed
        self.number = 0
        self.waiting = {}  # number -> (payload, when)

    def large(self):
        return any(len(payload) >= LARGE for payload, _ in self.waiting.values())

    def send(self, sizes):
        """Sends a datagram; gives its size, None if it has to wait."""
        size = self.random.choice(sizes) if self.number % 8 == 0 else 64
        # An empty datagram has no number: one at a time, as number None.
        number = None if size == 0 else self.number
        self.number += 1
        if number in self.waiting:
            size, number = 64, self.number - 1
        payload = b""
        if size:
            header = struct.pack("!II", self.seed, number)[:size]
            payload = header + self.random.randbytes(size - len(header))
            if size < 8:
                number = payload
        if number in self.waiting:
            return None
        self.waiting[number] = (payload, time.perf_counter())
        self.socket.send(payload)
        return len(payload)

    def receive(self):
        """(number of replies, wrong ones, latencies)"""
        count, wrong, latencies = 0, 0, []
        while True:
            try:
                reply = self.socket.recv(65536)
            except BlockingIOError:
                return count, wrong, latencies
            now = time.perf_counter()
            count += 1
            number = (None if not reply else reply if len(reply) < 8
                      else struct.unpack("!II", reply[:8])[1])
            payload, when = self.waiting.pop(number, (None, now))
            if payload != reply:
                wrong += 1
            latencies.append(now - when)


def drive(address, seconds):
    """Traffic for so many seconds; gives what the clients saw."""
    flows = [Flow(address, seed) for seed in range(SOCKETS)]
    by_fd = {flow.socket.fileno(): flow for flow in flows}
    poll = select.epoll()
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    sent = sent_bytes = replies = wrong = 0
    large = None  # the flow with a large datagram in flight
    latencies = []

    def refill(flow):
        nonlocal sent, sent_bytes, large
        while len(flow.waiting) < WINDOW:
            free = large is None or not large.large()
            size = flow.send(SIZES if free else SMALL)
            if size is not None:
                sent_bytes += size
                sent += 1
                large = flow if size >= LARGE else large

    begin = time.perf_counter()
    for flow in flows:
        refill(flow)
    end = begin + seconds
    stop = end + 3
    while (now := time.perf_counter()) < stop:
        if now >= end and not any(flow.waiting for flow in flows):
            break
        for fd, _ in poll.poll(0.1):
            flow = by_fd[fd]
            count, bad, times = flow.receive()
            replies += count
            wrong += bad
            latencies += times
            if now < end:
                refill(flow)
    took = min(time.perf_counter(), end) - begin
    for flow in flows:
        flow.socket.close()
    latencies.sort()
    return {"sent": sent, "bytes": sent_bytes, "replies": replies,
            "wrong": wrong, "seconds": took, "latencies": latencies}


def percentile(values, share):
    return values[min(len(values) - 1, int(len(values) * share))] if values else 0


def check(binary, seconds):
    report = Report()
    began = time.monotonic()
    print(f"Braid UDP echo: {SOCKETS} sockets, {WINDOW} datagrams in flight each, "
          f"0 to {max(SIZES)} bytes\n")
    with harness.Service(binary, "--listen=127.0.0.1:0", "--limits.rate=0") as service:
        report.check(True, "starts and becomes ready",
                     f"{time.monotonic() - began:.2f} s")
        drive(service.address("echo"), 0.2)  # warm
        before, memory = service.counts(), service.memory()
        descriptors, cpu = service.descriptors(), service.cpu()
        seen = drive(service.address("echo"), seconds)
        cpu = service.cpu() - cpu

        def settled():
            counts = service.counts()
            return counts["received"] - before["received"] >= \
                seen["sent"] - (counts["kernel"] - before["kernel"]) and \
                counts["received"] == counts["echoed"] + sum(counts["dropped"].values())
        harness.eventually(settled)  # a reply is counted after it went out
        after = service.counts()
        received = after["received"] - before["received"]
        echoed = after["echoed"] - before["echoed"]
        kernel = after["kernel"] - before["kernel"]
        dropped = sum(after["dropped"].values()) - sum(before["dropped"].values())
        lost = seen["sent"] - seen["replies"]

        report.check(seen["replies"] > 0 and lost == kernel, "every datagram is answered",
                     f"{seen['sent']:,} sent, {seen['replies']:,} answered, "
                     f"{kernel:,} dropped by the kernel")
        report.check(seen["wrong"] == 0, "every reply is what was sent",
                     f"{seen['wrong']} differ")
        report.check(received + kernel == seen["sent"], "counted as received", f"{received:,}")
        report.check(echoed == seen["replies"], "counted as echoed", f"{echoed:,}")
        report.check(dropped == 0 and received == echoed + dropped,
                     "counters add up", f"{dropped} dropped")
        times = seen["latencies"]
        print(f"\n        {seen['replies'] / seen['seconds']:,.0f} replies/s, "
              f"{seen['bytes'] / seen['seconds'] / 1e6:,.0f} MB/s each way, "
              f"{cpu / max(1, received) * 1e6:.2f} us of CPU per datagram")
        print("        round trip in the client: "
              + ", ".join(f"{name} {percentile(times, share) * 1e6:,.0f} us"
                          for name, share in (("p50", .5), ("p99", .99),
                                              ("p99.9", .999))) + "\n")

        own = service.udp(source=("127.0.0.9", service.address("echo")[1]))
        own.send(b"loop?")
        own.settimeout(0.2)
        try:
            own.recv(64)
            silent = False
        except TimeoutError:
            silent = True
        own.close()
        report.check(silent and service.counts()["dropped"]["own_endpoint"] == 1,
                     "a forged own endpoint gets no reply")

        status, _ = service.get("/healthz")
        ready, _ = service.get("/readyz")
        report.check((status, ready) == (200, 200), "/healthz and /readyz", f"{status}, {ready}")
        _, text = service.get("/metrics")
        promtool = subprocess.run([harness.need("promtool"), "check", "metrics"],
                                  input=text, text=True, capture_output=True)
        report.check(promtool.returncode == 0, "promtool check metrics",
                     promtool.stderr.strip()[:60])
        _, tasks = service.get("/tasks")
        report.check("echo" in tasks, "/tasks", f"{len(tasks.splitlines())} lines")
        # The connections of the last pages are being closed.
        harness.eventually(lambda: service.descriptors() <= descriptors)
        report.check(service.descriptors() <= descriptors, "no descriptor leaked",
                     f"{service.descriptors()} open")
        growth = service.memory() - memory
        report.check(growth < 16 << 20, "memory stays", f"{growth / 1e6:+.1f} MB, "
                     f"{service.memory() / 1e6:.0f} MB in all")
        began = time.monotonic()
        code = service.stop()
        report.check(code == 0, "SIGTERM drains and ends it",
                     f"exit {code} after {time.monotonic() - began:.2f} s")
    return report.failed


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("binary", type=pathlib.Path, help="the service's program")
    parser.add_argument("--seconds", type=float, default=3, help="of traffic")
    arguments = parser.parse_args()
    if not os.access(arguments.binary, os.X_OK):
        parser.error(f"{arguments.binary} can't be run; build it, or use tools/run --check")
    try:
        failed = check(arguments.binary, arguments.seconds)
    except harness.ServiceFailed as error:
        print(f"  FAIL  {error}")
        failed = 1
    print(f"\n{'FAILED: ' + str(failed) + ' of the checks above' if failed else 'All is well.'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
