#!/usr/bin/python3
"""braidctl against a running service, and against what is none."""

import concurrent.futures
import contextlib
import json
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
from harness import Service, run, wait_for  # noqa: E402

ECHO = harness.built("services/udp_echo/udp_echo")
CTL = harness.built("services/ctl/braidctl")
CONTROL = "braid.echo.v1.EchoControl"


class Impostor:
    """Listens, and does `with_client(connection)` with whoever comes."""

    def __init__(self, with_client):
        self.with_client = with_client
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.clients = []
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while True:
                client = self.listener.accept()[0]
                self.clients.append(client)
                try:
                    self.with_client(client)
                except OSError:
                    pass
        except OSError:
            pass  # closed

    def __enter__(self):
        return "127.0.0.1:%d" % self.listener.getsockname()[1]

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for client in self.clients:
            client.close()
        self.thread.join(5)


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
                      ("echo",), ("call",), ("echo", "echo"), ("--rpc=", "health"), ("--http=nowhere", "tasks")):
            result = self.ctl(*words, code=1)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn("'echo echo'", self.ctl("echo", "echo", code=1).stderr)
        self.assertIn("echo watch", self.ctl("--help").stdout)

    def test_a_server_that_says_nothing(self):
        with Impostor(lambda client: None) as address:
            # `echo watch` waited for ever. That there never was a connection of HTTP/2 looked like a call that
            # took too long.
            for words, code in ((("health",), 2), (("list",), 2), (("call", "a.B/c"), 2), (("echo", "stats"), 2),
                                (("echo", "watch"), 2), (("tasks",), 3)):
                result = run(CTL, f"--rpc={address}", f"--http={address}", "--timeout=300ms", *words)
                self.assertEqual(result.returncode, code, (words, result.stderr))
                self.assertIn("DEADLINE_EXCEEDED", result.stderr)

    def test_a_server_that_cannot_be_reached(self):
        # Its queue of connections is full, and takes no more.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = "127.0.0.1:%d" % listener.getsockname()[1]
            with contextlib.ExitStack() as clients:
                for _ in range(3):
                    client = clients.enter_context(socket.socket())
                    client.setblocking(False)
                    client.connect_ex(listener.getsockname())
                for words in (("health",), ("tasks",)):
                    result = run(CTL, f"--rpc={address}", f"--http={address}", "--timeout=300ms", *words)
                    self.assertEqual(result.returncode, 2, (words, result.stderr))

    def test_a_server_whose_calls_fail(self):
        import grpc

        def handler(details):
            def call(_, context):
                if details.method.endswith("GetStats"):
                    context.abort(grpc.StatusCode.UNAVAILABLE, "its database is gone")
                ended.wait(20)
                return b""
            return grpc.unary_unary_rpc_method_handler(call)

        class Handler(grpc.GenericRpcHandler):
            def service(self, details):
                return handler(details)
        ended = threading.Event()
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((Handler(),))
        rpc = "--rpc=127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            # It is there, and does not answer in time.
            result = run(CTL, rpc, "--timeout=1s", "health")
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertIn("DEADLINE_EXCEEDED", result.stderr)
            # What it could not reach is not what braidctl could not reach.
            result = run(CTL, rpc, "echo", "stats")
            self.assertEqual(result.returncode, 3, result.stderr)
            self.assertIn("its database is gone", result.stderr)
        finally:
            ended.set()
            server.stop(None).wait()

    def test_a_server_that_speaks_something_else(self):
        for noise in (b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 100, b"\xff" * 70000, b"SSH-2.0-x\r\n"):
            def answer(client, noise=noise):
                client.sendall(noise)
                client.close()
            with Impostor(answer) as address:
                for words in (("health",), ("call", "a.B/c"), ("echo", "watch")):
                    result = run(CTL, f"--rpc={address}", "--timeout=5s", *words)
                    self.assertEqual(result.returncode, 2, (noise[:10], words, result.stderr))
                    self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
                result = run(CTL, f"--http={address}", "--timeout=5s", "tasks", errors="replace")
                self.assertIn(result.returncode, (2, 3))

    def test_a_page_that_breaks_off(self):
        # What had come of it was printed, and all was well.
        def answer(client):
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nmain")
            client.close()
        with Impostor(answer) as address:
            result = run(CTL, f"--http={address}", "tasks")
            self.assertEqual((result.returncode, result.stdout), (3, ""))
            self.assertIn("after 4 bytes", result.stderr)

    def test_a_page_without_end(self):
        def answer(client):
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                client.sendall(bytes(1 << 20))
        with Impostor(answer) as address:
            result = run(CTL, f"--http={address}", "tasks")
            self.assertEqual(result.returncode, 3)
            self.assertIn("RESOURCE_EXHAUSTED", result.stderr)

    def test_an_outcome_that_cannot_be_written(self):
        # Lost, and the exit code said that it worked.
        for words in (("list",), ("health",), ("tasks",), ("--help",), ("call", f"{CONTROL}/GetStats"),
                      ("echo", "stats"), ("echo", "watch"), ("call", f"{CONTROL}/WatchStats")):
            with open("/dev/full", "w") as full:
                result = subprocess.run([CTL, self.rpc, self.http, *words], stdout=full, stderr=subprocess.DEVNULL,
                                        timeout=30)
            self.assertEqual(result.returncode, 3, words)

    def test_a_server_that_describes_itself_wrongly(self):
        import grpc

        def field(number, content):
            return bytes([number << 3 | 2, len(content)]) + content

        def serve(call):
            """A server whose reflection answers with `answers`, if that is what `call` is."""
            return grpc.stream_stream_rpc_method_handler(
                lambda requests, _: iter(answers)) if "ServerReflectionInfo" in call.method else None

        class Handler(grpc.GenericRpcHandler):
            def service(self, call):
                return serve(call)

        def files(*descriptors):
            return field(4, b"".join(field(1, descriptor) for descriptor in descriptors))
        itself = field(1, b"a.proto") + field(2, b"a") + field(3, b"a.proto")
        wrong = field(1, b"a.proto") + field(2, b"a") + field(4, field(1, b"B") + field(2, field(1, b"1-2")))
        answers = []
        server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
        server.add_generic_rpc_handlers((Handler(),))
        rpc = "--rpc=127.0.0.1:%d" % server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            for replies in ((),                                # none
                            (field(7, b""),),                  # an error whose code is OK
                            (field(7, b"\x08\xe7\x07"),),      # one whose code is 999
                            (field(7, b"\x08\x05" + field(2, b"\x1b[31m\nno")),),
                            (files(b"\xff\xff"),), (files(),), (files(itself),), (files(wrong),),
                            (files(field(1, b"x") + field(3, b"y")),) * 2):
                answers[:] = replies
                result = run(CTL, rpc, "--timeout=2s", "describe", "a.B")
                self.assertEqual(result.returncode, 3, (replies, result.stdout, result.stderr))
                self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
                self.assertNotIn("\x1b", result.stderr)
        finally:
            server.stop(None).wait()

    def test_requests_that_are_none(self):
        for request in ("{", "null", "[]", '{"rate": 1e999}', '{"burst": -1}', '{"rate": 1, "rate": 2}', "\udcff",
                        "[" * 100000, '{"a":' * 5000):
            result = self.ctl("call", f"{CONTROL}/SetLimits", request, code=3, errors="replace")
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            self.assertLess(len(result.stderr), 1000)
        self.ctl("call", f"{CONTROL}/SetLimits", "{}", "{}", code=3)

    def test_no_connection(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = "127.0.0.1:%d" % probe.getsockname()[1]
            for words in (("health",), ("list",), ("echo", "stats")):
                self.assertEqual(run(CTL, f"--rpc={address}", *words).returncode, 2)
            self.assertEqual(run(CTL, f"--http={address}", "tasks").returncode, 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
