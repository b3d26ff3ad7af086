#!/usr/bin/python3
"""braidctl against a running service."""

import json
import pathlib
import signal
import socket
import subprocess
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
from harness import Service, run, wait_for  # noqa: E402

ECHO = harness.built("services/udp_echo/udp_echo")
CTL = harness.built("services/ctl/braidctl")
CONTROL = "braid.echo.v1.EchoControl"


class BraidctlTest(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.service = Service(ECHO, "--listen=127.0.0.1:0")
        cls.rpc = "--rpc=%s:%d" % cls.service.address("rpc")
        cls.http = "--http=%s:%d" % cls.service.address("http")

    @classmethod
    def tearDownClass(cls):
        cls.service.kill()

    def ctl(self, *words, code=0, **options):
        result = run(CTL, self.rpc, self.http, *words, **options)
        self.assertEqual(result.returncode, code, (words, result.stdout, result.stderr))
        return result

    def test_health(self):
        self.assertEqual(self.ctl("health").stdout, "SERVING\n")
        self.assertEqual(self.ctl("health", CONTROL).stdout, "SERVING\n")
        self.assertIn("NOT_FOUND", self.ctl("health", "no.such.Service", code=3).stderr)

    def test_not_serving(self):
        with Service(ECHO, "--listen=127.0.0.1:0", "--service.lame_duck=30s") as service:
            service.signal(signal.SIGTERM)
            rpc = "--rpc=%s:%d" % service.address("rpc")
            wait_for(lambda: run(CTL, rpc, "health").returncode == 4, "exit code 4")
            self.assertEqual(run(CTL, rpc, "health").stdout, "NOT_SERVING\n")

    def test_list(self):
        services = self.ctl("list").stdout.splitlines()
        self.assertIn(CONTROL, services)
        self.assertIn("grpc.health.v1.Health", services)
        methods = self.ctl("list", CONTROL).stdout.splitlines()
        self.assertEqual(methods, [f"{CONTROL}/{name}" for name in (
            "GetStats", "WatchStats", "GetTopTalkers", "SetLimits", "Drain")])
        self.ctl("list", "no.such.Service", code=3)

    def test_describe(self):
        self.assertIn("rpc WatchStats", self.ctl("describe", CONTROL).stdout)
        method = self.ctl("describe", f"{CONTROL}/SetLimits").stdout
        self.assertIn("message SetLimitsRequest", method)
        self.assertIn("uint64 received_datagrams = 2", self.ctl("describe", "braid.echo.v1.StatsReply").stdout)
        self.assertIn("NOT_FOUND", self.ctl("describe", "no.such.Thing", code=3).stderr)

    def test_call(self):
        limits = json.loads(self.ctl("call", f"{CONTROL}/SetLimits", '{"rate": 500}').stdout)
        self.assertEqual(limits, {"rate": 500, "burst": 1000})
        limits = json.loads(self.ctl("call", f"/{CONTROL}/SetLimits", "-", input='{"burst": 7}').stdout)
        self.assertEqual(limits, {"rate": 500, "burst": 7})
        stats = json.loads(self.ctl("call", f"{CONTROL}.GetStats").stdout)
        self.assertEqual(stats["limits"], limits, "a method is found under both spellings")
        self.assertEqual(stats["dropped_datagrams"]["rate_limited"], "0")
        wrong = self.ctl("call", f"{CONTROL}/SetLimits", '{"rate": -1}', code=3).stderr
        self.assertIn("INVALID_ARGUMENT", wrong)
        self.assertIn("rate=-1", wrong)
        for request in ("nonsense", '{"no_such_field": 1}', '{"rate": "x"}'):
            self.assertIn("SetLimitsRequest", self.ctl("call", f"{CONTROL}/SetLimits", request, code=3).stderr)
        self.ctl("call", f"{CONTROL}/NoSuchMethod", code=3)

    def test_call_that_gives_a_stream(self):
        process = subprocess.Popen([CTL, self.rpc, "call", f"{CONTROL}/WatchStats", '{"interval": "0.1s"}'],
                                   stdout=subprocess.PIPE, text=True)
        try:
            for _ in range(3):
                self.assertIn("uptime", json.loads(process.stdout.readline()))
        finally:
            process.kill()
            process.communicate()

    def test_call_with_a_stream_of_requests(self):
        # Reflection itself is one: each request has its reply.
        replies = self.ctl("call", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
                           '{"list_services": "*"}', '{"file_containing_symbol": "no.such.Thing"}').stdout
        first, second = map(json.loads, replies.splitlines())
        self.assertIn({"name": CONTROL}, first["list_services_response"]["service"])
        self.assertEqual(second["error_response"]["error_code"], 5)

    def test_echo(self):
        with self.service.udp() as client:
            client.send(b"hello")
            client.recv(64)
        stats = self.ctl("echo", "stats").stdout
        self.assertRegex(stats, r"(?m)^received +\d+ +\d+ bytes$")
        self.assertRegex(stats, r"(?m)^dropped, rate_limited +\d+$")
        self.assertIn("127.0.0.1", self.ctl("echo", "top").stdout)
        watch = subprocess.Popen([CTL, self.rpc, "--interval=100ms", "echo", "watch"],
                                 stdout=subprocess.PIPE, text=True)
        try:
            self.assertIn("received/s", watch.stdout.readline())
            self.assertEqual(len(watch.stdout.readline().split()), 5)
        finally:
            watch.kill()
            watch.communicate()

    def test_tasks(self):
        self.assertRegex(self.ctl("tasks").stdout, r"#\d+ +echo 127\.0\.0\.1:\d+ ")

    def test_wrong_use(self):
        for words in ((), ("dance",), ("health", "a", "b"), ("--no-such-flag", "health"), ("--timeout=soon", "health"),
                      ("echo",), ("call",)):
            result = self.ctl(*words, code=1)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn("echo watch", self.ctl("--help").stdout)

    def test_no_connection(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % probe.getsockname()[1]
            for words in (("health",), ("list",), ("echo", "stats")):
                self.assertEqual(run(CTL, f"--rpc={address}", *words).returncode, 2)
            self.assertEqual(run(CTL, f"--http={address}", "tasks").returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
