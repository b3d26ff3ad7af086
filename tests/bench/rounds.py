"""Interleaved rounds.

In each, every subject of a bench runs once, so that what drifts on the machine
hits all alike.
"""

import dataclasses
import sys

import quiet
import subjects

_RUN_SECONDS = 0.15  # of an in-process run, about
_LOAD_SECONDS = 0.4
_MAX_DELAY = 0.05  # of its time that a run may have waited for its core


@dataclasses.dataclass
class Rounds:
    """Per subject the figures of each kept round, in the bench's unit."""

    values: dict[str, list[float]]
    kept: int = 0
    repeated: int = 0  # thrown away because the machine disturbed them
    disturbed: int = 0  # kept all the same, because there were too many of those
    busy: int = 0  # begun although the machine never was quiet
    missing: dict[str, str] = dataclasses.field(default_factory=dict)  # subject: why it isn't there
    failed: bool = False  # one of those should be there


def repeat(title, names, measure, count, patience) -> Rounds:
    """Calls `measure` until `count` rounds are good, or as many again were not.

    `measure()` gives, for each of `names`, its figure and which part of its time it waited for a core. Each call waits
    up to `patience` seconds for the machine to be quiet.
    """
    result = Rounds(values={name: [] for name in names})
    while names and result.kept < count:
        _progress(f"{title}: round {result.kept + 1} of {count}")
        is_quiet = quiet.wait(patience)
        measured = measure()
        disturbed = max(delay for _, delay in measured.values()) > _MAX_DELAY
        if disturbed and result.repeated < count:
            result.repeated += 1
            continue
        result.kept += 1
        result.disturbed += disturbed
        result.busy += not is_quiet
        for name, (value, _) in measured.items():
            result.values[name].append(value)
    _progress("")
    return result


def run(runner, bench, wanted, count, patience) -> Rounds:
    """`count` rounds of `bench` with the subjects `wanted`."""
    ops = {}
    missing = {}
    failed = False
    for subject in wanted:
        try:
            ops[subject] = _calibrate(runner, subject, bench)
        except subjects.NotAvailable as reason:
            missing[subject.name] = f"not available here: {reason}"
        except subjects.Failed as reason:
            missing[subject.name] = f"FAILED: {reason}"
            failed = True
    order = list(ops)

    def measure():
        order.append(order.pop(0))  # nobody is always the first
        return {subject.name: _measure(runner, subject, bench, ops[subject]) for subject in order}

    result = repeat(bench.name, [subject.name for subject in ops], measure, count, patience)
    result.missing = missing
    result.failed = failed
    return result


def _calibrate(runner, subject, bench) -> int:
    """How many operations take about _RUN_SECONDS, where that isn't given. Also the first, cold run."""
    if bench.load:
        runner.server(subject, bench, _RUN_SECONDS)
        return 0
    if bench.ops:
        return bench.ops
    ops = 10_000
    while True:
        line = runner.in_process(subject, bench, ops)
        seconds = line["wall_ns_per_op"] * line["ops"] / 1e9
        if seconds > _RUN_SECONDS / 10:
            return max(2, int(ops * _RUN_SECONDS / seconds) // 2 * 2)
        ops *= 8


def _measure(runner, subject, bench, ops) -> tuple[float, float]:
    """The bench's figure, and which part of the time the run waited for its core."""
    if bench.load:
        line = runner.server(subject, bench, _LOAD_SECONDS)
    else:
        line = runner.in_process(subject, bench, ops)
    wall = (line["wall_ns_per_op"] or 0) * line["ops"]
    return line[bench.field] / bench.scale, line["run_delay_ns"] / wall if wall else 0.0


def _progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:<60}", end="" if text else "\r", file=sys.stderr, flush=True)
