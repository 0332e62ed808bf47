"""Every panel has data: a real Prometheus scrapes real nodes through a whole story, and every query of every panel is asked of it.

The story: a node of its own with TLS, and two that share a Redis; sessions, lockouts, reuse, circuit breakers of both kinds, an
override, subscribers, forward-auth, a reload. Then the gate: each metric that rules, alerts, panels and runbooks name is on a page
of /metrics, and each metric of docs/metrics.md, too.
"""
import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import boards as b  # noqa: E402
from node import Client, Node, binary, eventually  # noqa: E402

CHOICE = {"job": "portcullis", "instance": ".*", "service": ".*", "breaker": ".*"}
WINDOW = "15s"  # what $__rate_interval is where a scrape comes every second


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def program(command, log, ready):
    """Runs it until the end of the block; `ready()` says when it can be used."""
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
    try:
        def up():
            assert process.poll() is None, f"{command[0]} ended: {pathlib.Path(log).read_text()[-2000:]}"
            return ready()
        eventually(up, f"{command[0]} is ready")
        yield process
    finally:
        process.kill()
        process.wait()


def answers(url):
    def asked():
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
    return asked


@contextlib.contextmanager
def prometheus(folder, targets):
    """A Prometheus with the rules as they are shipped; its address."""
    port = free_port()
    config = folder / "prometheus.yml"
    config.write_text(json.dumps({  # JSON is YAML
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(b.ROOT / "monitoring/rules/*.yaml"), str(b.ROOT / "monitoring/alerts/*.yaml")],
        "scrape_configs": [{"job_name": "portcullis", "static_configs": [{"targets": targets}]}]}))
    address = f"http://127.0.0.1:{port}"
    with program(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                  f"--web.listen-address=127.0.0.1:{port}"], folder / "prometheus.log", answers(f"{address}/-/ready")):
        yield address


def ask(address, kind, **parameters):
    """The result of a query (`query`, `query_range`); AssertionError with what Prometheus says where it is none."""
    data = urllib.parse.urlencode(parameters).encode()
    try:
        with urllib.request.urlopen(f"{address}/api/v1/{kind}", data, timeout=60) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as refused:
        raise AssertionError(f"{parameters['query']}: {refused.read().decode()}") from refused


def substituted(expr):
    expr = expr.replace("$__rate_interval", WINDOW)
    for name, value in CHOICE.items():
        expr = re.sub(rf"\$\{{?{name}\b\}}?", value, expr)
    assert "$" not in expr, expr
    return expr


def rows(address, expr, instant, begun):
    """The series that a query has, each as {label: value}; those of nothing but NaN are none."""
    if instant:
        found = [(row["metric"], [row["value"]]) for row in ask(address, "query", query=substituted(expr))]
    else:
        now = time.time()
        found = [(row["metric"], row["values"]) for row in
                 ask(address, "query_range", query=substituted(expr), start=begun, end=now, step=1)]
    return [labels for labels, values in found if any(value != "NaN" for _, value in values)]


def faults(address, begun, all_boards):
    """A line for each query without data, or whose legend names a label that a line has not."""
    for name, board in all_boards.items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                metric, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
                if not [each for each in rows(address, f"group by ({label}) ({metric})", True, begun) if each]:
                    yield f"{name}: the variable {variable['name']} has no values"
        for where, expr, target in b.queries(board):
            if target is None:
                continue
            found = rows(address, expr, target["instant"], begun)
            if not found:
                yield f"{name}: {where}: no data: {substituted(expr)}"
                continue
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            bare = [labels for labels in found if named - set(labels) and not ("vector(0)" in expr and not labels)]
            if bare:
                yield f"{name}: {where}: the legend {target['legendFormat']!r} has no {sorted(named - set(bare[0]))} in {bare[0]}"


