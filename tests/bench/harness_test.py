#!/usr/bin/env python3
"""The driver's own arithmetic: intervals, ratios, bars, and which rounds are repeated."""

import pathlib
import sys
import tempfile
import unittest
from unittest import mock

sys.path.insert(0, str(pathlib.Path("tests/bench").resolve()))

import bars  # noqa: E402
import counting  # noqa: E402
import figures  # noqa: E402
import rounds  # noqa: E402
import subjects  # noqa: E402


class FiguresTest(unittest.TestCase):
    def test_interval_ranks_are_those_of_the_binomial_tables(self):
        # Two-sided 95 % sign-test intervals, ranks from 1: (6: 1), (9: 2), (15: 4), (20: 6), (30: 10).
        for count, rank in ((6, 1), (8, 1), (9, 2), (12, 3), (15, 4), (20, 6), (30, 10)):
            with self.subTest(count=count):
                self.assertEqual(figures.interval_rank(count) + 1, rank)

    def test_few_values_give_the_extremes(self):
        for count in range(1, 6):
            self.assertEqual(figures.interval_rank(count), 0)
        self.assertEqual(figures.figure([3.0]), figures.Figure(3.0, 3.0, 3.0))

    def test_one_wild_round_moves_nothing(self):
        values = [float(value) for value in range(1, 16)]
        wild = values[:-1] + [1e9]
        self.assertEqual(figures.figure(wild), figures.Figure(8.0, 4.0, 12.0))

    def test_ratios_are_taken_within_a_round(self):
        # Both drift by a factor of a hundred; one is always twice the other.
        slow = [2.0, 20.0, 200.0]
        fast = [1.0, 10.0, 100.0]
        self.assertEqual(figures.ratio(slow, fast), figures.Figure(2.0, 2.0, 2.0))

    def test_a_bar_is_missed_only_wholly_beyond_it(self):
        self.assertEqual(figures.verdict(figures.Figure(1.2, 1.1, 1.3), 1.05), "missed")
        self.assertEqual(figures.verdict(figures.Figure(1.2, 1.0, 1.3), 1.05), "not told apart")
        self.assertEqual(figures.verdict(figures.Figure(1.0, 0.9, 1.05), 1.05), "met")


class BarsTest(unittest.TestCase):
    def lines(self, bench, values, counts=None):
        return list(bars.verdicts(subjects.BENCHES[bench], values, counts or {}))

    def test_every_bar_names_what_there_is(self):
        known = set(subjects.BENCHES) | {subjects.HEADER_COST.name}
        for bar in bars.BARS:
            self.assertIn(bar.bench, known)
            for name in (*bar.times, *([bar.plus] if bar.plus else [])):
                present = [subject.name for subject in subjects.with_bench(subjects.BENCHES[bar.bench])]
                self.assertIn(name, present)

    def test_no_subject_has_a_bench_twice(self):
        for bench in subjects.BENCHES.values():
            names = [subject.name for subject in subjects.with_bench(bench)]
            self.assertEqual(len(names), len(set(names)), bench.name)

    def test_the_reference_is_the_cheapest(self):
        values = {"braid/asio": [4.0] * 9, "raw_epoll_mmsg": [3.0] * 9, "raw_uring": [5.0] * 9}
        (line,) = self.lines("udp_echo_64_batch", values)
        self.assertRegex(line, r"1\.33 .* x raw_epoll_mmsg, bar 1\.05: missed")

    def test_on_top_of_the_floor(self):
        values = {"braid/asio": [390.0] * 9, "floor": [144.0] * 9}
        (line,) = self.lines("parked_task_bytes", values)
        self.assertRegex(line, r"246 .* bytes over floor, bar 256: met")

    def test_without_its_reference_a_bar_says_so(self):
        (line,) = self.lines("yield", {"braid/asio": [7.0] * 9})
        self.assertIn("not measured", line)

    def test_counts_are_exact(self):
        values = {"braid/asio": [4.0] * 9, "raw_epoll_plain": [4.0] * 9}
        counts = {
            "braid/asio": counting.Counts(allocations=0.0, syscalls=2.1),
            "raw_epoll_plain": counting.Counts(allocations=0.0, syscalls=2.0),
        }
        _, allocations, calls = self.lines("udp_echo_64", values, counts)
        self.assertIn("bar 0: met", allocations)
        self.assertIn("bar 2: missed", calls)

    def test_peers_have_no_bar(self):
        self.assertEqual(self.lines("yield", {"floor": [4.0] * 9, "asio": [100.0] * 9}), [])


class RoundsTest(unittest.TestCase):
    def repeat(self, delays, count, quiet=True):
        """One subject, which in each round waited for its core as `delays` says, and cost as much as it waited."""
        measured = iter(delays)

        def measure():
            delay = next(measured)
            return {"it": (delay, delay)}

        with mock.patch("quiet.wait", return_value=quiet):
            return rounds.repeat("test", ["it"], measure, count, patience=0)

    def test_a_disturbed_round_is_repeated(self):
        result = self.repeat([0.0, 0.5, 0.01], 2)
        self.assertEqual(result.values, {"it": [0.0, 0.01]})
        self.assertEqual((result.kept, result.repeated, result.disturbed), (2, 1, 0))

    def test_a_machine_that_is_never_quiet_ends_all_the_same_and_is_told(self):
        result = self.repeat([0.5] * 4, 2, quiet=False)
        self.assertEqual((result.kept, result.repeated, result.disturbed, result.busy), (2, 2, 2, 2))

    def test_no_subject_no_round(self):
        result = rounds.repeat("test", [], lambda: self.fail("nothing to measure"), 3, patience=0)
        self.assertEqual(result.kept, 0)


class StandstillTest(unittest.TestCase):
    """Subjects that never end, as shell scripts."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.runner = subjects.Runner(pathlib.Path(folder.name), subjects.Cores.choose())

    def script(self, body):
        path = self.runner.programs / "script"
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
        path.chmod(0o755)
        return subjects.Subject("script", "script", ("yield",))

    def test_one_whose_threads_wait_for_each_other_is_ended_and_counts_nothing(self):
        subject = self.script("exec sleep 1000")
        with mock.patch("subjects._STANDSTILL", 0.2):
            counts = counting.count(self.runner, subject, subjects.BENCHES["yield"])
        self.assertIsNone(counts.allocations)
        self.assertIn("stood still for 0.2 s", counts.unknown["allocations"])

    def test_one_that_runs_for_ever_is_ended_at_its_limit(self):
        subject = self.script("while :; do :; done")
        with mock.patch("subjects._STANDSTILL", 0.2), self.assertRaisesRegex(subjects.Failed, "not done after 1 s"):
            self.runner.untimed(subject, subjects.BENCHES["yield"], 1, limit=1)

    def test_one_that_fails_says_why_itself(self):
        subject = self.script("echo no luck >&2; exit 3")
        with self.assertRaisesRegex(subjects.Failed, "exit code 3: no luck"):
            self.runner.untimed(subject, subjects.BENCHES["yield"], 1)


if __name__ == "__main__":
    unittest.main()
