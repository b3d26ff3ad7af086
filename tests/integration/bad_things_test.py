#!/usr/bin/python3
"""What must not hurt a service: broken logs, wrong configurations, hostile clients.

Each attack ends with the service as it was: answering, with the descriptors it
had, and no more memory than it is allowed.
"""

import contextlib
import fcntl
import os
import pathlib
import random
import resource
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
from harness import Service, need, run, wait_for  # noqa: E402

BINARY = harness.built("services/udp_echo/udp_echo")
CONTROL = "/braid.echo.v1.EchoControl/"
HEALTH = "/grpc.health.v1.Health/Check"
MIB = 1 << 20


def echo(*flags, **options):
    return Service(BINARY, "--listen=127.0.0.1:0", *flags, **options)


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Mute(Service):
    """A service that nobody can hear: its ports are given, not read from its log."""

    def __init__(self, stderr):
        self.ports = {"http": free_port(), "rpc": free_port(), "echo": free_port(socket.SOCK_DGRAM)}
        super().__init__(BINARY, f"--listen=127.0.0.1:{self.ports['echo']}", stderr=stderr,
                         http=f"127.0.0.1:{self.ports['http']}", rpc=f"127.0.0.1:{self.ports['rpc']}")

        def ready():
            with contextlib.suppress(OSError):
                return self.get("/readyz", timeout=2)[0] == 200
        wait_for(ready, "/readyz")

    def address(self, what):
        return "127.0.0.1", self.ports[what]


# ---- just enough of HTTP/2 to do it wrong (RFC 9113, RFC 7541)

def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def header(name, value):
    return b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()


def headers(stream, path):
    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x",
              "te": "trailers", "content-type": "application/grpc"}
    return frame(1, 4, stream, b"".join(header(*field) for field in fields.items()))


def request(stream, path, message=b""):
    return headers(stream, path) + frame(0, 1, stream, b"\0" + struct.pack(">I", len(message)) + message)


def reset(stream):
    return frame(3, 0, stream, struct.pack(">I", 8))


def http2(service, window=65535):
    """A connection that takes `window` bytes of each reply."""
    client = socket.create_connection(service.address("rpc"), timeout=10)
    client.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, struct.pack(">HI", 4, window)))
    return client


def call(service, path=CONTROL + "GetStats", message=b""):
    """What comes on a new connection in answer to a call, with headers and all; empty if none comes."""
    with http2(service) as client:
        client.sendall(request(1, path, message))
        got = b""
        with contextlib.suppress(TimeoutError, ConnectionError):
            while b"grpc-status" not in got:
                more = client.recv(65536)
                if not more:
                    break
                got += more
        return got if b"grpc-status" in got else b""


def rpc_answers(service, path=CONTROL + "GetStats", message=b""):
    return bool(call(service, path, message))


def quiet(service):
    """No call is left."""
    def done():
        status, tasks = service.get("/tasks")
        return status == 200 and "EchoControl" not in tasks and "Health" not in tasks
    wait_for(done, "the calls to end")


class Unharmed:
    """What a service has before an attack, to compare with what it has after."""

    def __init__(self, test, service):
        rpc_answers(service)  # what the first call makes is kept
        service.get("/metrics")
        quiet(service)
        self.test, self.service = test, service
        self.memory, self.descriptors = service.memory(), service.descriptors()

    def check(self, memory=8 * MIB):
        service = self.service
        quiet(service)
        wait_for(lambda: service.descriptors() <= self.descriptors + 1, "the descriptors to be released")
        self.test.assertLess(service.memory() - self.memory, memory)
        self.test.assertEqual(service.get("/readyz")[0], 200)
        self.test.assertTrue(rpc_answers(service))
        with service.udp() as client:
            client.send(b"still here")
            self.test.assertEqual(client.recv(64), b"still here")


# A string that isn't UTF-8, to Health.Check: protobuf has something to say about it.
NOT_UTF8 = b"\x0a\x02\xff\xfe"