class Story:
    """What happens to the nodes: once all of it, then rounds of everyday calls until every window has seen some."""

    def __init__(self, alone, fleet, certificates):
        self.alone, self.fleet, self.certificates = alone, fleet, certificates
        self.clients = [node.connect() for node in (alone, *fleet)]
        self.seq, self.round, self.epoch = 0, 0, int(time.time())

    @staticmethod
    def context(ip="203.0.113.7"):
        return {"ip": ip, "user_agent": "Firefox"}

    def create(self, client, user):
        return client.call("session.create", {"tenant_id": "acme", "user_id": user, "context": self.context()})["session_id"]

    def reuse(self, client):
        """A replaced id after its grace."""
        first = self.create(client, "ruth")
        second = client.call("session.rotate", {"session_id": first, "context": self.context(), "grace": False})["session_id"]
        del second
        assert client.call("session.validate", {"session_id": first, "context": self.context()})["valid"] is False

    def breakers(self, client):
        """One that opens, one that an operator forces, an observed one, and a report that is refused."""
        for _ in range(4):
            client.call("breaker.report", {"service": "mail", "outcome": "failure", "duration_ms": 30, "error_kind": "connect"})
        client.call("breaker.acquire", {"service": "mail"})
        client.call("breaker.acquire", {"service": "pay", "breaker": "cards"})
        client.call("breaker.override", {"service": "pay", "breaker": "cards", "mode": "forced_open", "reason": "maintenance"})
        self.observe(client)
        refused = client.reply("breaker.observe", {"service": "shop", "breaker": "search", "source": "web-1", "source_epoch": self.epoch,
                                                   "seq": self.seq + 1, "state": "closed", "counts": {"success": 0}})
        assert refused["error"]["data"]["error"] == "BREAKER_COUNTS_DECREASED", refused

    def observe(self, client):
        self.seq += 1
        client.call("breaker.observe", {"service": "shop", "breaker": "search", "source": "web-1", "source_epoch": self.epoch,
                                        "seq": self.seq, "state": "closed", "counts": {"success": 10 * self.seq, "failure": self.seq}})

    def handshake(self):
        """One over TLS that is taken, one that is none."""
        done = subprocess.run([binary(), "call", "--address", f"tls://localhost:{self.alone.tls_port}", "--ca",
                               str(self.certificates / "ca.pem"), "server.ping"], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        with socket.create_connection(("127.0.0.1", self.alone.tls_port)) as plain:
            plain.sendall(b"GET / HTTP/1.1\r\n\r\n")
            plain.recv(100)

    def begin(self):
        self.subscriber = self.alone.connect()
        self.subscriber.call("events.subscribe")
        for client in self.clients:
            for user in ("ada", "bob", "eve"):
                stolen = self.create(client, user)
                for guess in range(11):
                    client.call("session.validate", {"session_id": stolen, "context": self.context(f"198.51.100.{guess}")})
        self.reuse(self.clients[0])
        for client in self.clients[:2]:
            self.breakers(client)
        self.clients[0].call("admin.reload")

    def go_on(self):
        self.round += 1
        for client in self.clients:
            session = self.create(client, f"user-{self.round}")
            for _ in range(3):
                assert client.call("session.validate", {"session_id": session, "context": self.context()})["valid"]
            client.call("session.revoke", {"session_id": session})
            for outcome in ("success", "success", "failure", "timeout"):
                client.call("breaker.acquire", {"service": "search"})
                client.call("breaker.report", {"service": "search", "outcome": outcome, "duration_ms": 40, "error_kind": "status_5xx"}
                            if outcome == "failure" else {"service": "search", "outcome": outcome, "duration_ms": 40})
            client.call("breaker.acquire", {"service": "mail"})
            client.reply("session.validate", {"session_id": "no"})
        self.observe(self.clients[0])
        self.clients[0].call("events.query", {"limit": 1})
        self.handshake()
        for node in (self.alone, *self.fleet):
            node.get("/authz/auth-request")
            node.get("/livez")


@contextlib.contextmanager
def nodes(folder):
    """(a node of its own with TLS, [two nodes of a fleet], the folder of certificates)."""
    policy = ["breaker.min_calls=2", "breaker.open_wait_s=1", "breaker.half_open_permits=1", "session.rotation_grace_s=1"]
    certificates = folder / "certs"
    subprocess.run([binary(), "certs", "dev", "--out", str(certificates), "--host", "localhost"], check=True, capture_output=True)
    subprocess.run([binary(), "keys", "new", "--out", str(folder / "keys")], check=True, capture_output=True)
    redis = free_port()
    shared = ["store.mode=redis", f"store.redis.url=redis://127.0.0.1:{redis}", f"crypto.keys_file={folder / 'keys'}"]
    with contextlib.ExitStack() as stack:
        stack.enter_context(program(["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
                                     "--appendonly", "yes", "--maxmemory-policy", "noeviction"], folder / "redis.log",
                                    lambda: subprocess.run(["redis-cli", "-p", str(redis), "ping"], capture_output=True,
                                                           check=False).stdout == b"PONG\n"))
        alone = stack.enter_context(Node("listen.rpc_tls.address=127.0.0.1:0", f"tls.certificate_file={certificates / 'server.pem'}",
                                         f"tls.key_file={certificates / 'server-key.pem'}", f"tls.client_ca_file={certificates / 'ca.pem'}",
                                         f"tls.crl_file={certificates / 'crl.pem'}", "tls.client_certificates=optional", *policy))
        ready = next(line for line in alone.log() if line.get("message") == "The node is ready.")
        alone.tls_port = int(ready["rpc_tls"].rsplit(":", 1)[1])
        fleet = [stack.enter_context(Node(f"server.node_id=fleet-{number}", *shared, *policy)) for number in (1, 2)]
        yield alone, fleet, certificates


def named():
    """{metric: where it is named} of rules, alerts, panels, runbooks."""
    found = {}
    pattern = re.compile(r"(?<![\w:.$/-])((?:portcullis|circuit_breaker|breaker_shared|process)_[a-z_]+)(?![\w:(./-])")
    for folder, kind in (("rules", "*.yaml"), ("alerts", "*.yaml"), ("runbooks", "*.md")):
        for path in sorted((b.ROOT / "monitoring" / folder).glob(kind)):
            text = path.read_text(encoding="utf-8")
            text = re.sub(r"^\s*- name: \w+$", "", text, flags=re.M)
            for metric in pattern.findall(text):
                found.setdefault(metric, f"monitoring/{folder}/{path.name}")
    for name, board in b.load().items():
        for where, expr, _ in b.queries(board):
            for selector in b.selectors(expr):
                if pattern.fullmatch(selector.metric):
                    found.setdefault(selector.metric, f"{name}: {where}")
    return found


def missing(pages):
    """What is named somewhere and on no page of /metrics; and what docs/metrics.md promises and no page has."""
    there = set()
    for page in pages:
        there |= set(re.findall(r"^([a-z_]+)(?:\{| )", page, re.M))
    for metric, where in sorted(named().items()):
        if metric not in there and metric + "_bucket" not in there:
            yield f"{where}: {metric} is on no page"
    for metric in re.findall(r"^\| `(\w+)` \|", (b.ROOT / "docs/metrics.md").read_text(encoding="utf-8"), re.M):
        if metric not in there and metric + "_bucket" not in there:
            yield f"docs/metrics.md: {metric} is on no page"


def values_missing(pages, all_boards):
    """A line for each value of a label that a panel asks for and no series has: a query that is empty in part looks like peace."""
    # An error that a method seldom has gets its series with its first one.
    names = re.findall(r"^\|[^|]*\| `?([A-Z_]+)`? \|", (b.ROOT / "docs/errors.md").read_text(encoding="utf-8"), re.M)
    there = {("portcullis_requests_total", "error"): set(names)}
    for page in pages:
        for name, labels in re.findall(r"^([a-z_]+)\{(.*)\} ", page, re.M):
            for label, value in re.findall(r'(\w+)="([^"]*)"', labels):
                there.setdefault((name, label), set()).add(value)
    for name, board in all_boards.items():
        for where, expr, _ in b.queries(board):
            for selector in b.selectors(expr):
                for label, (_, wanted) in selector.matchers.items():
                    if "$" in wanted or ":" in selector.metric or selector.metric in {"ALERTS", ""}:
                        continue
                    for each in wanted.replace("\\\\", "\\").split("|"):
                        if not any(re.fullmatch(each, value) for value in there.get((selector.metric, label), ())):
                            yield f"{name}: {where}: no {selector.metric} has {label}={each!r}"


def planted(address, begun):
    """What is said where faults of these kinds are not seen: so that an empty list of faults says something."""
    all_boards = b.load()
    first, second, *_ = (panel["targets"][0] for panel in b.panels(all_boards["sessions.json"]) if panel["type"] == "timeseries")
    first["expr"] = first["expr"].replace("$job", "another")
    second["legendFormat"] = "{{color}}"
    variable = all_boards["breakers.json"]["templating"]["list"][3]
    variable["query"]["query"] = variable["query"]["query"].replace(", service)", ", servise)")
    seen = list(faults(address, begun, all_boards))
    if len(seen) != 3 or not all(any(sign in each for each in seen) for sign in ("no data", "color", "no values")):
        yield f"three faults were planted; seen: {seen}"
    if not list(missing([])):
        yield "an empty page has all metrics"
    second["expr"] = 'sum(portcullis_validations_total{result="vaild"})'
    if not any("vaild" in each for each in values_missing([], all_boards)):
        yield "a misspelt value is not seen"


def main():
    for tool, package in (("prometheus", "prometheus"), ("redis-server", "redis-server"), ("redis-cli", "redis-tools")):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not there: package {package} (scripts/install-deps test)")
    with tempfile.TemporaryDirectory(prefix="portcullis-test-") as name:
        folder = pathlib.Path(name)
        with nodes(folder) as (alone, fleet, certificates):
            targets = [f"127.0.0.1:{node.http_port}" for node in (alone, *fleet)]
            with prometheus(folder, targets) as address:
                begun = time.time()
                eventually(lambda: len(ask(address, "query", query="up == 1")) == 3, "all nodes are scraped")
                story = Story(alone, fleet, certificates)
                story.begin()
                left = [""]
                until = time.monotonic() + 90
                while left and time.monotonic() < until:
                    for _ in range(4):
                        scraped = ask(address, "query", query="timestamp(min(timestamp(up)))")
                        story.go_on()
                        eventually(lambda: ask(address, "query", query="timestamp(min(timestamp(up)))") != scraped, "a scrape")
                    left = list(faults(address, begun, b.load()))
                unseen = list(planted(address, begun))
                pages = [node.get("/metrics")[1] for node in (alone, *fleet)]
    left += missing(pages)
    left += values_missing(pages, b.load())
    left += unseen
    print("\n".join(left) or f"every panel of {len(b.load())} dashboards has data after {story.round} rounds")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
