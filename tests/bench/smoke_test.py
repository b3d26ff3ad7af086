#!/usr/bin/env python3
"""Runs each bench of each subject with few operations: is what they say well-formed, and did they do what was asked?

Not for: how long anything took. Runs from the root of the runfiles.
"""

import pathlib
import socket
import subprocess
import sys
import unittest

FOLDER = pathlib.Path("tests/bench").resolve()
sys.path.insert(0, str(FOLDER))

import counting  # noqa: E402
import subjects  # noqa: E402

SUBJECT_FIELDS = {"bench", "ops", "wall_ns_per_op", "cpu_ns_per_op", "run_delay_ns", "bytes_per_op", "allocations"}
LOAD_FIELDS = {"bench", "ops", "wall_ns_per_op", "cpu_ns_per_op", "run_delay_ns", "server_busy", "resent"}


def floor():
    return next(subject for subject in subjects.SUBJECTS if subject.name == "floor")


class SmokeTest(unittest.TestCase):
    def setUp(self):
        self.runner = subjects.Runner(FOLDER, subjects.Cores.choose())

    def for_each(self, check):
        """Calls `check` with every bench of every subject that this machine allows."""
        checked = 0
        # Of each sweep, the smallest: that of a million tasks is no other code.
        smallest = {bench.family: bench for bench in reversed(subjects.SWEEPS.values())}
        for bench in (*subjects.BENCHES.values(), *smallest.values()):
            for subject in subjects.with_bench(bench):
                with self.subTest(subject=subject.name, bench=bench.name):
                    try:
                        check(subject, bench)
                        checked += 1
                    except subjects.NotAvailable as reason:
                        print(f"{subject.name} {bench.name}: not available here: {reason}")
        self.assertGreater(checked, 20)

    def test_does_as_many_operations_as_it_was_asked_for(self):
        def check(subject, bench):
            line = self.runner.untimed(subject, bench, bench.smoke_ops, exact=False)
            self.assertEqual(set(line), SUBJECT_FIELDS)
            self.assertEqual(line["bench"], bench.name)
            self.assertEqual(line["ops"], bench.smoke_ops)
            self.assertIsNone(line["wall_ns_per_op"])
            self.assertIsNone(line["allocations"])

        self.for_each(check)

    def test_measures_what_the_bench_is_about(self):
        def check(subject, bench):
            if bench.load:
                line = self.runner.server(subject, bench, 0.02)
            else:
                line = self.runner.in_process(subject, bench, bench.smoke_ops)
            self.assertEqual(set(line), LOAD_FIELDS if bench.load else SUBJECT_FIELDS)
            self.assertGreater(line["ops"], 0)
            # On a loaded machine a server may have done before the window what is answered in it.
            self.assertGreaterEqual(line[bench.field], 0)
            if not bench.load:
                self.assertGreater(line[bench.field], 0)

        self.for_each(check)

    def test_every_bench_has_a_subject_and_every_bench_of_a_subject_is_known(self):
        measured = {name for subject in subjects.SUBJECTS for name in subject.benches}
        self.assertEqual(measured, {bench.key for bench in (*subjects.BENCHES.values(), *subjects.SWEEPS.values())})

    def test_refuses_wrong_arguments(self):
        for args in (
            ["--bench", "no_such_bench"],
            ["--no-such-flag"],
            ["--bench", "yield", "--ops", "many"],
            ["--bench"],
        ):
            with self.subTest(args=args):
                done = subprocess.run([FOLDER / "floor", *args], capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 2)
                self.assertIn(args[-1].lstrip("-"), done.stderr)

    def test_counts_allocations_exactly(self):
        # A frame comes from malloc once, and is recycled for ever after.
        self.assertEqual(counting.count(self.runner, floor(), subjects.BENCHES["parked_task_bytes"]).allocations, 1)
        self.assertEqual(counting.count(self.runner, floor(), subjects.BENCHES["spawn_join"]).allocations, 0)

    def test_counts_system_calls_and_instructions_where_that_is_allowed(self):
        counts = counting.count(self.runner, floor(), subjects.BENCHES["yield"])
        if counts.syscalls is not None:
            self.assertEqual(counts.syscalls, 0)
        if counts.instructions is not None:
            self.assertGreater(counts.instructions, 10)

    def test_a_server_that_cannot_have_its_port_says_so(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
            taken.bind(("127.0.0.1", 0))
            port = str(taken.getsockname()[1])
            done = subprocess.run([FOLDER / "raw_epoll", "--bench", "udp_echo_64", "--port", port],
                                  capture_output=True, text=True, check=False, timeout=10)
        self.assertEqual(done.returncode, 1)
        self.assertIn(port, done.stderr)
        self.assertIn("in use", done.stderr)


if __name__ == "__main__":
    unittest.main()
