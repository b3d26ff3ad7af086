"""Counts what happened in runs of `bazel test` and `bazel build`.

    python3 tools/test_results.py DIRECTORY

DIRECTORY holds, for each run NAME, Bazel's events as NAME.json and the seconds
it took as NAME.seconds. Prints a line for each failure and each run, and last
"N passed, N failed" with ", N skipped" if any. Exits 1 if anything failed or
nothing ran.

A test that GoogleTest reports on counts by its cases, another one as one, and
so does a whole `bazel build`.
"""

import json
import pathlib
import sys
import urllib.parse
import xml.etree.ElementTree


class Run:
    """The outcome of one run of Bazel."""

    def __init__(self, name, events):
        self.name = name
        self.passed = 0
        self.skipped = 0
        self.failures = []  # What failed, one string each.
        self._read(events)

    def _read(self, events):
        tests = set()  # Labels of all tests.
        results = {}  # The last attempt of each (label, run, shard).
        broken = {}  # Why a target was not built.
        exit_name = "no end"
        command = "test"
        for event in events:
            kind, key = next(iter(event["id"].items()))
            if kind == "started":
                command = event["started"]["command"]
            elif kind == "targetConfigured":
                if "testSize" in event.get("configured", {}):
                    tests.add(key["label"])
            elif kind == "targetCompleted":
                if not event.get("completed", {}).get("success"):
                    broken[key["label"]] = "was not built"
            elif kind == "testResult":
                at = (key["label"], key.get("run"), key.get("shard"))
                results[at] = event["testResult"]
            elif kind == "buildFinished":
                exit_name = event["finished"]["exitCode"]["name"]

        for (label, _, _), result in results.items():
            self._count_test(label, result)
        if command == "test":
            tested = {label for label, _, _ in results}
            for label in sorted(tests - tested):
                self.failures.append(f"{label} {broken.get(label, 'did not run')}")
        elif exit_name == "SUCCESS":
            self.passed += 1
        if exit_name != "SUCCESS" and not self.failures:
            targets = ": " + ", ".join(sorted(broken)) if broken else ""
            self.failures.append(f"bazel {command} ended with {exit_name}{targets}")

    def _count_test(self, label, result):
        """Counts the cases of one test, or the test where it names none."""
        good = result.get("status") in ("PASSED", "FLAKY")
        passed, skipped, failed = _cases(result)
        self.skipped += skipped
        if good:
            # No case at all, or one that only says that the program ran.
            self.passed += passed if passed + skipped else 1
            return
        self.passed += passed
        # A program that ends badly without saying in which case.
        for case in failed or [result.get("status", "failed")]:
            self.failures.append(f"{label} {case}")


def _cases(result):
    """Returns counts of passed and skipped cases, and the failed ones' names."""
    passed, skipped, failed = 0, 0, []
    for output in result.get("testActionOutput", []):
        uri = urllib.parse.urlparse(output.get("uri", ""))
        if output["name"] != "test.xml" or uri.scheme != "file":
            continue
        try:
            root = xml.etree.ElementTree.parse(urllib.parse.unquote(uri.path))
        except (OSError, xml.etree.ElementTree.ParseError):
            continue
        for case in root.iter("testcase"):
            if case.find("failure") is not None or case.find("error") is not None:
                failed.append(f"{case.get('classname')}.{case.get('name')}"
                              if case.get("classname") else case.get("name"))
            elif (case.get("status") == "notrun" or
                  case.get("result") in ("skipped", "suppressed")):
                skipped += 1
            else:
                passed += 1
    return passed, skipped, failed


def _events(path):
    """The events up to where Bazel stopped writing."""
    events = []
    try:
        for line in path.read_text().splitlines():
            events.append(json.loads(line))
    except (OSError, json.JSONDecodeError):
        pass
    return events


def main():
    directory = pathlib.Path(sys.argv[1])
    # In the order they ran.
    seconds = sorted(directory.glob("*.seconds"), key=lambda p: p.stat().st_mtime)
    runs = [Run(path.stem, _events(path.with_suffix(".json"))) for path in seconds]
    for run in runs:
        for failure in run.failures:
            print(f"FAILED {run.name}: {failure}")
    for run, path in zip(runs, seconds):
        print(f"{run.name:10} {_line([run])}, {path.read_text().strip()} s")
    print(_line(runs))
    failed = any(run.failures for run in runs)
    return 1 if failed or not any(run.passed for run in runs) else 0


def _line(runs):
    passed = sum(run.passed for run in runs)
    failed = sum(len(run.failures) for run in runs)
    skipped = sum(run.skipped for run in runs)
    line = f"{passed} passed, {failed} failed"
    return f"{line}, {skipped} skipped" if skipped else line


if __name__ == "__main__":
    sys.exit(main())
