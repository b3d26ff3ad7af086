#!/usr/bin/python3
"""The UDP echo service as a process, with clients that others wrote.

Everything runs on loopback, on ports that the system chose.
"""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import harness  # noqa: E402
from harness import Service, eventually, need, run, wait_for  # noqa: E402

BINARY = harness.built("services/udp_echo/udp_echo")


def echo(*flags, **options):
    return Service(BINARY, "--listen=127.0.0.1:0", *flags, **options)


def exchange(client, payload, timeout=2):
    """The reply to a datagram, None if none comes."""
    client.settimeout(timeout)
    client.send(payload)
    try:
        return client.recv(65536)
    except TimeoutError:
        return None


def drops(service):
    return {reason: count for reason, count in service.counts()["dropped"].items() if count}


def adds_up(test, service):
    """Once nothing is under way, each datagram has one outcome."""
    def outcomes(counts):
        return counts["echoed"] + sum(counts["dropped"].values())

    def settled():  # a reply is counted after it went out
        counts = service.counts()
        return counts["received"] == outcomes(counts)
    eventually(settled)
    counts = service.counts()
    test.assertEqual(counts["received"], outcomes(counts), counts)
    return counts


class Clients(unittest.TestCase):
    """Programs that know nothing of Braid."""

    def test_socat(self):
        with echo() as service:
            host, port = service.address("echo")
            result = run(need("socat"), "-t1", "-", f"UDP4:{host}:{port}", input="from socat\n")
            self.assertEqual(result.stdout, "from socat\n")

    def test_netcat(self):
        with echo() as service:
            host, port = service.address("echo")
            result = run(need("nc"), "-u", "-w1", host, port, input="from netcat\n")
            self.assertEqual(result.stdout, "from netcat\n")

    def test_bash(self):
        with echo() as service:
            host, port = service.address("echo")
            script = (f"exec 3<>/dev/udp/{host}/{port}; echo from bash >&3; "
                      "timeout 5 dd bs=65536 count=1 status=none <&3")
            self.assertEqual(run("bash", "-c", script).stdout, "from bash\n")

    def test_ipv6_and_both_families_on_one_socket(self):
        with Service(BINARY, "--listen=[::]:0") as service:
            port = service.address("echo")[1]
            for family, host in ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"),
                                 (socket.AF_INET, "127.0.0.77")):
                with socket.socket(family, socket.SOCK_DGRAM) as client:
                    client.connect((host, port))
                    self.assertEqual(exchange(client, b"hello"), b"hello", host)

    def test_several_listeners_and_shards(self):
        with Service(BINARY, "--listen=127.0.0.1:0", "--listen=127.0.0.2:0",
                     "--shards=2", "--limits.rate=0") as service:
            addresses = [tuple(record["address"].rsplit(":", 1)) for record in service.records
                         if record.get("msg") == "listening"
                         and record.get("endpoint") == "echo"]
            self.assertEqual(len(addresses), 2)
            for host, port in addresses:
                for number in range(40):  # the kernel spreads them over the shards
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                        client.connect((host, int(port)))
                        payload = f"{number}".encode()
                        self.assertEqual(exchange(client, payload), payload)
            counts = adds_up(self, service)
            self.assertEqual(counts["echoed"], 80)
            # Only the main loop was to be seen.
            switches = wait_for(lambda: (lambda found: len(found) == 2 and min(found.values()) > 2 and found)(
                {name: value for name, value in service.metrics().items()
                 if name.startswith("braid_loop_switches_total")}), "both loops to report")
            self.assertEqual(sorted(switches), ['braid_loop_switches_total{loop="main"}',
                                                'braid_loop_switches_total{loop="shard-1"}'])
            self.assertEqual(service.stop(), 0)