class Logs(unittest.TestCase):

    def test_what_libraries_say_is_part_of_the_log(self):
        # It went to standard error as it was, in the middle of the JSON.
        with echo() as service:
            self.assertTrue(rpc_answers(service, HEALTH, NOT_UTF8))
            line = wait_for(lambda: next((r for r in service.records if r.get("library") == "protobuf"), None),
                            "protobuf's complaint")
            self.assertIn("invalid UTF-8", line["msg"])
            service.stop()
            self.assertEqual(len(service.lines), len(service.records), service.log())

    def test_a_pipe_that_nobody_reads(self):
        # protobuf wrote there on the loop, which stood still once the pipe was full.
        out, into = os.pipe()
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, 4096)
        with os.fdopen(into, "wb") as pipe, Mute(pipe) as service:
            for _ in range(200):
                self.assertTrue(rpc_answers(service, HEALTH, NOT_UTF8))
            self.assertEqual(service.get("/healthz")[0], 200)
            service.signal(signal.SIGTERM)
            self.assertEqual(service.wait(), 0, "nor does it keep the process")
        os.close(out)

    def test_a_pipe_whose_reader_has_gone(self):
        # The same ended the process by SIGPIPE: one call from anybody was enough.
        out, into = os.pipe()
        with os.fdopen(into, "wb") as pipe, Mute(pipe) as service:
            os.close(out)
            for _ in range(3):
                self.assertTrue(rpc_answers(service, HEALTH, NOT_UTF8))
            wait_for(lambda: service.metrics()["braid_log_lost_lines_total"] > 0, "lost lines to be counted")
            self.assertEqual(service.stop(), 0)

    def test_a_full_disk(self):
        with open("/dev/full", "wb") as full, Mute(full) as service:
            wait_for(lambda: service.metrics()["braid_log_lost_lines_total"] > 0, "lost lines to be counted")
            self.assertEqual(service.stop(), 0)


