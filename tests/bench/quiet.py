"""Whether the machine does something else meanwhile."""

import time

_BUSY = 0.08  # more of the whole machine than this is somebody else's work
_LOOK = 0.1  # seconds


def _cpu_times():
    with open("/proc/stat", encoding="ascii") as stat:
        times = [int(field) for field in stat.readline().split()[1:9]]  # user to steal, see proc(5)
    idle = times[3] + times[4]
    return sum(times), idle


def _busy() -> float:
    total, idle = _cpu_times()
    time.sleep(_LOOK)
    total_after, idle_after = _cpu_times()
    passed = total_after - total
    return 1 - (idle_after - idle) / passed if passed else 0.0


def wait(limit: float) -> bool:
    """Returns once the machine is quiet, or False after `limit` seconds in which it never was."""
    deadline = time.monotonic() + limit
    while _busy() > _BUSY:
        if time.monotonic() > deadline:
            return False
    return True
