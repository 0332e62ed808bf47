"""Real nodes brought into the condition that an alert is about. Each scene is a context that gives the variables of the
runbook's head, and the HTTP ports that Prometheus scrapes."""
import contextlib
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from node import Client, Node, PATIENCE_S, ROOT, binary, eventually  # noqa: E402

SCENES = {}


class Scene:
    """What a scene tells: `variables` for the shell, `targets` for Prometheus, and how Prometheus is started."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.variables = {}
        self.targets = []
        self.thresholds = True
        self.interval_s = 1
        self.again = lambda: None  # what keeps the condition going, before each command

    def of(self, node):
        """`node` is the one that the alert names."""
        self.variables.update(ADDRESS=f"127.0.0.1:{node.port}", HTTP=f"http://127.0.0.1:{node.http_port}",
                              DATA_DIR=str(node.data_dir), KEYS_FILE=str(node.data_dir / "portcullis.keys"),
                              LOG=str(node.log_path), PID=str(node.process.pid))
        self.targets = [node.http_port]
        return self


def scene(*alerts):
    def keep(function):
        for alert in alerts:
            SCENES[alert] = contextlib.contextmanager(function)
        return function
    return keep


# --- what many begin with

def fail(client, count=20, service="mail"):
    for _ in range(count):
        client.call("breaker.report", {"service": service, "outcome": "failure", "duration_ms": 31, "error_kind": "connect"})


def breaker_state(client, service="mail", breaker="default"):
    return client.call("breaker.status", {"service": service, "breaker": breaker})["state"]


def session(client, user, ip="203.0.113.7"):
    return client.call("session.create", {"tenant_id": "acme", "user_id": user, "context": {"ip": ip, "user_agent": "Firefox"}})


def validate(client, session_id, ip="203.0.113.7"):
    return client.call("session.validate", {"session_id": session_id, "context": {"ip": ip, "user_agent": "Firefox"}})


def send(node, method, params, count=1):
    """Requests whose replies are not waited for; the connection."""
    client = node.connect()
    request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode() + b"\n"
    client.socket.sendall(request * count)
    return client


class Disk:
    """A disk under a node that can be full or hang (tests/e2e/disk_shim.cpp)."""

    def __init__(self, folder):
        self.file = pathlib.Path(folder) / "disk"
        self.is_("")
        shim = os.environ.get("PORTCULLIS_DISK_SHIM") or str(ROOT / "build/release/tests/e2e/libe2e_disk_shim.so")
        if not os.path.exists(shim):
            raise AssertionError(f"{shim} is not built: target e2e_disk_shim")
        self.environment = {"LD_PRELOAD": shim, "PORTCULLIS_E2E_DISK": str(self.file)}

    def is_(self, word):
        self.file.write_text(word)


def value(node, name):
    return node.metrics().get(name, 0)


# --- breakers

@scene("CircuitBreakerOpen", "CircuitBreakerErrorBudgetBurn")
def an_open_breaker(folder):
    with Node("breaker.open_wait_s=3600") as node:
        client = node.connect()
        fail(client)
        assert breaker_state(client) == "open"
        yield Scene(folder).of(node)


@scene("CircuitBreakerRejectionRatio")
def a_breaker_that_rejects(folder):
    with Node("breaker.open_wait_s=3600") as node:
        client = node.connect()
        fail(client)
        for _ in range(30):
            assert not client.call("breaker.acquire", {"service": "mail"})["allowed"]
        yield Scene(folder).of(node)


@scene("CircuitBreakerFlapping")
def a_flapping_breaker(folder):
    settings = ["breaker.open_wait_s=1", "breaker.open_wait_max_s=1", "breaker.half_open_permits=1"]
    with Node(*settings) as node:
        client = node.connect()
        for round_ in range(4):
            fail(client)
            if round_ == 3:
                break
            permit = eventually(lambda: client.call("breaker.acquire", {"service": "mail"}).get("permit"), "a try is allowed")
            client.call("breaker.report", {"service": "mail", "outcome": "success", "duration_ms": 9, "permit": permit})
            assert breaker_state(client) == "closed"
        scene_ = Scene(folder).of(node)
        scene_.variables.update(BACKUP=f"{folder}/backup.db", COPY=f"{folder}/copy")
        yield scene_


@scene("CircuitBreakerHalfOpenStuck")
def half_open_phases_that_nobody_decides(folder):
    with Node("breaker.open_wait_s=1", "breaker.open_wait_max_s=1", "breaker.max_half_open_s=1") as node:
        client = node.connect()
        fail(client)
        timed_out = ('circuit_breaker_transitions_total{breaker="default",from="half_open",reason="probe_timeout",'
                     'service="mail",source="hosted",to="open"}')
        eventually(lambda: value(node, timed_out) >= 3, "three phases without a decision")
        yield Scene(folder).of(node)


def observe(client, seq, state="closed"):
    return client.call("breaker.observe", {
        "service": "shop", "breaker": "search", "source": "web-1", "source_epoch": 1, "seq": seq, "state": state,
        "counts": {"success": 100 * seq, "failure": seq}})


@scene("ObservedReportStale")
def an_observed_breaker_that_nobody_reports(folder):
    with Node() as node:
        client = node.connect()
        observe(client, 1)
        client.close()
        yield Scene(folder).of(node)


@scene("ObservedReportAbsent")
def an_observed_breaker_that_was_retired(folder):
    with Node("breaker.retire_after_s=1") as node:
        client = node.connect()
        observe(client, 1)
        eventually(lambda: client.call("events.query", {"types": ["breaker_retired"]})["events"], "the breaker is retired")
        yield Scene(folder).of(node)


@scene("BreakerOverrideLeftOn")
def an_override(folder):
    with Node() as node:
        node.connect().call("breaker.override", {"service": "mail", "mode": "forced_open", "reason": "migration"})
        yield Scene(folder).of(node)


@scene("BreakerSeriesOverflow")
def more_breakers_than_series(folder):
    with Node("metrics.breakers_max=1") as node:
        client = node.connect()
        for service in ("mail", "maps", "music"):
            fail(client, 1, service)
        yield Scene(folder).of(node)


# --- sessions

@scene("LockoutSurge")
def a_surge_of_lockouts(folder):
    with Node() as node:
        client = node.connect()
        for user in range(12):
            one = session(client, f"user-{user}")["session_id"]
            for _ in range(10):
                assert validate(client, one, "198.51.100.9")["reason"] == "ip_mismatch"
            assert validate(client, one)["reason"] == "locked_out"
        scene_ = Scene(folder).of(node)
        scene_.variables.update(BACKUP=f"{folder}/backup.db", COPY=f"{folder}/copy")
        yield scene_


@scene("SessionReuseDetected")
def a_replaced_id_that_comes_back(folder):
    with Node() as node:
        client = node.connect()
        old = session(client, "ada")["session_id"]
        client.call("session.rotate", {"session_id": old, "context": {"ip": "203.0.113.7", "user_agent": "Firefox"}, "grace": False})
        assert not validate(client, old)["valid"]
        yield Scene(folder).of(node)


@scene("ValidationFailureRatio")
def validations_from_elsewhere(folder):
    with Node() as node:
        client = node.connect()
        for user in range(3):
            one = session(client, f"user-{user}")["session_id"]
            for _ in range(40):
                validate(client, one)
            for _ in range(5):
                validate(client, one, "198.51.100.9")
        yield Scene(folder).of(node)


# --- the store

@scene("StoreDegraded", "StoreErrors")
def a_full_disk(folder):
    disk = Disk(folder)
    with Node(environment=disk.environment) as node:
        client = node.connect()
        session(client, "ada")
        disk.is_("full")
        assert client.reply("session.create", {"tenant_id": "acme", "user_id": "bob", "context": {"ip": "203.0.113.7"}})[
            "error"]["data"]["error"] == "STORE_FULL"
        eventually(lambda: value(node, "portcullis_store_degraded") == 1, "the store is degraded")
        yield Scene(folder).of(node)


@scene("EventLogStalled", "Overloaded")
def a_disk_that_hangs(folder):
    disk = Disk(folder)
    with Node("limits.request_timeout_ms=100", environment=disk.environment) as node:
        session(node.connect(), "ada")
        disk.is_("held")
        kept = [send(node, "session.create", {"tenant_id": "acme", "user_id": "bob", "context": {"ip": "203.0.113.7"}}, 5)]
        timed_out = 'portcullis_requests_total{error="REQUEST_TIMEOUT",method="session.create"}'
        eventually(lambda: value(node, timed_out) >= 5, "requests time out")
        scene_ = Scene(folder).of(node)
        scene_.interval_s = 3  # a page takes two seconds then: the journal does not answer in time
        # Some go on timing out, as in a real stall: a counter that stands still has no increase.
        scene_.again = lambda: kept.append(
            send(node, "session.create", {"tenant_id": "acme", "user_id": "bob", "context": {"ip": "203.0.113.7"}}))
        yield scene_
        disk.is_("")


@scene("EventLogSlow")
def a_slow_disk(folder):
    disk = Disk(folder)
    with Node(environment=disk.environment) as node:
        client = node.connect()

        def slow_commit():
            disk.is_("held")
            waiting = send(node, "session.create", {"tenant_id": "acme", "user_id": "bob", "context": {"ip": "203.0.113.7"}})
            begun = time.monotonic()
            eventually(lambda: time.monotonic() > begun + 0.6, "more than half a second has gone")
            disk.is_("")
            waiting.lines.readline()
            waiting.close()
            # On a busy machine the commit may have begun late: then once more.
            return value(node, 'portcullis_event_log_commit_seconds_bucket{le="0.5"}') < value(
                node, 'portcullis_event_log_commit_seconds_bucket{le="+Inf"}')

        session(client, "ada")
        eventually(slow_commit, "a commit took more than half a second")
        yield Scene(folder).of(node)


@contextlib.contextmanager
def a_fleet(folder, *settings, count=2):
    """(nodes, the Redis process, its URL)"""
    for program, package in (("redis-server", "redis-server"), ("redis-cli", "redis-tools")):
        if not shutil.which(program):
            raise AssertionError(f"{program} is missing: install {package}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    redis = subprocess.Popen(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
                              "--maxmemory-policy", "noeviction"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}"
    try:
        eventually(lambda: subprocess.run(["redis-cli", "-u", url, "ping"], capture_output=True).stdout == b"PONG\n", "Redis answers")
        keys = pathlib.Path(folder) / "portcullis.keys"
        subprocess.run([binary(), "keys", "new", "--out", str(keys)], check=True, capture_output=True)
        with contextlib.ExitStack() as stack:
            nodes = []
            for number in range(1, count + 1):
                nodes.append(stack.enter_context(Node(f"server.node_id=node-{number}", f"crypto.keys_file={keys}", "store.mode=redis",
                                                      f"store.redis.url={url}", *settings)))
            eventually(lambda: all(value(node, "portcullis_fleet_nodes") == count for node in nodes), "the nodes hear each other")
            yield nodes, redis, url
    finally:
        redis.send_signal(signal.SIGCONT)
        redis.kill()
        redis.wait()


@scene("SharedStoreDegraded")
def a_redis_that_is_down(folder):
    with a_fleet(folder) as (nodes, redis, url):
        redis.kill()
        redis.wait()
        eventually(lambda: value(nodes[0], "breaker_shared_store_degraded") == 1, "the shared log is away")
        scene_ = Scene(folder).of(nodes[0])
        scene_.variables["REDIS"] = url
        scene_.targets = [node.http_port for node in nodes]
        yield scene_


@scene("FleetStale")
def a_redis_that_hangs(folder):
    # With so much patience the node takes a Redis that hangs for a slow one.
    with a_fleet(folder, "store.redis.timeout_ms=60000") as (nodes, redis, url):
        redis.send_signal(signal.SIGSTOP)
        eventually(lambda: value(nodes[0], "portcullis_fleet_staleness_seconds") > 1, "the node is stale")
        scene_ = Scene(folder).of(nodes[0])
        scene_.variables["REDIS"] = url
        yield scene_


@scene("FleetNodeMissing")
def a_node_that_died(folder):
    with a_fleet(folder) as (nodes, _, _url):
        gone = nodes[1]
        gone.kill()
        eventually(lambda: value(nodes[0], "portcullis_fleet_nodes") == 1, "the other is not heard any more")
        scene_ = Scene(folder).of(nodes[0])
        scene_.targets = [node.http_port for node in nodes]
        yield scene_


# --- nodes

@scene("InstanceDown")
def a_node_that_is_down(folder):
    with Node() as node:
        session(node.connect(), "ada")
        scene_ = Scene(folder).of(node)
        node.kill()
        yield scene_


@scene("InstancesAbsent")
def a_prometheus_without_targets(folder):
    with Node() as node:
        scene_ = Scene(folder).of(node)
        scene_.targets = []
        yield scene_


@scene("PortcullisThresholdsMissing")
def a_prometheus_without_thresholds(folder):
    with Node() as node:
        scene_ = Scene(folder).of(node)
        scene_.thresholds = False
        scene_.variables["THRESHOLDS"] = str(ROOT / "monitoring/rules/thresholds.yaml")
        yield scene_


@scene("InstanceRestarting")
def a_node_that_starts_again_and_again(folder):
    with Node() as node:
        for _ in range(2):
            node.kill()
            node.start()
        yield Scene(folder).of(node)


@scene("LoopLag")
def a_node_that_gets_no_time(folder):
    with Node() as node:
        node.process.send_signal(signal.SIGSTOP)
        begun = time.monotonic()
        eventually(lambda: time.monotonic() > begun + 0.6, "it stood still for more than half a second")
        node.process.send_signal(signal.SIGCONT)
        eventually(lambda: value(node, 'portcullis_loop_lag_seconds_bucket{le="0.25"}') < value(
            node, 'portcullis_loop_lag_seconds_bucket{le="+Inf"}'), "a timer was late")
        yield Scene(folder).of(node)


@scene("ConnectionsRejected")
def a_full_listener(folder):
    with Node("listen.rpc.max_connections=2") as node:
        kept = [node.connect(), node.connect()]
        for client in kept:
            client.call("server.ping")
        turned_away = socket.create_connection(("127.0.0.1", node.port), timeout=PATIENCE_S)
        with contextlib.suppress(ConnectionError):
            assert turned_away.recv(1) == b""
        yield Scene(folder).of(node)


@scene("DescriptorsNearLimit")
def a_node_with_few_descriptors(folder):
    with Node() as node:
        kept = [node.connect() for _ in range(60)]
        for client in kept:
            client.call("server.ping")
        limit = int(value(node, "process_open_fds")) + 6  # for those who ask
        resource.prlimit(node.process.pid, resource.RLIMIT_NOFILE, (limit, 4096))
        yield Scene(folder).of(node)


def with_certificates(folder, days, crl=None):
    made = pathlib.Path(folder) / "certs"
    subprocess.run([binary(), "certs", "dev", "--out", str(made), "--days", str(days)], check=True, capture_output=True)
    if crl:
        (made / "index").write_text("")
        config = made / "ca.cnf"
        config.write_text(f"[ca]\ndefault_ca=own\n[own]\ndatabase={made}/index\ndefault_md=sha256\n")
        subprocess.run(["openssl", "ca", "-gencrl", "-config", str(config), "-cert", str(made / "ca.pem"), "-keyfile",
                        str(made / "ca-key.pem"), "-crldays", str(crl), "-out", str(made / "crl.pem")], check=True, capture_output=True)
    return made, ["listen.rpc_tls.address=127.0.0.1:0", f"tls.certificate_file={made}/server.pem", f"tls.key_file={made}/server-key.pem",
                  f"tls.client_ca_file={made}/ca.pem", f"tls.crl_file={made}/crl.pem", "tls.client_certificates=optional"]


@scene("TlsCertificateExpiring")
def a_certificate_for_five_days(folder):
    made, settings = with_certificates(folder, 5)
    with Node(*settings) as node:
        scene_ = Scene(folder).of(node)
        scene_.variables["CERTIFICATE"] = str(made / "server.pem")
        yield scene_


@scene("RevocationListExpiring")
def a_revocation_list_for_a_day(folder):
    made, settings = with_certificates(folder, 30, crl=1)
    with Node(*settings) as node:
        scene_ = Scene(folder).of(node)
        scene_.variables["CRL"] = str(made / "crl.pem")
        yield scene_


@scene("ConfigReloadFailed")
def a_broken_configuration(folder):
    config = pathlib.Path(folder) / "node.toml"
    config.write_text("[lockout]\nthreshold = 10\n")
    with Node(config=config) as node:
        config.write_text("[lockout]\nthreshold = 0\n")
        node.process.send_signal(signal.SIGHUP)
        eventually(lambda: value(node, "portcullis_config_last_reload_success") == 0
                   and value(node, 'portcullis_config_reloads_total{result="failure"}') == 1, "the reload was refused")
        scene_ = Scene(folder).of(node)
        scene_.variables["CONFIG"] = str(config)
        yield scene_


@scene("ScrapesMissed")
def a_node_that_was_not_scraped(folder):
    with Node() as node:
        session(node.connect(), "ada")
        fail(node.connect())
        eventually(lambda: value(node, "portcullis_scrape_gap_seconds") > 0, "it was scraped before")
        yield Scene(folder).of(node)


class PipedNode(Node):
    """A node whose standard error is a pipe that is read until it is ready, and then no more."""

    def start(self):
        self.process = subprocess.Popen(
            [binary(), "serve", "--data-dir", str(self.data_dir), "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--set",
             "server.environment=development", "--set", "auth.mode=none", *(word for each in self.settings for word in ("--set", each))],
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        while True:
            line = self.process.stderr.readline()
            if not line:
                raise AssertionError(f"serve ended with {self.process.wait()}")
            said = json.loads(line)
            if said.get("message") == "The node is ready.":
                break
        self.port, self.http_port = (int(said[key].rsplit(":", 1)[1]) for key in ("rpc", "http"))

    def kill(self):
        super().kill()
        if self.process and self.process.stderr:
            self.process.stderr.close()


@scene("LogDropping")
def a_log_that_nobody_reads(folder):
    with PipedNode("log.level=trace") as node:
        def more():
            client = node.connect()
            for user in range(300):
                one = session(client, f"user-{user % 7}")["session_id"]
                validate(client, one)
                client.call("session.revoke", {"session_id": one})
            client.close()
            return value(node, "portcullis_log_dropped_total") > 0
        eventually(more, "lines are dropped")
        yield Scene(folder).of(node)


@scene("LogNotWritten")
def a_log_whose_reader_is_gone(folder):
    with PipedNode() as node:
        node.process.stderr.close()

        def more():
            client = node.connect()
            fail(client)
            client.call("breaker.reset", {"service": "mail", "reason": "again"})
            client.close()
            return value(node, "portcullis_log_write_errors_total") > 0
        eventually(more, "lines are refused")
        yield Scene(folder).of(node)
