"""A node of the real binary on ports of its own choice, for tests that are not C++, and a client of it.

Waits have conditions and deadlines; nothing sleeps for a guess. PORTCULLIS_TEST_BINARY names the binary, as for the end-to-end
tests; else build/release/portcullis of the repository.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_S = 60


def binary():
    """The binary under test."""
    return os.environ.get("PORTCULLIS_TEST_BINARY") or str(ROOT / "build/release/portcullis")


def eventually(condition, what, within_s=PATIENCE_S):
    """What `condition()` returned when it first was true; AssertionError(what) after `within_s`."""
    until = time.monotonic() + within_s
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > until:
            raise AssertionError(f"not within {within_s} s: {what}")
        time.sleep(0.02)


class Client:
    """One JSON-RPC connection."""

    def __init__(self, port, host="127.0.0.1"):
        self.socket = socket.create_connection((host, port), timeout=PATIENCE_S)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        self.last_id = 0

    def reply(self, method, params=None):
        """The whole reply: with `result` or `error`."""
        self.last_id += 1
        request = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params or {}}
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        while True:
            line = self.lines.readline()
            if not line:
                raise AssertionError(f"{method}: the connection was closed")
            got = json.loads(line)
            if got.get("id") == self.last_id:
                return got

    def call(self, method, params=None):
        """The result; AssertionError where it is an error."""
        got = self.reply(method, params)
        if "result" not in got:
            raise AssertionError(f"{method}: {got['error']}")
        return got["result"]

    def close(self):
        self.lines.close()
        self.socket.close()


class Node:
    """`portcullis serve` in a folder of its own, ready when made; `with Node() as node:` ends it."""

    def __init__(self, *settings, config=None, folder=None, environment=None, open_to_all=True):
        self._own = None if folder else tempfile.TemporaryDirectory(prefix="portcullis-test-")
        self.folder = pathlib.Path(folder or self._own.name)
        self.log_path = self.folder / "log.ndjson"
        self.data_dir = self.folder / "data"
        self.settings = list(settings)
        self.config = config
        self.environment = environment or {}
        self.open_to_all = open_to_all
        self.process = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        command = [binary(), "serve", "--data-dir", str(self.data_dir), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"]
        if self.config:
            command += ["--config", str(self.config)]
        if self.open_to_all:
            command += ["--set", "server.environment=development", "--set", "auth.mode=none"]
        for setting in self.settings:
            command += ["--set", setting]
        begun = self.log_path.stat().st_size if self.log_path.exists() else 0
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stderr=log, stdout=log, stdin=subprocess.DEVNULL,
                                            env={**os.environ, **self.environment})

        def ready():
            for line in self.log(begun):
                if line.get("message") == "The node is ready.":
                    return line
            if self.process.poll() is not None:
                raise AssertionError(f"serve ended with {self.process.returncode}: {self.log_path.read_text()[-2000:]}")
            return None

        line = eventually(ready, "the node is ready")
        self.port, self.http_port = (int(line[key].rsplit(":", 1)[1]) for key in ("rpc", "http"))

    def log(self, begin=0):
        """The lines of the process log, parsed."""
        with open(self.log_path, "rb") as log:
            log.seek(begin)
            return [json.loads(line) for line in log.read().splitlines(keepends=True) if line.endswith(b"\n")]

    def connect(self):
        return Client(self.port)

    def get(self, path):
        """(status, body) of a GET."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read().decode()

    def metrics(self):
        """{series as it is written: value} of /metrics."""
        status, page = self.get("/metrics")
        assert status == 200, page
        rows = (line.rsplit(" ", 1) for line in page.splitlines() if line and not line.startswith("#"))
        return {series: float(value) for series, value in rows}

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()

    def terminate(self):
        """SIGTERM; the exit status."""
        self.process.terminate()
        return self.process.wait(timeout=PATIENCE_S)

    def close(self):
        self.kill()
        if self._own:
            self._own.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
