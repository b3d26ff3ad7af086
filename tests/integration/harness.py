"""Runs services as processes of their own, and looks at them from outside.

For the integration tests and tools/check.py. A service is started on free ports
of loopback; what it says in its log (JSON lines on standard error) tells which.
Nothing here knows the code of a service.
"""

import http.client
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import threading
import time


class ServiceFailed(Exception):
    """A service did not do what it was waited for; its log is in the message."""


def wait_for(condition, what, timeout=20, interval=0.02):
    """Polls until condition() is true; gives its value."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise ServiceFailed(f"not within {timeout} s: {what}")
        time.sleep(interval)


def eventually(condition, timeout=5):
    """Whether condition() becomes true in time: for what somebody else then checks and reports."""
    try:
        wait_for(condition, "", timeout)
        return True
    except ServiceFailed:
        return False


class Service:
    """A running process; use it as a context manager."""

    def __init__(self, binary, *flags, env=None, stderr=None, ready=True,
                 http="127.0.0.1:0", rpc="127.0.0.1:0"):
        self.flags = ["--service.log.format=json", f"--service.http_listen={http}",
                      f"--service.rpc_listen={rpc}", *flags]
        self.lines = []
        self.records = []
        self._reader = None
        self.process = subprocess.Popen(
            [str(binary), *self.flags], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=stderr or subprocess.PIPE,
            env=dict(os.environ, **(env or {})))
        if stderr is None:
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        if ready and stderr is None:
            try:
                self.wait_ready()
            except BaseException:
                self.kill()
                raise

    def _read(self):
        for raw in self.process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            self.lines.append(line)
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict):
                self.records.append(record)

    # ---- what it says

    def log(self):
        return "\n".join(self.lines[-40:])

    def find(self, message):
        """The first log record with this message."""
        return next((record for record in list(self.records)
                     if record.get("msg") == message), None)

    def wait_log(self, message, timeout=20):
        def found():
            record = self.find(message)
            if record is None and self.process.poll() is not None:
                self._reader.join(5)
                record = self.find(message)
                if record is None:
                    raise ServiceFailed(f"exited with {self.process.returncode} "
                                        f"before saying {message!r}:\n{self.log()}")
            return record
        try:
            return wait_for(found, f"log record {message!r}", timeout)
        except ServiceFailed as failed:
            raise ServiceFailed(f"{failed}\n{self.log()}") from None

    def wait_ready(self):
        self.wait_log("ready")
        return self

    def address(self, what):
        """(host, port) of "echo", "http" or "rpc", as the log names it."""
        record = wait_for(lambda: next(
            (r for r in list(self.records) if r.get("msg") == "listening"
             and r.get("endpoint") == what), None), f"the address of {what}")
        host, port = record["address"].rsplit(":", 1)
        return host.strip("[]"), int(port)

    # ---- what it serves

    def get(self, path, headers=None, timeout=10):
        """(status, body) of an HTTP GET."""
        connection = http.client.HTTPConnection(*self.address("http"), timeout=timeout)
        try:
            connection.request("GET", path, headers=headers or {})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def metrics(self):
        """{'name{labels}': value} of a scrape."""
        status, text = self.get("/metrics")
        assert status == 200, (status, text)
        values = {}
        for line in text.splitlines():
            if line and not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                values[name] = float(value)
        return values

    def counts(self):
        """The echo service's counters: received, echoed, dropped by reason..."""
        values = self.metrics()
        prefix = "braid_echo_datagrams_dropped_total"
        dropped = {re.search(r'reason="([^"]*)"', name).group(1): int(value)
                   for name, value in values.items() if name.startswith(prefix)}
        return {"received": int(values["braid_echo_datagrams_received_total"]),
                "echoed": int(values["braid_echo_datagrams_echoed_total"]),
                "kernel": int(values["braid_echo_datagrams_kernel_dropped_total"]),
                "dropped": dropped}

    def udp(self, connect=True, source=None):
        """A UDP socket, connected to the echo port."""
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(2)
        if source:
            client.bind(source)
        if connect:
            client.connect(self.address("echo"))
        return client

    # ---- what it costs

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def memory(self):
        """Resident bytes."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status).group(1)) * 1024

    def cpu(self):
        """Seconds of processor time so far."""
        stat = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text()
        fields = stat.rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # ---- its end

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, timeout=20):
        """Its exit code, as a shell counts."""
        code = self.process.wait(timeout)
        if self._reader:
            self._reader.join(5)
        return code if code >= 0 else 128 - code

    def stop(self, timeout=20):
        """SIGTERM; gives the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                if self._reader and stream is self.process.stderr:
                    self._reader.join(5)
                stream.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


def run(*command, timeout=30, **kwargs):
    """A command to its end, with its output as text."""
    return subprocess.run([str(part) for part in command], text=True,
                          capture_output=True, timeout=timeout, **kwargs)


def need(program):
    """The path of a program that Debian packages; a test without it fails."""
    path = shutil.which(program)
    assert path, f"{program} is not installed: run tools/setup test"
    return path


def built(*path):
    """Something Bazel built: in the runfiles of a test, or in bazel-bin."""
    for root in (pathlib.Path.cwd(),
                 pathlib.Path(__file__).resolve().parents[2] / "bazel-bin"):
        file = root.joinpath(*path)
        if file.is_file():
            return file
    raise AssertionError(f"{'/'.join(path)} is not built")