class Configuration(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def refused(self, *flags, says, env=None):
        """Wrong use: exit code 2, and one short line with `says` in it."""
        result = run(BINARY, "--service.http_listen=127.0.0.1:0", "--service.rpc_listen=127.0.0.1:0", *flags,
                     env=dict(os.environ, **(env or {})))
        self.assertEqual(result.returncode, 2, (flags, result.stderr))
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertLess(len(result.stderr), 500)
        for text in says:
            self.assertIn(text, result.stderr)

    def test_flags(self):
        for flag, *says in (
                ("--limits.rate=nan", "limits.rate=nan", "from 0 to 1000000000"),
                ("--shards=1.5", "shards=1.5", "from 1 to 256"),
                ("--shards=-1", "shards=-1", "from 1 to 256"),
                ("--max_datagram_bytes=65508", "max_datagram_bytes=65508", "from 64 to 65507"),
                ("--receive_buffer_bytes=1XB", "receive_buffer_bytes=1XB", "a size such as"),
                ("--service.lame_duck=5", "service.lame_duck=5", "a duration such as"),
                ("--service.log.level=loud", "service.log.level=loud", "debug, info"),
                ("--listen=" + "x" * 100000, "listen=xxx", "an IP address and a port"),
                ("--listen=1.2.3.4:99999", "listen=1.2.3.4:99999", "an IP address and a port"),
                ("--lisen=127.0.0.1:7", "--lisen", "--listen"),
                (b"--listen=\xff\xfe", "UTF-8"),
                # These came up half, and ended with 1 and lines of gRPC's own.
                ("--service.http_listen=garbage", "service.http_listen=garbage", "an IP address and a port"),
                ("--service.http_listen=1.2.3.4:99999", "service.http_listen=1.2.3.4:99999"),
                ("--service.rpc_listen=garbage", "service.rpc_listen=garbage", "an IP address and a port"),
                ("--service.backend=abacus", "service.backend=abacus", "asio"),
                # 64 GiB of tables: the kernel ended it, or another process.
                ("--limits.max_prefixes=16777216", "max_prefixes=16777216", "at most 262144 with 256 shards")):
            flags = (flag,) if "max_prefixes" not in str(flag) else (flag, "--shards=256")
            if isinstance(flag, bytes):
                flags = (os.fsdecode(flag),)
            self.refused(*flags, says=says)

    def test_nothing_to_listen_on(self):
        # It said that it was ready, and ended with 0 at once.
        self.refused(env={"UDP_ECHO_LISTEN": ""}, says=("listen=", "at least one"))

    def test_files(self):
        for text, *says in (
                (b"nope: 1", "1:5", "nope"),
                (b"limits { rate: 5 rate: 6 }", "rate", "multiple times"),
                # Of these protobuf said neither the field nor what is allowed.
                (b'limits {\n  burst: "x"\n}', "2:10", "limits.burst=", "from 1 to 1000000000"),
                (b"shards: 99999999999999999999", "shards=99999999999999999999", "from 1 to 256"),
                (b"shards: -1", "shards=-1", "from 1 to 256"),
                (b"limits {", "1:9"), (b"limits { rate: nan }", "limits.rate=NaN"),
                (b"service { lame_duck { seconds: -5 } }", "service.lame_duck=-5s", "from 0s to 1h"),
                (b'listen: "\xff\xfe"', "listen[0]", "UTF-8"), (b"a\0b", "1:2"), (b"\xff\xfe\0x", "1:1"),
                (b"{" * 100000, "1:1"), (b"#" * (2 << 20), "1048576 bytes")):
            file = self.folder / "config"
            file.write_bytes(text)
            self.refused(f"--config={file}", says=(str(file), *says))
        self.refused(f"--config={self.folder}", says=(str(self.folder), "directory"))
        self.refused("--config=/dev/zero", says=("/dev/zero", "larger"))
        self.refused("--config=/no/such/file", says=("/no/such/file", "No such file"))
        self.refused("--config", says=("--config", "name of a file"))

    def test_a_pipe_is_no_file_to_reload(self):
        # Opening it waited for somebody to write, and with it the whole service.
        file = self.folder / "config"
        file.write_text("limits { rate: 5 }")
        with echo(f"--config={file}") as service:
            file.unlink()
            os.mkfifo(file)
            service.signal(signal.SIGHUP)
            self.assertIn("regular file", service.wait_log("configuration not reloaded")["error"])
            self.assertEqual(service.get("/healthz")[0], 200)

    def test_a_storm_of_reloads(self):
        file = self.folder / "config"
        file.write_text("")
        with echo(f"--config={file}") as service:
            before = Unharmed(self, service)
            for number in range(2000):
                if number % 20 == 0:
                    file.write_text(("limits { rate: 7 }", "broken {", "limits { rate: -1 }", "shards: 9")
                                    [number // 20 % 4])
                service.signal(signal.SIGHUP)
            file.write_text("limits { rate: 9 }")
            service.signal(signal.SIGHUP)
            # Not from the log: it leaves out lines that repeat.
            wait_for(lambda: struct.pack("<d", 9) in call(service), "the last configuration")
            before.check()

    def test_a_hangup_before_it_listens_for_one(self):
        # That ended it, as it ends programs that know nothing of it.
        file = self.folder / "config"
        os.mkfifo(file)
        with echo(f"--config={file}", ready=False) as service:
            with open(file, "w") as config:  # it has opened the other end
                service.signal(signal.SIGHUP)
                config.write("limits { rate: 5 }")
            service.wait_ready()
            self.assertEqual(service.stop(), 0)


class Http(unittest.TestCase):

    def test_two_thousand_idle_clients(self):
        with echo() as service:
            before = Unharmed(self, service)
            idle = [socket.create_connection(service.address("http"), timeout=10) for _ in range(2000)]
            self.assertEqual(service.get("/healthz")[0], 200)
            self.assertLess(service.descriptors(), before.descriptors + 140)
            for client in idle:
                client.close()
            before.check()

    def test_clients_that_never_take_their_answers(self):
        # Sixty-four of them kept everybody else out for half a minute.
        with echo() as service:
            before = Unharmed(self, service)
            with contextlib.ExitStack() as stack:
                for _ in range(80):
                    client = stack.enter_context(socket.socket())
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # soon full
                    client.connect(service.address("http"))
                    client.setblocking(False)
                    with contextlib.suppress(OSError):
                        client.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 2000)

                def served():
                    with contextlib.suppress(OSError):
                        return service.get("/healthz", timeout=5)[0] == 200
                began = time.monotonic()
                wait_for(served, "an answer for somebody else", timeout=20)
                self.assertLess(time.monotonic() - began, 25, "sooner than they are given up")
            before.check(16 * MIB)

    def test_garbage_and_aborted_requests(self):
        get = b"GET /metrics HTTP/1.1\r\nHost: x\r\n"
        with echo() as service:
            before = Unharmed(self, service)
            for sent, status in (
                    (b"GET / HTTP/2.0\r\n\r\n", 505), (b"GET /\r\n\r\n", 400),
                    (get + b"Host: y\r\n\r\n", 400), (get + b"Content-Length: -1\r\n\r\n", 400),
                    (get + b"Content-Length: 99999999999999999999\r\n\r\n", 400),
                    (get + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
                    (get + b"X: " + b"y" * 20000, 431), (b"GET /" + b"y" * 20000, 414),
                    (b"BREW /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 405), (b"\x16\x03\x01\x02\0\x01", 400)):
                with socket.create_connection(service.address("http"), timeout=10) as client:
                    client.sendall(sent)
                    self.assertEqual(client.recv(12).split(b" ")[-1], b"%d" % status, sent[:60])
            with socket.create_connection(service.address("http"), timeout=10) as client:
                client.sendall((get + b"\r\n") * 100 + b"\0garbage")
                client.shutdown(socket.SHUT_WR)
                answers = client.makefile("rb").read()
                self.assertEqual(answers.count(b"HTTP/1.1 200 OK"), 100)
                self.assertEqual(answers.count(b"HTTP/1.1 400 "), 1)
            for _ in range(300):
                client = socket.create_connection(service.address("http"), timeout=10)
                client.sendall(get + b"\r\n")
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()  # with a reset
            before.check()

    def test_scrapes_at_once_are_valid(self):
        with echo() as service:
            before = Unharmed(self, service)
            failures = []

            def scrape():
                for _ in range(10):
                    result = service.get("/metrics")
                    if result[0] != 200 or "braid_build_info" not in result[1]:
                        failures.append(result)
            threads = [threading.Thread(target=scrape) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(failures, [])
            result = run(need("promtool"), "check", "metrics", input=service.get("/metrics")[1])
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            before.check()


class Udp(unittest.TestCase):

    def test_senders_that_have_gone(self):
        with echo("--limits.rate=0") as service:
            before = Unharmed(self, service)
            host, port = service.address("echo")
            for _ in range(2000):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.sendto(b"x", (host, port))  # the reply is refused
            wait_for(lambda: (lambda c: c["received"] + c["kernel"] >= 2000)(service.counts()), "them to be received")
            before.check()
            self.assertEqual(service.metrics()["braid_echo_receive_errors_total"], 0)

    def test_stopped_and_continued(self):
        with echo("--limits.rate=0") as service:
            before = Unharmed(self, service)
            with service.udp() as client:
                for number in range(20):
                    service.signal(signal.SIGSTOP)
                    client.send(b"%d" % number)
                    service.signal(signal.SIGCONT)
                    self.assertEqual(client.recv(64), b"%d" % number)
            before.check()

    def test_sigterm_under_a_flood(self):
        with echo("--shards=2", "--limits.rate=0") as service:
            going = threading.Event()

            def flood():
                with service.udp() as client:
                    while not going.is_set():
                        with contextlib.suppress(OSError):
                            client.send(b"x" * 100)
            threads = [threading.Thread(target=flood) for _ in range(2)]
            for thread in threads:
                thread.start()
            try:
                wait_for(lambda: service.counts()["echoed"] > 1000, "the flood")
                self.assertEqual(service.stop(), 0)
            finally:
                going.set()
                for thread in threads:
                    thread.join()
            end = service.find("echoing has ended")
            self.assertEqual(end["received"], end["echoed"] + end["dropped"])


class Rpc(unittest.TestCase):

    WATCH = CONTROL + "WatchStats"

    def test_out_of_descriptors(self):
        # gRPC stopped listening for good, while health and readiness said that all was well.
        with Service(BINARY, "--listen=127.0.0.1:0", ready=False) as service:
            resource.prlimit(service.process.pid, resource.RLIMIT_NOFILE, (48, 48))
            service.wait_ready()
            before = Unharmed(self, service)
            clients = [http2(service) for _ in range(60)]
            # The last is free again when a connection couldn't be handed to gRPC; so is that of a
            # page which is just being closed.
            wait_for(lambda: service.descriptors() >= 45, "the descriptors to be used up")
            cpu, began = service.cpu(), time.monotonic()
            with service.udp() as client:
                for number in range(20):
                    client.send(b"%d" % number)
                    self.assertEqual(client.recv(64), b"%d" % number)
                    time.sleep(0.05)  # it has time to spin
            self.assertLess(service.cpu() - cpu, 0.2 * (time.monotonic() - began), "it waits, not spins")
            for client in clients:
                client.close()
            before.check()
            idle = [socket.create_connection(service.address("http"), timeout=10) for _ in range(60)]
            wait_for(lambda: service.descriptors() == 48, "the descriptors to be used up")
            late = http2(service)  # waits in the backlog
            late.sendall(request(1, CONTROL + "GetStats"))
            for client in idle:
                client.close()
            self.assertTrue(late.recv(64), "taken after all")
            late.close()
            before.check()

    def test_clients_that_never_read_their_stream(self):
        with echo("--service.drain_limit=1s") as service:
            before = Unharmed(self, service)
            every_100_ms = b"\x0a\x06\x10\x80\xc2\xd7\x2f"
            clients = []
            for _ in range(10):
                client = http2(service, window=0)
                client.sendall(b"".join(request(1 + 2 * i, self.WATCH, every_100_ms) for i in range(50)))
                clients.append(client)
            started = 'grpc_server_started_total{grpc_type="server_stream",' \
                'grpc_service="braid.echo.v1.EchoControl",grpc_method="WatchStats"}'
            wait_for(lambda: service.metrics()[started] == 500, "the streams")
            memory = service.memory()
            time.sleep(1)  # ten updates each, that nobody takes
            self.assertLess(service.memory() - memory, MIB, "they are not piled up")
            for client in clients[1:]:
                client.close()
            wait_for(lambda: service.descriptors() <= before.descriptors + 2, "the descriptors to be released")
            self.assertLess(service.memory() - before.memory, 24 * MIB)
            self.assertEqual(service.stop(), 0, "nor do they keep the process")
            clients[0].close()

    def test_calls_that_are_reset_at_once(self):
        # CVE-2023-44487. Each costs gRPC some 40 KiB until it is handled, and malloc keeps that;
        # what is reused doesn't add up.
        with echo() as service:
            def attack(count):
                with http2(service) as client:
                    for first in range(0, count, 500):
                        client.sendall(b"".join(request(1 + 2 * i, self.WATCH) + reset(1 + 2 * i)
                                                for i in range(first, first + 500)))
                        with contextlib.suppress(BlockingIOError):
                            client.setblocking(False)
                            while client.recv(MIB):
                                pass
                        client.settimeout(20)
            before = Unharmed(self, service)
            for _ in range(4):
                attack(10000)
                self.assertEqual(service.get("/healthz", timeout=5)[0], 200)
                quiet(service)
            # All 40,000 kept would be 1.6 GiB.
            before.check(1024 * MIB)

    def test_calls_that_never_send_their_request(self):
        with echo() as service:
            before = Unharmed(self, service)
            with http2(service) as client:
                client.sendall(b"".join(headers(1 + 2 * i, CONTROL + "GetStats") for i in range(1000)))
                self.assertTrue(rpc_answers(service))
                self.assertEqual(service.get("/readyz")[0], 200)
            before.check(64 * MIB)

    def test_frames_of_garbage(self):
        noise = random.Random(1)
        with echo() as service:
            before = Unharmed(self, service)
            for _ in range(200):
                with http2(service) as client, contextlib.suppress(ConnectionError):
                    for _ in range(20):
                        client.sendall(frame(noise.randrange(12), noise.randrange(256),
                                             noise.choice((0, 1, 3, 2**31 - 1)), noise.randbytes(noise.randrange(40))))
            before.check()
            service.stop()
            self.assertEqual(len(service.lines), len(service.records), service.log())


if __name__ == "__main__":
    unittest.main(verbosity=2)