class Datagrams(unittest.TestCase):

    def test_every_size_comes_back_unmodified(self):
        with echo() as service, service.udp() as client:
            sizes = [0, 1, 2, 63, 64, 1472, 1473, 9000, 65506, 65507]
            for size in sizes:
                payload = os.urandom(size)
                self.assertEqual(exchange(client, payload), payload, size)
            counts = adds_up(self, service)
            self.assertEqual(counts["echoed"], len(sizes))
            values = service.metrics()
            self.assertEqual(values["braid_echo_received_bytes_total"], sum(sizes))
            self.assertEqual(values["braid_echo_echoed_bytes_total"], sum(sizes))
            self.assertEqual(values["braid_echo_reply_seconds_count"], len(sizes))

    def test_oversize_is_dropped_and_counted(self):
        with echo("--max_datagram_bytes=512") as service, service.udp() as client:
            self.assertEqual(exchange(client, b"x" * 512), b"x" * 512)
            self.assertIsNone(exchange(client, b"x" * 513, timeout=0.3))
            self.assertEqual(drops(service), {"truncated": 1})
            adds_up(self, service)

    def test_echo_like_ports_get_no_reply(self):
        with echo("--loop_prone_port=40007") as service:
            for source, reason in ((("127.0.0.1", 40007), "source_port"),
                                   (("127.0.0.5", service.address("echo")[1]), "own_endpoint")):
                with service.udp(source=source) as client:
                    self.assertIsNone(exchange(client, b"loop", timeout=0.3))
                self.assertEqual(drops(service)[reason], 1)
            with service.udp() as client:
                self.assertEqual(exchange(client, b"hello"), b"hello")

    def test_two_instances_do_not_loop(self):
        # One forged datagram that says to each that it comes from the other. On one port: nobody answers.
        with echo() as first:
            port = first.address("echo")[1]
            with Service(BINARY, f"--listen=127.0.0.2:{port}") as second:
                with first.udp(connect=False, source=("127.0.0.3", port)) as forger:
                    forger.sendto(b"loop", ("127.0.0.1", port))
                    forger.sendto(b"loop", ("127.0.0.2", port))
                wait_for(lambda: first.counts()["received"] == 1
                         and second.counts()["received"] == 1, "both to see it")
                self.assertEqual(first.counts()["echoed"] + second.counts()["echoed"], 0)

    def test_a_loop_over_other_ports_dies_at_the_rate_limit(self):
        # On different ports neither can know the other. The first datagram that is over the rate ends it.
        limits = ("--limits.rate=20", "--limits.burst=50")
        # A port for the second that is free again when it starts, and from which a datagram can be forged before.
        forger = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        forger.bind(("127.0.0.2", 0))
        port = forger.getsockname()[1]
        with echo(*limits) as first:
            # It waits in the queue of the first until that goes on.
            first.signal(signal.SIGSTOP)
            forger.sendto(b"loop", first.address("echo"))
            forger.close()
            with Service(BINARY, f"--listen=127.0.0.2:{port}", *limits) as second:
                first.signal(signal.SIGCONT)

                def dead():
                    return first.counts()["dropped"]["rate_limited"] + \
                        second.counts()["dropped"]["rate_limited"] == 1
                wait_for(dead, "the loop to be dropped once")
                before = first.counts(), second.counts()
                time.sleep(0.3)
                self.assertEqual((first.counts(), second.counts()), before, "it is over")
                self.assertLessEqual(before[0]["echoed"], 60)
                self.assertGreater(before[0]["echoed"], 1, "there was a loop")

    def test_rate_limit_is_by_prefix(self):
        with echo("--limits.rate=0.001", "--limits.burst=3") as service:
            def answers(address, count=5):
                got = 0
                with service.udp(source=(address, 0)) as client:
                    for _ in range(count):
                        got += exchange(client, b"x", timeout=0.15) is not None
                return got
            self.assertEqual(answers("127.1.1.1"), 3)
            self.assertEqual(answers("127.1.1.2"), 0, "the same /24")
            self.assertEqual(answers("127.1.2.1"), 3, "another /24")
            self.assertEqual(drops(service), {"rate_limited": 9})
            adds_up(self, service)

    def test_kernel_drops_are_counted(self):
        with echo("--receive_buffer_bytes=4096", "--limits.rate=0") as service:
            with service.udp() as client:
                service.signal(signal.SIGSTOP)
                for _ in range(200):
                    client.send(b"x" * 64)
                service.signal(signal.SIGCONT)
                wait_for(lambda: (lambda c: c["received"] + c["kernel"] == 200)(service.counts()),
                         "received and dropped by the kernel to be all that was sent")
                self.assertGreater(service.counts()["kernel"], 0)


class Flood(unittest.TestCase):

    def test_many_sources_with_bounded_memory(self):
        prefixes = 1024
        with echo("--limits.rate=1", "--limits.burst=2", f"--limits.max_prefixes={prefixes}",
                  "--receive_buffer_bytes=4194304") as service:
            host, port = service.address("echo")
            sent = 0

            def volley(first, last):
                nonlocal sent
                for number in range(first, last):
                    source = f"127.{1 + number // 250 // 250}.{number // 250 % 250}.{1 + number % 250}"
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                        client.bind((source, 0))
                        for _ in range(3):
                            client.sendto(b"flood", (host, port))
                            sent += 1
            volley(0, 250)
            memory, descriptors = service.memory(), service.descriptors()
            volley(250, 12000)  # 48 /24s of 250 hosts each
            for second in range(60):  # and prefixes of one host, more than the table has
                for third in range(0, 250, 5):
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                        client.bind((f"127.{100 + second}.{third}.1", 0))
                        client.sendto(b"flood", (host, port))
                        sent += 1

            def all_there():
                counts = service.counts()
                return counts if counts["received"] + counts["kernel"] == sent else None
            counts = wait_for(all_there, f"{sent} datagrams to be accounted for")
            adds_up(self, service)
            self.assertGreater(counts["dropped"]["rate_limited"], 20000)
            self.assertGreater(counts["dropped"]["table_full"], 0)
            self.assertLess(service.memory() - memory, 8 << 20)
            self.assertLessEqual(service.descriptors(), descriptors + 1)
            status, _ = service.get("/readyz")
            self.assertEqual(status, 200)


