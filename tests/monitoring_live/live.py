"""scripts/monitoring and the alerts as they are shipped, for real; one case a run: live.py CASE prints what is wrong and exits 1."""
import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

import stack as s
from stack import eventually

CAUSES = {"CircuitBreakerFlapping": s.flap, "LockoutSurge": s.surge, "CircuitBreakerOpen": s.outage}


def watch(monitoring, told, clock):
    """Notes what Prometheus, Alertmanager and its receiver have now; what is firing at Prometheus."""
    states = monitoring.alerts()
    arrived = monitoring.arrived()
    for alert in CAUSES:
        for state in ("pending", "firing"):
            if (alert, state) in states:
                clock.see(alert, state)
        if alert in arrived:
            clock.see(alert, "at Alertmanager")
        if told.of(alert, "firing"):
            clock.see(alert, "told")
    return {alert for alert, state in states if state == "firing"}


def causes(monitoring, running, clock):
    scraped = f'up{{job="portcullis",instance="127.0.0.1:{running.http_port}"}} == 1'
    eventually(lambda: monitoring.ask(scraped), "the node is scraped")
    early = {alert for alert, _ in monitoring.alerts()} & set(CAUSES)
    assert not early, f"before anything happened there is {early}"
    # Counters are there before what they count, as on a node that has been running.
    eventually(lambda: monitoring.ask("job:portcullis_lockouts:rate5m"), "the rules have run")
    for alert, cause in CAUSES.items():
        cause(running)
        clock.begin(alert)


def told_in_full(told):
    """Each notification leads to a runbook that is there, and to a dashboard."""
    for alert in CAUSES:
        notes = told.of(alert, "firing")[0]["annotations"]
        assert pathlib.Path(notes["runbook_url"]).samefile(s.ROOT / f"monitoring/runbooks/{alert}.md"), notes
        assert "/d/portcullis-" in notes["dashboard_url"] and notes["summary"], notes


def fired(monitoring, running, told, clock, within_s):
    causes(monitoring, running, clock)

    def all_told():
        watch(monitoring, told, clock)
        return all((alert, "told") in clock.seen for alert in CAUSES)

    eventually(all_told, "all three alerts have arrived", within_s)
    assert ("CircuitBreakerOpen", "pending") in clock.seen, clock.seen
    for alert in CAUSES:
        assert clock.seen[alert, "firing"] <= clock.seen[alert, "told"], clock
    listed = subprocess.run(["amtool", f"--alertmanager.url={monitoring.alertmanager}", "alert", "query"], capture_output=True,
                            text=True, check=True).stdout
    assert all(alert in listed for alert in CAUSES), listed
    told_in_full(told)


def ended(monitoring, told, clock, alert, within_s):
    def over():
        return told.of(alert, "resolved") and alert not in watch(monitoring, told, clock) | monitoring.arrived()

    eventually(over, f"{alert} is over", within_s)
    clock.see(alert, "over")
    print(f"{alert}: over after {clock.seen[alert, 'over']:.1f} s", flush=True)


def alerts_fire_arrive_and_end(folder):
    """With scrapes and rules every second. Lockouts are judged over 5 minutes and flapping over 15: their end is the long case's."""
    clock = s.Clock()
    with s.node(folder) as running, s.Told() as told, s.Monitoring(
            folder, "--http", f"127.0.0.1:{running.http_port}", "--interval", "1s", "--webhook", told.url) as monitoring:
        fired(monitoring, running, told, clock, 150)
        s.recovery(running)
        clock.begin("CircuitBreakerOpen")
        ended(monitoring, told, clock, "CircuitBreakerOpen", 60)
        firing = watch(monitoring, told, clock)
        assert {"LockoutSurge", "CircuitBreakerFlapping"} <= firing, f"{firing} must still be firing"
        assert monitoring.stop() == 0
    print(clock)


def alerts_within_five_minutes(folder):
    """With the intervals of production, from cause to firing and to the end of each."""
    clock = s.Clock()
    with s.node(folder) as running, s.Told() as told, s.Monitoring(
            folder, "--http", f"127.0.0.1:{running.http_port}", "--webhook", told.url) as monitoring:
        assert "every 15s" in monitoring.said, monitoring.said
        fired(monitoring, running, told, clock, 600)
        print(clock, flush=True)
        late = {what: took for what, took in clock.seen.items() if what[1] == "firing" and took >= 300}
        assert not late, f"not within five minutes: {late}"
        s.recovery(running)
        clock.begin("CircuitBreakerOpen")
        for alert, within_s in (("CircuitBreakerOpen", 180), ("LockoutSurge", 600), ("CircuitBreakerFlapping", 1200)):
            ended(monitoring, told, clock, alert, within_s)
        assert monitoring.stop() == 0
    print(clock)


