#!/usr/bin/python3
"""service::Main: how services begin, change and end, by one that only does that."""

import json
import pathlib
import signal
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
from harness import Service, run, wait_for  # noqa: E402

BINARY = harness.built("tests/integration/life_service")


class Ends(unittest.TestCase):

    def test_drained(self):
        with Service(BINARY) as service:
            self.assertEqual(service.stop(), 0)
            self.assertEqual(service.records[-1]["msg"], "stopped")

    def test_the_drain_limit_cancels_and_is_a_failure(self):
        with Service(BINARY, "--end=never", "--service.drain_limit=300ms") as service:
            began = time.monotonic()
            self.assertEqual(service.stop(), 1)
            self.assertGreaterEqual(time.monotonic() - began, 0.3)
            self.assertIn("drain_limit", service.find("failed")["error"])

    def test_an_error_is_a_failure(self):
        with Service(BINARY, "--end=fails", ready=False) as service:
            self.assertEqual(service.wait(), 1)
            self.assertEqual(service.find("failed")["error"], "DATA_LOSS: the disk is gone")

    def test_by_itself(self):
        with Service(BINARY, "--end=by_itself", ready=False) as service:
            self.assertEqual(service.wait(), 0)

    def test_an_exception_ends_it_with_what_it_says(self):
        with Service(BINARY, "--end=throws", ready=False) as service:
            self.assertEqual(service.wait(), 1)
            self.assertIn("thrown by the service", service.log())

    def test_asked_for_while_it_is_made(self):
        # There was no task group yet to drain in: a null pointer.
        with Service(BINARY, "--end=stops_when_made", ready=False) as service:
            self.assertEqual(service.wait(), 0, service.log())
            self.assertEqual(service.find("stopping")["reason"], "a test")

    def test_before_it_was_ready(self):
        with Service(BINARY, "--end=never_ready", ready=False) as service:
            service.wait_log("listening")
            self.assertEqual(service.get("/readyz")[0], 503)
            self.assertEqual(service.stop(), 0)

    def test_two_signals(self):
        with Service(BINARY, "--end=never", "--service.drain_limit=60s") as service:
            service.signal(signal.SIGINT)
            service.wait_log("stopping")
            self.assertEqual(service.stop(), 128 + signal.SIGTERM)

    def test_sighup_while_it_stops_is_nothing(self):
        with Service(BINARY, "--end=never", "--service.drain_limit=500ms") as service:
            service.signal(signal.SIGTERM)
            service.wait_log("stopping")
            service.signal(signal.SIGHUP)
            self.assertEqual(service.wait(), 1)
            self.assertIsNone(service.find("reloading the configuration"))


class Readiness(unittest.TestCase):

    def test_a_service_may_say_no(self):
        with Service(BINARY, "--end=not_ready", ready=False) as service:
            service.wait_log("listening")
            wait_for(lambda: service.get("/readyz") == (503, "not ready\n"), "not ready")
            self.assertEqual(service.get("/healthz")[0], 200)
            self.assertEqual(service.metrics()["braid_service_ready"], 0)
            self.assertEqual(service.stop(), 0)


class Reload(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.config = pathlib.Path(folder.name) / "life.textproto"
        self.config.write_text('label: "first"\n')

    def service(self, *flags):
        return Service(BINARY, f"--config={self.config}", *flags)

    def reload(self, service, text, says):
        self.config.write_text(text)
        before = len(service.records)
        service.signal(signal.SIGHUP)

        def said():
            return next((r for r in service.records[before:] if r.get("msg") == says), None)
        return wait_for(said, f"{says!r}\n{service.log()}")

    def result(self, service):
        return {name.split('"')[1]: value for name, value in service.metrics().items()
                if name.startswith("braid_service_config_reloads_total")}

    def test_what_changed_is_logged_but_no_secret(self):
        with self.service() as service:
            self.reload(service, 'label: "second" secret: "hunter2"\n', "configuration reloaded")
            changed = [r for r in service.records if r.get("msg") == "configuration changed"]
            self.assertEqual([r["field"] for r in changed], ["label", "secret"])
            self.assertEqual((changed[0]["before"], changed[0]["after"]), ('first', 'second'))
            self.assertNotIn("hunter2", service.log())
            self.assertEqual(self.result(service), {"ok": 1, "refused": 0, "failed": 0})

    def test_what_the_service_refuses(self):
        with self.service() as service:
            failed = self.reload(service, 'label: "bad"\n', "configuration not reloaded")
            self.assertEqual(failed["error"], "this label can't be had")
            self.assertEqual(self.result(service)["failed"], 1)

    def test_what_is_not_valid(self):
        with self.service() as service:
            self.assertIn("label=invalid", self.reload(
                service, 'label: "invalid"\n', "configuration not reloaded")["error"])
            self.assertIn("life.textproto:1", self.reload(
                service, "no such syntax", "configuration not reloaded")["error"])

    def test_what_only_a_restart_changes(self):
        with self.service() as service:
            refused = self.reload(service, 'label: "second" end: "never"\n',
                                  "configuration changed where only a restart helps")
            self.assertEqual((refused["field"], refused["before"], refused["after"]),
                             ("end", "drains", "never"))
            service.wait_log("configuration reloaded")
            self.assertEqual(self.result(service), {"ok": 0, "refused": 1, "failed": 0})
            self.assertEqual(service.stop(), 0, "it still drains")

    def test_a_file_that_is_gone(self):
        with self.service() as service:
            self.config.unlink()
            service.signal(signal.SIGHUP)
            self.assertIn(str(self.config), json.dumps(service.wait_log("configuration not reloaded")))

    def test_the_log_level_changes(self):
        with self.service() as service:
            self.reload(service, 'service { log { level: "error" } }\n', "reloading the configuration")
            wait_for(lambda: self.result(service)["ok"] == 1, "a good reload")
            lines = len(service.lines)
            service.signal(signal.SIGHUP)
            wait_for(lambda: self.result(service)["ok"] == 2, "another")
            self.assertEqual(len(service.lines), lines, service.log())

    def test_flags_stay_stronger_than_the_file(self):
        with self.service("--label=flag") as service:
            self.reload(service, 'label: "bad"\n', "configuration reloaded")
            self.assertIsNone(service.find("configuration changed"))


class Start(unittest.TestCase):

    def test_without_endpoints(self):
        with Service(BINARY, http="", rpc="") as service:
            self.assertIsNone(service.find("listening"))
            self.assertEqual(service.stop(), 0)

    def test_environment(self):
        result = run(BINARY, env={"LIFE_SERVICE_END": "sideways"})
        self.assertEqual(result.returncode, 2)
        self.assertIn("LIFE_SERVICE_END", result.stderr)
        self.assertIn("sideways", result.stderr)

    def test_version(self):
        # A blank stood where nothing is known of the build.
        self.assertRegex(run(BINARY, "--version").stdout, r"^life_service( \S+)*\n$")

    def test_a_simulation_is_no_backend(self):
        # It said that it listened, on a network that nobody can reach.
        result = run(BINARY, "--service.backend=sim")
        self.assertEqual(result.returncode, 2)
        self.assertIn("must be one of auto, asio, uring", result.stderr)

    def test_an_unknown_backend(self):
        result = run(BINARY, "--service.backend=abacus")
        self.assertEqual(result.returncode, 2)
        self.assertIn("abacus", result.stderr)

    def test_help_that_nobody_can_read(self):
        with open("/dev/full", "w") as full:
            import subprocess
            self.assertEqual(subprocess.run([BINARY, "--help"], stdout=full).returncode, 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