class Life(unittest.TestCase):

    def test_health_and_readiness(self):
        with echo() as service:
            self.assertEqual(service.get("/healthz")[0], 200)
            self.assertEqual(service.get("/readyz")[0], 200)
            self.assertEqual(service.get("/nowhere")[0], 404)
            status, tasks = service.get("/tasks")
            self.assertEqual(status, 200)
            self.assertIn("echo", tasks)

    def test_sigterm_answers_what_is_queued_and_exits_0(self):
        with echo("--limits.rate=0") as service, service.udp() as client:
            service.signal(signal.SIGSTOP)
            for number in range(100):
                client.send(f"{number}".encode())
            service.signal(signal.SIGTERM)
            service.signal(signal.SIGCONT)
            self.assertEqual(service.wait(), 0)
            client.settimeout(2)
            self.assertEqual([client.recv(64) for _ in range(100)],
                             [f"{number}".encode() for number in range(100)])

    def test_not_ready_while_it_drains_and_a_second_signal_ends_it(self):
        with echo("--service.lame_duck=30s", "--service.drain_limit=30s") as service:
            service.signal(signal.SIGTERM)
            wait_for(lambda: service.get("/readyz")[0] == 503, "not ready")
            self.assertEqual(service.get("/healthz")[0], 200)
            with service.udp() as client:
                self.assertEqual(exchange(client, b"lame duck"), b"lame duck")
            service.signal(signal.SIGINT)
            self.assertEqual(service.wait(5), 128 + signal.SIGINT)

    def test_sigint_drains_too(self):
        with echo() as service:
            service.signal(signal.SIGINT)
            self.assertEqual(service.wait(), 0)

    def test_sighup_applies_what_can_change_and_refuses_the_rest(self):
        with tempfile.TemporaryDirectory() as folder:
            config = pathlib.Path(folder) / "echo.textproto"
            config.write_text("limits { rate: 0.001 burst: 1 }\n")
            with echo(f"--config={config}") as service, service.udp() as client:
                self.assertIsNotNone(exchange(client, b"1"))
                self.assertIsNone(exchange(client, b"2", timeout=0.3))
                config.write_text("limits { rate: 0 }\nshards: 3\n")
                service.signal(signal.SIGHUP)
                service.wait_log("configuration reloaded")
                self.assertIsNotNone(exchange(client, b"3"), "no limit any more")
                refused = service.wait_log("configuration changed where only a restart helps")
                self.assertIn("shards", json.dumps(refused))
                config.write_text("limits { rate: -1 }\n")
                service.signal(signal.SIGHUP)
                failed = service.wait_log("configuration not reloaded")
                self.assertIn("limits.rate", json.dumps(failed))
                self.assertIsNotNone(exchange(client, b"4"), "as it was")

    def test_sd_notify(self):
        with tempfile.TemporaryDirectory() as folder, \
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            path = os.path.join(folder, "notify")
            manager.bind(path)
            manager.settimeout(10)
            with echo(env={"NOTIFY_SOCKET": path}) as service:
                self.assertIn(b"READY=1", manager.recv(4096).split(b"\n"))
                service.signal(signal.SIGHUP)
                reloading = manager.recv(4096)
                self.assertIn(b"RELOADING=1", reloading.split(b"\n"))
                self.assertRegex(reloading, rb"MONOTONIC_USEC=\d+")
                self.assertIn(b"READY=1", manager.recv(4096).split(b"\n"))
                service.signal(signal.SIGTERM)
                self.assertIn(b"STOPPING=1", manager.recv(4096).split(b"\n"))
                self.assertEqual(service.wait(), 0)

    def test_a_taken_port_is_named(self):
        for kind, flag in ((socket.SOCK_DGRAM, "--listen"),
                           (socket.SOCK_STREAM, "--service.http_listen"),
                           (socket.SOCK_STREAM, "--service.rpc_listen")):
            with socket.socket(socket.AF_INET, kind) as holder:
                holder.bind(("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    holder.listen()
                address = "127.0.0.1:%d" % holder.getsockname()[1]
                result = run(BINARY, "--listen=127.0.0.1:0", "--service.http_listen=127.0.0.1:0",
                             "--service.rpc_listen=127.0.0.1:0", f"{flag}={address}")
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(address, result.stderr)

    def test_wrong_flags_are_one_line_and_exit_2(self):
        for flag, names in (("--limits.rate=fast", ("limits.rate", "fast")),
                            ("--limits.rate=-1", ("limits.rate", "-1")),
                            ("--no_such_flag=1", ("no_such_flag",)),
                            ("--listen=nowhere", ("listen", "nowhere")),
                            ("--shards=0", ("shards", "0")),
                            ("--config=/no/such/file", ("/no/such/file",)),
                            ("stray", ("stray",))):
            result = run(BINARY, flag)
            self.assertEqual(result.returncode, 2, (flag, result.stderr))
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            for name in names:
                self.assertIn(name, result.stderr, flag)

    def test_help_names_every_flag_and_default(self):
        result = run(BINARY, "--help")
        self.assertEqual(result.returncode, 0)
        for flag in ("--listen", "--limits.rate", "--shards", "--service.http_listen", "--config"):
            self.assertIn(flag, result.stdout)

    def test_a_full_disk_under_the_logs(self):
        with open("/dev/full", "w") as full:
            port = free_port()
            http = free_port(socket.SOCK_STREAM)
            with Service(BINARY, f"--listen=127.0.0.1:{port}", http=f"127.0.0.1:{http}",
                         stderr=full) as service:
                def ready():
                    with contextlib.suppress(OSError):
                        with urllib.request.urlopen(f"http://127.0.0.1:{http}/readyz", timeout=2) as page:
                            return page.status == 200
                wait_for(ready, "/readyz")
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                    client.connect(("127.0.0.1", port))
                    self.assertEqual(exchange(client, b"hello"), b"hello")
                service.signal(signal.SIGTERM)
                self.assertEqual(service.wait(), 0)

    def test_idle_takes_less_than_a_hundredth_of_a_core(self):
        with echo() as service:
            time.sleep(0.5)  # what starting left to do
            cpu = service.cpu()
            began = time.monotonic()
            time.sleep(4)
            share = (service.cpu() - cpu) / (time.monotonic() - began)
            self.assertLess(share, 0.01)


class Http(unittest.TestCase):

    def test_prometheus_scrapes_it(self):
        with echo() as service, service.udp() as client, tempfile.TemporaryDirectory() as folder:
            exchange(client, b"hello")
            result = run(need("promtool"), "check", "metrics", input=service.get("/metrics")[1])
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            config = pathlib.Path(folder) / "prometheus.yml"
            config.write_text(
                "global: {scrape_interval: 250ms, scrape_timeout: 250ms}\n"
                "scrape_configs:\n- job_name: echo\n  static_configs:\n"
                "  - targets: ['%s:%d']\n" % service.address("http"))
            port = free_port(socket.SOCK_STREAM)
            prometheus = subprocess.Popen(
                [need("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                 f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"],
                stderr=subprocess.PIPE)
            try:
                def query(expression):
                    url = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode(
                        {"query": expression})
                    with contextlib.suppress(OSError):
                        with urllib.request.urlopen(url, timeout=5) as reply:
                            result = json.load(reply)["data"]["result"]
                            return result and float(result[0]["value"][1])
                self.assertEqual(wait_for(lambda: query("braid_echo_datagrams_echoed_total"),
                                          "Prometheus to know the counter"), 1)
                self.assertEqual(query("up"), 1)
                self.assertIn("braid_build_info", service.get("/metrics")[1])
            finally:
                prometheus.kill()
                prometheus.communicate()

    def test_openmetrics_if_asked_for(self):
        with echo() as service:
            _, text = service.get("/metrics", {"Accept": "application/openmetrics-text;version=1.0.0"})
            self.assertTrue(text.endswith("# EOF\n"), text[-100:])

    def test_bad_requests_and_idle_clients_leave_it_alone(self):
        with echo() as service:
            address = service.address("http")
            descriptors = service.descriptors()
            # Malformed, too long, a body, an unknown method: an answer that says so, or a closed connection; never silence.
            for request in (b"nonsense\r\n\r\n", b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n\r\n",
                            b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello",
                            b"\x00\xff\x00\xff\r\n\r\n",
                            b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 20000 + b"\r\n"):
                with socket.create_connection(address, timeout=10) as client:
                    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                        client.sendall(request)
                    with contextlib.suppress(ConnectionResetError):
                        answer = client.recv(4096)
                        if answer:
                            self.assertRegex(answer, rb"^HTTP/1\.[01] 4\d\d ", request[:20])
            # More clients that never say anything than there are places: the next one is served all the same.
            silent = [socket.create_connection(address, timeout=10) for _ in range(200)]
            self.assertEqual(service.get("/healthz")[0], 200)
            self.assertLess(service.descriptors(), descriptors + 100)
            for client in silent:
                client.close()
            wait_for(lambda: service.descriptors() <= descriptors + 1, "descriptors to be released")
            self.assertEqual(service.get("/readyz")[0], 200)


def free_port(kind=socket.SOCK_DGRAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    unittest.main(verbosity=2)