class Load:
    """Requests without a pause, of which every answer is known beforehand; what differed."""

    def __init__(self, running):
        self.client = running.connect()
        self.session = self.client.call("session.create", {"tenant_id": "acme", "user_id": "ada", "context": s.CONTEXT})["session_id"]
        self.client.call("breaker.acquire", {"service": "search"})
        self.made, self.wrong, self.stopped = 0, [], False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        asked = [("session.validate", {"session_id": self.session, "context": s.CONTEXT}, ("valid", True)),
                 ("session.validate", {"session_id": "00" * 32, "context": s.CONTEXT}, ("reason", "not_found")),
                 ("breaker.acquire", {"service": "search"}, ("allowed", True)),
                 ("lockout.status", {"tenant_id": "acme", "user_id": "ada"}, ("locked", False))]
        try:
            while not self.stopped:
                for method, params, (field, wanted) in asked:
                    got = self.client.reply(method, params)
                    if got.get("result", {}).get(field) != wanted:
                        self.wrong.append((method, got))
                    self.made += 1
        except Exception as broken:  # the test's thread has to hear of it
            self.wrong.append(("connection", repr(broken)))

    def more(self, requests=200):
        """So many more were answered, each as it has to be."""
        before = self.made
        eventually(lambda: self.made >= before + requests or self.wrong, "requests are answered")
        assert not self.wrong, self.wrong[:3]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped = True
        self.thread.join()
        self.client.close()


def scrape(running, times):
    """So many GETs of /metrics on one connection after another; how many were answered in full."""
    full = 0
    for _ in range(times):
        with urllib.request.urlopen(f"http://127.0.0.1:{running.http_port}/metrics", timeout=60) as answer:
            full += b"\nportcullis_build_info{" in answer.read()
    return full


def the_server_answers_whatever_monitoring_does(folder):
    """Prometheus is killed and comes back, ten scrape at once: no answer changes, and each shows in a metric."""
    with s.node(folder) as running, Load(running) as load:
        arguments = ("--http", f"127.0.0.1:{running.http_port}", "--interval", "1s")
        with s.Monitoring(folder, *arguments) as monitoring:
            eventually(lambda: monitoring.ask("count_over_time(up[1m]) > 3"), "a few scrapes")
            load.more()
            os.kill(monitoring.prometheus_pid, signal.SIGKILL)
            killed = time.time()
            assert monitoring.script.wait(timeout=60) == 1
            said = (folder / "script.out").read_text()
            assert "prometheus has ended" in said, said
            eventually(lambda: not pathlib.Path(f"/proc/{monitoring.alertmanager_pid}").exists(), "Alertmanager was stopped with it")
            eventually(lambda: time.time() > killed + 4, "Prometheus has been away for four seconds")
            load.more()
        with s.Monitoring(folder, *arguments) as monitoring:
            eventually(lambda: monitoring.ask("up == 1"), "the node is scraped again")
            assert monitoring.ask(f"up @ {killed - 1:.3f}"), "a second start has lost what the first had"
            eventually(lambda: monitoring.ask("max_over_time(portcullis_scrape_gap_seconds[1m]) >= 4"), "the gap shows")
            load.more()

            before = running.metrics()['portcullis_http_requests_total{route="metrics",status="2xx"}']
            counts, scrapers = [], []
            for _ in range(10):
                scrapers.append(threading.Thread(target=lambda: counts.append(scrape(running, 20))))
                scrapers[-1].start()
            load.more()
            for thread in scrapers:
                thread.join()
            assert counts == [20] * 10, counts
            load.more()
            after = running.metrics()['portcullis_http_requests_total{route="metrics",status="2xx"}']
            assert after >= before + 200, (before, after)
            assert monitoring.ask("up == 1")
        assert not load.wrong


