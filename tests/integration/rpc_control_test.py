#!/usr/bin/python3
"""The echo service's gRPC control, called by Debian's Python gRPC."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
from harness import Service, wait_for  # noqa: E402

BINARY = harness.built("services/udp_echo/udp_echo")
PROTO = "braid/echo/v1/echo_control.proto"
HEALTH = "grpc/health/v1/health.proto"


def compiled():
    """The messages of the control protocol and of health, made by protoc."""
    folder = tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR"))
    root = next(root for root in (pathlib.Path.cwd() / "proto",
                                  pathlib.Path(__file__).resolve().parents[2] / "proto")
                if (root / PROTO).exists())
    subprocess.run([harness.need("protoc"), f"-I{root}", "-I/usr/share/grpc-proto",
                    f"--python_out={folder}", PROTO, HEALTH], check=True)
    # Beside, not in, the package `grpc` of the runtime.
    (pathlib.Path(folder) / "health_messages").mkdir()
    os.rename(f"{folder}/grpc/health/v1/health_pb2.py", f"{folder}/health_messages/health_pb2.py")
    sys.path[:0] = [folder, f"{folder}/health_messages"]


compiled()
import grpc  # noqa: E402
import health_pb2  # noqa: E402
from braid.echo.v1 import echo_control_pb2 as pb  # noqa: E402


class Control:
    """A client of EchoControl and Health."""

    def __init__(self, service):
        self.channel = grpc.insecure_channel("%s:%d" % service.address("rpc"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.channel.close()

    def unary(self, name, request, reply, service="braid.echo.v1.EchoControl", **options):
        call = self.channel.unary_unary(
            f"/{service}/{name}", request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=reply.FromString)
        return call(request, timeout=options.pop("timeout", 10), **options)

    def stats(self):
        return self.unary("GetStats", pb.StatsRequest(), pb.StatsReply)

    def watch(self, milliseconds, **options):
        request = pb.WatchRequest()
        request.interval.FromMilliseconds(milliseconds)
        return self.channel.unary_stream(
            "/braid.echo.v1.EchoControl/WatchStats",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=pb.StatsReply.FromString)(request, **options)

    def health(self, name=""):
        return self.unary("Check", health_pb2.HealthCheckRequest(service=name),
                          health_pb2.HealthCheckResponse, "grpc.health.v1.Health").status


def code_of(function):
    try:
        function()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def echo(*flags):
    return Service(BINARY, "--listen=127.0.0.1:0", *flags)


def send(service, payload, source="127.0.0.1"):
    with service.udp(source=(source, 0)) as client:
        client.settimeout(1)
        client.send(payload)
        try:
            return client.recv(65536)
        except TimeoutError:
            return None


class Calls(unittest.TestCase):

    def test_stats(self):
        with echo() as service, Control(service) as control:
            self.assertEqual(send(service, b"hello"), b"hello")
            stats = control.stats()
            self.assertEqual((stats.received_datagrams, stats.received_bytes,
                              stats.echoed_datagrams, stats.echoed_bytes), (1, 5, 1, 5))
            self.assertEqual(sum(stats.dropped_datagrams.values()), 0)
            self.assertIn("rate_limited", stats.dropped_datagrams)
            self.assertEqual((stats.limits.rate, stats.limits.burst), (1000, 1000))

    def test_watch(self):
        with echo() as service, Control(service) as control:
            updates = control.watch(100, timeout=10)
            self.assertEqual(next(updates).echoed_datagrams, 0)
            send(service, b"hello")
            while next(updates).echoed_datagrams == 0:
                pass
            updates.cancel()
            # The last is one second, counted in 64 bits of nanoseconds.
            for wrong in (0, 99, 3600001, (1 - 2**55) * 1000):
                self.assertEqual(code_of(lambda wrong=wrong: next(control.watch(wrong, timeout=5))),
                                 grpc.StatusCode.INVALID_ARGUMENT, wrong)

    def test_top_talkers(self):
        with echo("--shards=2") as service, Control(service) as control:
            for _ in range(5):
                send(service, b"abc", "127.0.0.3")
            send(service, b"abcd", "127.0.0.2")
            talkers = control.unary("GetTopTalkers", pb.TopTalkersRequest(), pb.TopTalkersReply).talkers
            self.assertEqual([(t.address, t.datagrams, t.bytes) for t in talkers],
                             [("127.0.0.3", 5, 15), ("127.0.0.2", 1, 4)])
            one = control.unary("GetTopTalkers", pb.TopTalkersRequest(limit=1), pb.TopTalkersReply)
            self.assertEqual(len(one.talkers), 1)

    def test_limits(self):
        with echo() as service, Control(service) as control:
            limits = control.unary("SetLimits", pb.SetLimitsRequest(rate=0.001, burst=2), pb.Limits)
            self.assertEqual((limits.rate, limits.burst), (0.001, 2))
            answers = [send(service, b"x") for _ in range(3)]
            self.assertEqual(answers, [b"x", b"x", None])
            limits = control.unary("SetLimits", pb.SetLimitsRequest(rate=0), pb.Limits)
            self.assertEqual((limits.rate, limits.burst), (0, 2), "what is not set stays")
            self.assertEqual(send(service, b"y"), b"y")
            for wrong in (pb.SetLimitsRequest(rate=-1), pb.SetLimitsRequest(rate=float("nan")),
                          pb.SetLimitsRequest(rate=1e10), pb.SetLimitsRequest(burst=0)):
                self.assertEqual(code_of(lambda wrong=wrong: control.unary("SetLimits", wrong, pb.Limits)),
                                 grpc.StatusCode.INVALID_ARGUMENT)

    def test_drain_ends_the_process_in_good_order(self):
        with echo() as service, Control(service) as control:
            watching = control.watch(100, timeout=20)
            next(watching)
            control.unary("Drain", pb.DrainRequest(), pb.DrainReply)
            list(watching)  # ends well: the stream was told to stop
            self.assertEqual(watching.code(), grpc.StatusCode.OK)
            self.assertEqual(service.wait(), 0)

    def test_health_follows_readiness(self):
        serving = health_pb2.HealthCheckResponse.SERVING
        with echo("--service.lame_duck=30s") as service, Control(service) as control:
            self.assertEqual(control.health(), serving)
            self.assertEqual(control.health("braid.echo.v1.EchoControl"), serving)
            service.signal(signal.SIGTERM)
            wait_for(lambda: control.health() == health_pb2.HealthCheckResponse.NOT_SERVING,
                     "NOT_SERVING")
            self.assertEqual(control.stats().received_datagrams, 0, "served as before")

    def test_errors_are_codes(self):
        with echo() as service, Control(service) as control:
            self.assertEqual(code_of(lambda: control.unary("Nothing", pb.StatsRequest(), pb.StatsReply)),
                             grpc.StatusCode.UNIMPLEMENTED)
            raw = control.channel.unary_unary("/braid.echo.v1.EchoControl/SetLimits")
            self.assertIn(code_of(lambda: raw(b"\xff\xff\xff", timeout=5)),
                          (grpc.StatusCode.INTERNAL, grpc.StatusCode.INVALID_ARGUMENT))
            self.assertEqual(code_of(lambda: raw(b"\x0a" + b"x" * (5 << 20), timeout=5)),
                             grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertEqual(control.stats().received_datagrams, 0, "it goes on")

    def test_metrics_of_calls(self):
        with echo() as service, Control(service) as control:
            control.stats()
            name = ('grpc_server_handled_total{grpc_code="OK",grpc_method="GetStats",'
                    'grpc_service="braid.echo.v1.EchoControl",grpc_type="unary"}')

            def handled():
                return {frozenset(key.split("{")[1].rstrip("}").split(",")): value
                        for key, value in service.metrics().items()
                        if key.startswith("grpc_server_handled_total{")}
            labels = frozenset(name.split("{")[1].rstrip("}").split(","))
            wait_for(lambda: handled().get(labels) == 1, f"{name} to be 1")


class Trouble(unittest.TestCase):

    def test_ten_thousand_cancelled_calls_leave_nothing(self):
        with echo() as service, Control(service) as control:
            def cancel(count):
                for _ in range(count // 100):
                    calls = [control.watch(1000) for _ in range(100)]
                    for call in calls[::2]:
                        next(call)  # half of them in the middle of the stream
                    for call in calls:
                        call.cancel()
                    for call in calls:
                        self.assertEqual(call.code(), grpc.StatusCode.CANCELLED)

            def quiet():
                status, tasks = service.get("/tasks")
                return status == 200 and "WatchStats" not in tasks
            cancel(1000)  # what is made once, and kept
            wait_for(quiet, "the calls to end")
            memory, descriptors, threads = service.memory(), service.descriptors(), service.threads()
            cancel(10000)
            wait_for(quiet, "the calls to end")
            self.assertLess(service.memory() - memory, 4 << 20)
            self.assertLessEqual(service.descriptors(), descriptors + 1)
            self.assertLessEqual(service.threads(), threads + 2)
            self.assertEqual(control.stats().received_datagrams, 0)

    def test_a_client_killed_in_the_middle_of_a_stream(self):
        with echo() as service, Control(service) as control:
            control.stats()
            descriptors = service.descriptors()
            script = (f"import sys; sys.path[:0] = {sys.path[:3]!r}\n"
                      "import grpc\n"
                      "channel = grpc.insecure_channel('%s:%d')\n"
                      "call = channel.unary_stream('/braid.echo.v1.EchoControl/WatchStats')(b'')\n"
                      "for _ in call: print('got', flush=True)\n" % service.address("rpc"))
            clients = [subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
                       for _ in range(3)]
            for client in clients:
                self.assertEqual(client.stdout.readline(), b"got\n")
            self.assertGreater(service.descriptors(), descriptors)
            for client in clients:
                client.kill()
                client.communicate()
            wait_for(lambda: service.descriptors() <= descriptors, "the connections to be released")
            self.assertEqual(service.stop(), 0, "nothing is waited for")

    def test_a_connection_that_is_no_grpc(self):
        import socket
        with echo() as service, Control(service) as control:
            control.stats()
            descriptors = service.descriptors()
            for noise in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(4096), b""):
                with socket.create_connection(service.address("rpc"), timeout=5) as client:
                    client.sendall(noise)
                    time.sleep(0.05)
            self.assertEqual(control.stats().received_datagrams, 0)
            wait_for(lambda: service.descriptors() <= descriptors, "the connections to be released")

    def test_many_clients_at_once(self):
        with echo() as service, Control(service) as control:
            failures = []

            def work():
                try:
                    for _ in range(100):
                        control.stats()
                except grpc.RpcError as error:
                    failures.append(error)
            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
