#!/usr/bin/env python3
"""Tests test_results.py with events as Bazel writes them."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

PROGRAM = pathlib.Path(__file__).with_name("test_results.py")

GOOGLE_TEST = """<testsuites><testsuite name="S">
<testcase name="Good" classname="S" status="run" result="completed"/>
<testcase name="Bad" classname="S" status="run" result="completed">
  <failure message="m"/></testcase>
<testcase name="Skipped" classname="S" status="run" result="skipped"/>
<testcase name="Off" classname="S" status="notrun" result="suppressed"/>
</testsuite></testsuites>"""
GOOD = GOOGLE_TEST.replace("<failure message=\"m\"/>", "")
# What Bazel writes for a program that is no GoogleTest.
PLAIN = """<testsuites><testsuite name="a/b"><testcase name="a/b"/></testsuite>
</testsuites>"""
CRASHED = PLAIN.replace("<testcase name=\"a/b\"/>",
                        "<testcase name=\"a/b\"><error/></testcase>")


class TestResults(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory(dir=os.environ.get("TEST_TMPDIR"))
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.events = {}

    def started(self, run="default", command="test"):
        self.events[run] = [{"id": {"started": {}}, "started": {"command": command}}]

    def target(self, label, built=True, test=True, run="default"):
        configured = {"testSize": "SMALL"} if test else {}
        completed = {"success": True} if built else {}
        self.events[run] += [
            {"id": {"targetConfigured": {"label": label}}, "configured": configured},
            {"id": {"targetCompleted": {"label": label}}, "completed": completed},
        ]

    def result(self, label, xml, status="PASSED", attempt=1, run="default"):
        path = self.folder / f"{label.strip('/')} {attempt}.xml"
        if xml:
            path.write_text(xml)
        self.events[run].append({
            "id": {"testResult": {"label": label, "run": 1, "shard": 1,
                                  "attempt": attempt}},
            "testResult": {"status": status, "testActionOutput": [
                {"name": "test.log", "uri": "file:///nowhere"},
                {"name": "test.xml", "uri": path.as_uri()}]},
        })

    def finished(self, name, run="default"):
        self.events[run].append(
            {"id": {"buildFinished": {}}, "finished": {"exitCode": {"name": name}}})

    def count(self):
        """Returns the exit code, the last line and all of the output."""
        for run, events in self.events.items():
            text = "".join(json.dumps(event) + "\n" for event in events)
            (self.folder / f"{run}.json").write_text(text)
            (self.folder / f"{run}.seconds").write_text("1\n")
        result = subprocess.run([sys.executable, PROGRAM, self.folder], text=True,
                                stdout=subprocess.PIPE, check=False)
        return result.returncode, result.stdout.splitlines()[-1], result.stdout

    def test_counts_the_cases_of_google_test(self):
        self.started()
        self.target("//a")
        self.result("//a", GOOD)
        self.finished("SUCCESS")
        self.assertEqual(self.count()[:2], (0, "2 passed, 0 failed, 2 skipped"))

    def test_names_the_case_that_failed(self):
        self.started()
        self.target("//a")
        self.result("//a", GOOGLE_TEST, "FAILED")
        self.finished("TESTS_FAILED")
        code, line, output = self.count()
        self.assertEqual((code, line), (1, "1 passed, 1 failed, 2 skipped"))
        self.assertIn("FAILED default: //a S.Bad\n", output)

    def test_another_program_is_one_case(self):
        self.started()
        self.target("//a")
        self.target("//b")
        self.result("//a", PLAIN)
        self.result("//b", "")
        self.finished("SUCCESS")
        self.assertEqual(self.count()[:2], (0, "2 passed, 0 failed"))

    def test_a_crash_or_a_time_out_is_a_failure(self):
        self.started()
        self.target("//a")
        self.target("//b")
        self.result("//a", CRASHED, "FAILED")
        self.result("//b", "", "TIMEOUT")
        self.finished("TESTS_FAILED")
        self.assertEqual(self.count()[:2], (1, "0 passed, 2 failed"))

    def test_a_bad_end_after_good_cases_is_a_failure(self):
        # A leak, say, which is found when all cases have passed.
        self.started()
        self.target("//a")
        self.result("//a", GOOD, "FAILED")
        self.finished("TESTS_FAILED")
        self.assertEqual(self.count()[:2], (1, "2 passed, 1 failed, 2 skipped"))

    def test_a_test_that_was_not_built_is_a_failure(self):
        self.started()
        self.target("//a")
        self.target("//b", built=False)
        self.result("//a", PLAIN)
        self.finished("BUILD_FAILURE")
        code, line, output = self.count()
        self.assertEqual((code, line), (1, "1 passed, 1 failed"))
        self.assertIn("//b was not built", output)

    def test_a_library_that_was_not_built_is_a_failure(self):
        self.started()
        self.target("//a")
        self.target("//b", built=False, test=False)
        self.result("//a", PLAIN)
        self.finished("BUILD_FAILURE")
        code, line, output = self.count()
        self.assertEqual((code, line), (1, "1 passed, 1 failed"))
        self.assertIn("//b", output)

    def test_the_last_attempt_counts(self):
        self.started()
        self.target("//a")
        self.result("//a", GOOGLE_TEST, "FAILED", attempt=1)
        self.result("//a", GOOD, "FLAKY", attempt=2)
        self.finished("SUCCESS")
        self.assertEqual(self.count()[:2], (0, "2 passed, 0 failed, 2 skipped"))

    def test_no_test_at_all_is_a_failure(self):
        self.started()
        self.finished("NO_TESTS_FOUND")
        self.assertEqual(self.count()[:2], (1, "0 passed, 1 failed"))

    def test_a_bazel_that_died_is_a_failure(self):
        self.started()
        self.target("//a")
        self.assertEqual(self.count()[:2], (1, "0 passed, 1 failed"))

    def test_runs_add_up_and_a_build_counts_as_one(self):
        self.started("default")
        self.target("//a")
        self.result("//a", PLAIN)
        self.finished("SUCCESS")
        self.started("gcc", "build")
        self.target("//a", run="gcc")
        self.finished("SUCCESS", "gcc")
        self.assertEqual(self.count()[:2], (0, "2 passed, 0 failed"))
        self.started("gcc", "build")
        self.target("//a", built=False, run="gcc")
        self.finished("BUILD_FAILURE", "gcc")
        self.assertEqual(self.count()[:2], (1, "1 passed, 1 failed"))


if __name__ == "__main__":
    unittest.main()