def a_scraper_that_never_reads_is_cut_off(folder):
    """It asks again and again and takes nothing: it is closed and counted; nobody else notices."""
    cut = 'portcullis_connection_rejections_total{listener="http",reason="slow_reader"}'
    with s.node(folder) as running, Load(running) as load:
        before = running.metrics()[cut]
        greedy = socket.socket()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect(("127.0.0.1", running.http_port))
        greedy.setblocking(False)
        request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

        def is_cut():
            load.more(20)
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                greedy.send(request)
            return running.metrics()[cut] > before

        with greedy:
            eventually(is_cut, "the scraper that never reads is cut off", 90)
        load.more()
        assert scrape(running, 1) == 1


def script(folder, *arguments):
    """(exit status, what it said) of a start that does not come off."""
    process, out = s.start_script(folder, *arguments)
    try:
        return process.wait(timeout=60), out.read_text()
    finally:
        process.kill()
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def a_missing_server_is_named(folder):
    port = free_port()
    status, said = script(folder, "--http", f"127.0.0.1:{port}", "--free-ports")
    assert status == 1 and f"no server answers on http://127.0.0.1:{port}" in said and "scripts/run" in said, (status, said)


def a_port_in_use_is_named(folder):
    with s.node(folder) as running, contextlib.ExitStack() as taken:
        # Whoever has it: this test, or something else on this machine.
        probe = taken.enter_context(socket.socket())
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", 9090))
            probe.listen()
        status, said = script(folder, "--http", f"127.0.0.1:{running.http_port}")
        assert status == 1 and "port 9090, of Prometheus, is in use" in said and "--free-ports" in said, (status, said)


def a_token_is_asked_for_and_used(folder):
    token = folder / "token"
    made = subprocess.run([s.binary(), "token", "new", "--name", "prometheus", "--role", "observer", "--out",
                           str(token)], capture_output=True, text=True, check=True).stdout
    config = folder / "portcullis.toml"
    config.write_text(re.search(r"\[\[auth\.token\]\].*", made, re.S).group(0))
    (folder / "node").mkdir()
    with s.Node("server.environment=development", "auth.mode=token", "listen.http.auth=token", config=config, folder=folder / "node",
                open_to_all=False) as running:
        http = ("--http", f"127.0.0.1:{running.http_port}", "--interval", "1s")
        status, said = script(folder, *http, "--free-ports")
        assert status == 1 and "answers 401" in said and "--token-file" in said, (status, said)
        status, said = script(folder, *http, "--free-ports", "--token-file", str(folder / "none"))
        assert status == 66 and "cannot be read" in said, (status, said)
        with s.Monitoring(folder, *http, "--token-file", str(token)) as monitoring:
            eventually(lambda: monitoring.ask("up == 1"), "the node is scraped with the token")
            secret = token.read_text().strip()
            shown = subprocess.run(["ps", "-ww", "-eo", "args"], capture_output=True, text=True, check=True).stdout
            assert secret not in shown + monitoring.said, "the token is shown"


def wrong_arguments_are_told(folder):
    for arguments in (("--http", "7480"), ("--interval", "soon"), ("--webhook", "file:///etc"), ("--loud",), ("--dir",)):
        status, said = script(folder, *arguments)
        assert status == 64 and "--" in said, (arguments, status, said)


CASES = {case.__name__: case for case in (
    alerts_fire_arrive_and_end, alerts_within_five_minutes, the_server_answers_whatever_monitoring_does,
    a_scraper_that_never_reads_is_cut_off, a_missing_server_is_named, a_port_in_use_is_named, a_token_is_asked_for_and_used,
    wrong_arguments_are_told)}


def main():
    if len(sys.argv) != 2 or sys.argv[1] not in CASES:
        sys.exit(f"usage: live.py {'|'.join(CASES)}")
    # Before scripts/monitoring would install it.
    for tool, package in (("prometheus", "prometheus"), ("prometheus-alertmanager", "prometheus-alertmanager"), ("curl", "curl")):
        if not shutil.which(tool):
            sys.exit(f"{tool} is not there: package {package} (scripts/install-deps)")
    with tempfile.TemporaryDirectory(prefix="portcullis-test-") as name:
        try:
            CASES[sys.argv[1]](pathlib.Path(name))
        except AssertionError as wrong:
            sys.exit(str(wrong) or f"{sys.argv[1]} does not hold")


if __name__ == "__main__":
    main()
