"""scripts/monitoring as a test runs it, somebody who is told of alerts, and a node whose breakers open soon."""
import contextlib
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))
from node import Node, binary, eventually  # noqa: E402,F401

# One breaker that tries again at once, one that stays open until somebody closes it.
POLICY = """
[breaker."mail/*"]
min_calls = 2
open_wait_s = 1
open_wait_max_s = 1
half_open_permits = 1
[breaker."payments/*"]
min_calls = 2
open_wait_s = 3600
open_wait_max_s = 3600
"""


@contextlib.contextmanager
def node(folder, *settings):
    config = folder / "portcullis.toml"
    config.write_text(POLICY)
    (folder / "node").mkdir()
    with Node(*settings, config=config, folder=folder / "node") as running:
        yield running


class Told(http.server.ThreadingHTTPServer):
    """A receiver of Alertmanager's notifications, in a thread of its own."""

    def __init__(self):
        self.notifications = []
        told = self.notifications

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):  # noqa: N802
                told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/"

    def of(self, alert, status):
        """The alerts of that name and status that came."""
        return [each for notification in self.notifications for each in notification["alerts"]
                if each["labels"]["alertname"] == alert and each["status"] == status]

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


def start_script(folder, *arguments):
    """The script's process, and the file that its words go to."""
    folder.mkdir(exist_ok=True)
    out = folder / "script.out"
    # A process group of its own: Ctrl-C goes to all of it, as from a terminal.
    with open(out, "wb") as sink:
        process = subprocess.Popen([str(ROOT / "scripts/monitoring"), "--dir", str(folder / "monitoring"), *arguments],
                                   stdout=sink, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                                   # Who runs tests in the background has it ignored, and a shell cannot trap that.
                                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    return process, out


def is_of(pid, folder):
    """Whether the process is there and was started with files of `folder`: a number may be another's by now."""
    with contextlib.suppress(OSError):
        return os.fsencode(str(folder)) in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
    return False


class Monitoring:
    """Prometheus and Alertmanager by scripts/monitoring, ready when made."""

    def __init__(self, folder, *arguments):
        self.folder = folder

        def ready():
            said = out.read_text()
            if self.script.poll() is not None:
                return said
            return said if "Ctrl-C stops" in said else None

        # A port that was free may be another's a moment later: then once more, with others.
        for _ in range(5):
            self.script, out = start_script(folder, "--free-ports", *arguments)
            self.said = eventually(ready, "scripts/monitoring is ready or has ended")
            logs = "".join(log.read_text(errors="replace") for log in (folder / "monitoring").glob("*.log"))
            if self.script.poll() is None or "address already in use" not in logs:
                break
        assert self.script.poll() is None, f"scripts/monitoring ended: {self.said}"
        (self.prometheus, self.prometheus_pid), (self.alertmanager, self.alertmanager_pid) = (
            (address, int(pid)) for address, pid in re.findall(r"^(?:Prometheus|Alertmanager) (http://\S+) \(process (\d+)\)", self.said, re.M))

    def ask(self, query):
        """The result of an instant query, empty where Prometheus is not there."""
        data = urllib.parse.urlencode({"query": query}).encode()
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/query", data, timeout=30) as answer:
            return json.load(answer)["data"]["result"]

    def alerts(self):
        """{(alert, state)} that Prometheus has now."""
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/alerts", timeout=30) as answer:
            return {(each["labels"]["alertname"], each["state"]) for each in json.load(answer)["data"]["alerts"]}

    def arrived(self):
        """{alert} that are active at Alertmanager now."""
        with urllib.request.urlopen(f"{self.alertmanager}/api/v2/alerts?active=true&silenced=false&inhibited=false", timeout=30) as answer:
            return {each["labels"]["alertname"] for each in json.load(answer)}

    def stop(self):
        """Ctrl-C; the exit status. Nothing of it is left."""
        os.killpg(self.script.pid, signal.SIGINT)
        status = self.script.wait(timeout=60)
        for pid in (self.prometheus_pid, self.alertmanager_pid):
            eventually(lambda pid=pid: not is_of(pid, self.folder), f"process {pid} has ended")
        return status

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in (self.prometheus_pid, self.alertmanager_pid):
            if is_of(pid, self.folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.script.kill()  # ours until it is waited for
        self.script.wait()


CONTEXT = {"ip": "203.0.113.7", "user_agent": "Firefox"}


def surge(running, users=20):
    """Somebody tries stolen session ids from elsewhere: as many lockouts as users."""
    with contextlib.closing(running.connect()) as client:
        for number in range(users):
            user = {"tenant_id": "acme", "user_id": f"user-{number}"}
            session = client.call("session.create", {**user, "context": CONTEXT})["session_id"]
            for guess in range(10):
                got = client.call("session.validate", {"session_id": session, "context": {**CONTEXT, "ip": f"198.51.100.{guess}"}})
                assert got["reason"] == "ip_mismatch", got
            assert client.call("lockout.status", user)["locked"]


def flap(running, times=4):
    """A downstream that is up for one call and down again: its breaker opens so often."""
    mail = {"service": "mail"}
    with contextlib.closing(running.connect()) as client:
        for _ in range(times):
            def opened():
                return client.call("breaker.report", {**mail, "outcome": "failure", "duration_ms": 5})["state"] == "open"

            def permit():
                return client.call("breaker.acquire", mail).get("permit")

            eventually(opened, "the breaker opens")
            asked = eventually(permit, "the breaker lets one try")
            epoch = client.call("breaker.status", mail)["epoch"]
            state = client.call("breaker.report", {**mail, "outcome": "success", "duration_ms": 5, "permit": asked, "epoch": epoch})["state"]
            assert state == "closed", state


def outage(running):
    """A downstream fails, and its breaker stays open."""
    with contextlib.closing(running.connect()) as client:
        state = ""
        for _ in range(2):
            state = client.call("breaker.report", {"service": "payments", "outcome": "failure", "duration_ms": 5})["state"]
        assert state == "open", state


def recovery(running):
    with contextlib.closing(running.connect()) as client:
        assert client.call("breaker.reset", {"service": "payments", "reason": "the downstream is back"})["state"] == "closed"


class Clock:
    """How long after its cause each thing was first seen."""

    def __init__(self):
        self.begun, self.seen = {}, {}

    def begin(self, what):
        self.begun[what] = time.monotonic()

    def see(self, what, which):
        self.seen.setdefault((what, which), time.monotonic() - self.begun[what])

    def __str__(self):
        return "\n".join(f"{what}: {which} after {took:.1f} s" for (what, which), took in self.seen.items())
