"""How fast Braid has to be.

A bar on time or memory is compared with the interval of what was measured, and
is missed only when that lies wholly beyond it: these machines are noisy. Counts
of allocations and system calls are exact, and so is their bar.
"""

import dataclasses
import re

import figures


@dataclasses.dataclass(frozen=True)
class Bar:
    bench: str
    subject: str  # a regular expression for whole names
    limit: float
    # The limit is a factor on the cheapest of these subjects, measured in the same round; without any, it is in the
    # bench's own unit.
    times: tuple[str, ...] = ()
    # With this, the limit comes on top of what that subject costs.
    plus: str | None = None
    allocations: float | None = 0  # at most, per operation
    # At most, per operation; "same" is what the subject in `times` makes of it.
    syscalls: float | str | None = 0


_ANY = r"braid/.*"
_ASIO = r"braid/asio"
_URING = r"braid/uring"
_FILES = ("file_read_64k", "file_read_1m", "file_write_64k", "file_write_1m")
_RAW_UDP_BATCH = ("raw_epoll_mmsg", "raw_uring")

BARS = (
    Bar("call_depth1", _ANY, 1.3, times=("floor",)),
    Bar("call_depth100", _ANY, 1.3, times=("floor",)),
    Bar("spawn_join", _ANY, 4, times=("floor",)),
    Bar("yield", _ANY, 2, times=("floor",)),
    Bar("channel_rendezvous", _ANY, 2.5, times=("floor",)),
    # 0.6 of corral, the best peer known, which Debian doesn't package: 20 ns on a 2.6 GHz EPYC.
    Bar("channel_buffered64", _ANY, 12),
    Bar("timeout_unfired", _ANY, 100),
    Bar("sleep_100k", _ANY, 1.5, allocations=None, syscalls=None),
    # Half of corral's 137 ns there.
    Bar("cancel_parked_10k", _ANY, 65, syscalls=None),
    # 256 bytes and the frame itself, which is what the floor's row is.
    Bar("parked_task_bytes", _ANY, 256, plus="floor", allocations=None, syscalls=None),
    *(Bar(bench, _URING, 1.05, times=("raw_uring",), syscalls="same") for bench in _FILES),
    Bar("udp_echo_64", _ASIO, 1.05, times=("raw_epoll_plain",), syscalls="same"),
    Bar("udp_echo_64", _URING, 1.05, times=("raw_uring",), syscalls="same"),
    Bar("udp_echo_64_batch", _ANY, 1.05, times=_RAW_UDP_BATCH, syscalls=None),
    # A tenth of what the plain loop takes for a datagram: 4.4 us on a 2.6 GHz EPYC.
    Bar("udp_echo_64_offload", _ANY, 0.44, syscalls=None),
    Bar("tcp_echo_64x64", _ASIO, 1.05, times=("raw_epoll",), syscalls="same"),
    Bar("tcp_echo_64x64", _URING, 1.05, times=("raw_uring",), syscalls="same"),
    Bar("grpc_unary_64", _ANY, 1.05, times=("raw_callback", "raw_cq"), allocations=None, syscalls=None),
    Bar("header_cost", r"braid", 0.5, allocations=None, syscalls=None),
)

_EXACT = 0.005  # what start-up and the growth of the heap leave in an exact count


def verdicts(bench, values, counts):
    """Lines of text, one for each bar on `bench`'s subjects.

    `values` has each subject's figures per round, `counts` its counting.Counts.
    """
    for bar in BARS:
        if bar.bench != bench.name:
            continue
        for name in values:
            if re.fullmatch(bar.subject, name):
                yield from _compare(bar, bench, name, values)
                yield from _compare_counts(bar, name, values, counts)


def _reference(bar, values):
    """The cheapest of the subjects in `bar.times` that were measured."""
    present = [name for name in bar.times if values.get(name)]
    return min(present, key=lambda name: figures.figure(values[name]).median, default=None)


def _compare(bar, bench, name, values):
    if bar.times:
        reference = _reference(bar, values)
        if reference is None:
            yield f"{name}: bar {bar.limit:g} x {' or '.join(bar.times)}: not measured"
            return
        measured = figures.ratio(values[name], values[reference])
        what = f"x {reference}"
    elif bar.plus:
        if not values.get(bar.plus):
            yield f"{name}: bar {bar.plus} + {bar.limit:g} {bench.unit}: not measured"
            return
        measured = figures.difference(values[name], values[bar.plus])
        what = f"{bench.unit} over {bar.plus}"
    else:
        measured = figures.figure(values[name])
        what = bench.unit
    yield f"{name}: {measured:.3g} {what}, bar {bar.limit:g}: {figures.verdict(measured, bar.limit)}"


def _compare_counts(bar, name, values, counts):
    if name not in counts:
        return
    own = counts[name]
    limits = [("allocations", own.allocations, bar.allocations), ("system calls", own.syscalls, bar.syscalls)]
    for what, measured, limit in limits:
        if limit == "same":
            reference = _reference(bar, values)
            limit = counts[reference].syscalls if reference in counts else None
        if limit is None or measured is None:
            continue
        outcome = "met" if measured <= limit + _EXACT else "missed"
        yield f"{name}: {measured:.4g} {what} per operation, bar {limit:.4g}: {outcome}"
