"""Checks of monitoring/provisioning; one a run: check_provisioning.py CASE prints what is wrong and exits 1."""
import contextlib
import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import urllib.request

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))
from node import eventually  # noqa: E402

FOLDER = ROOT / "monitoring/provisioning"
PROMETHEUS = FOLDER / "prometheus/prometheus.yml"
ALERTMANAGER = FOLDER / "alertmanager/alertmanager.yml"
TEMPLATES = FOLDER / "alertmanager/portcullis.tmpl"


def run(*command):
    """(exit status, all that it printed)."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout + done.stderr


def alerts():
    """{name: [rule]} of monitoring/alerts."""
    found = {}
    for path in sorted((ROOT / "monitoring/alerts").glob("*.yaml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                found.setdefault(rule["alert"], []).append(rule)
    assert found, "monitoring/alerts has no alerts"
    return found


def prometheus_takes_it():
    """Copied to another folder, with the tree's files in the places of an installation: promtool says SUCCESS also where it finds none."""
    with tempfile.TemporaryDirectory(prefix="portcullis-test-") as folder:
        place = pathlib.Path(folder)
        for part in ("rules", "alerts"):
            shutil.copytree(ROOT / "monitoring" / part, place / "usr/share/portcullis/monitoring" / part)
        (place / "etc/portcullis/monitoring").mkdir(parents=True)
        (place / "usr/share/portcullis/monitoring/rules/thresholds.yaml").rename(place / "etc/portcullis/monitoring/thresholds.yaml")
        copy = place / "somewhere/prometheus.yml"
        copy.parent.mkdir()
        copy.write_text(re.sub(r"^  - /", f"  - {folder}/", PROMETHEUS.read_text(encoding="utf-8"), flags=re.M), encoding="utf-8")
        status, text = run("promtool", "check", "config", str(copy))
    assert status == 0, text
    rules = sum(int(number) for number in re.findall(r"(\d+) rules found", text))
    kept = sum(len(group["rules"]) for part in ("rules", "alerts") for path in (ROOT / "monitoring" / part).glob("*.yaml")
               for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"])
    assert rules == kept > 0, f"it loads {rules} rules, monitoring/ has {kept}"


def prometheus_takes_the_examples_in_comments():
    text = re.sub(r"^  #(-|  )", r"  \1", PROMETHEUS.read_text(encoding="utf-8"), flags=re.M)
    jobs = [job["job_name"] for job in yaml.safe_load(text)["scrape_configs"]]
    assert jobs == ["portcullis", "portcullis-token", "portcullis-fleet"], jobs
    with tempfile.TemporaryDirectory(prefix="portcullis-test-") as folder:
        path = pathlib.Path(folder, "prometheus.yml")
        path.write_text(text, encoding="utf-8")
        status, said = run("promtool", "check", "config", "--syntax-only", str(path))
        assert status == 0, said
        path.write_text(text.replace("credentials_file", "credential_file"), encoding="utf-8")
        status, said = run("promtool", "check", "config", "--syntax-only", str(path))
        assert status != 0, "a misspelt key passes: the examples are not looked at"


def prometheus_has_what_alerts_ask_for():
    config = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))
    labels = set(config["global"]["external_labels"])
    asked = set()
    for rules in alerts().values():
        for rule in rules:
            asked |= set(re.findall(r"\$externalLabels\.(\w+)", str(rule)))
    assert asked and asked <= labels, f"alerts ask for {asked}, prometheus.yml has {labels}"
    dropped = {name for each in config["alerting"]["alert_relabel_configs"] if each["action"] == "labeldrop" for name in each["regex"].split("|")}
    assert labels == dropped, f"{labels - dropped} would be labels of all alerts"


def alertmanager_takes_it():
    status, text = run("amtool", "check-config", str(ALERTMANAGER))
    assert status == 0 and "1 templates" in text and "3 receivers" in text, text


def no_secret_stands_in_a_file():
    keys = r"(password|secret|token|api_url|routing_key|service_key|credentials|bearer_token)"
    for path in sorted(path for path in FOLDER.rglob("*") if path.is_file()):
        text = re.sub(r"#.*$", "", path.read_text(encoding="utf-8"), flags=re.M)
        found = re.findall(rf"^\s*(?:- )?\w*{keys}\s*:\s*\S+", text, flags=re.M)
        assert not found, f"{path}: {found} are not read from files"
    config = ALERTMANAGER.read_text(encoding="utf-8")
    for key in ("smtp_auth_password_file", "routing_key_file", "api_url_file"):
        assert re.search(rf"{key}: /etc/alertmanager/secrets/", config), f"{key} is not there"


def each_severity_reaches_whom_it_should():
    wanted = {"critical": "pagerduty,slack", "warning": "slack,mail", "of_nobody": "mail"}
    for severity, receivers in wanted.items():
        done = subprocess.run(["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receivers}",
                               f"severity={severity}", "alertname=Any"], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{severity}: {done.stdout} {done.stderr}"
        other = subprocess.run(["amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", "--verify.receivers=nobody",
                                f"severity={severity}"], capture_output=True, text=True, timeout=60, check=False)
        assert other.returncode != 0, "amtool verifies nothing"
    used = {rule["labels"]["severity"] for rules in alerts().values() for rule in rules}
    assert used <= set(wanted), f"alerts have the severities {used}"


SAMPLE = {
    "receiver": "slack", "status": "firing", "externalURL": "http://127.0.0.1:9093",
    "groupLabels": {"alertname": "CircuitBreakerOpen", "service": "payments", "breaker": "cards"},
    "commonLabels": {"alertname": "CircuitBreakerOpen", "service": "payments", "breaker": "cards", "severity": "critical"},
    "commonAnnotations": {"panel": "Breaker state", "runbook_url": "https://runbooks.example.org/CircuitBreakerOpen.md"},
    "alerts": [{"status": "firing", "labels": {"alertname": "CircuitBreakerOpen"}, "startsAt": "2026-11-30T10:00:00Z",
                "annotations": {"summary": "Circuit breaker payments/cards is open", "description": "It has been open for a minute.",
                                "runbook_url": "https://runbooks.example.org/CircuitBreakerOpen.md", "panel": "Breaker state",
                                "dashboard_url": "https://grafana.example.org/d/portcullis-breakers?viewPanel=1"}}],
}


def rendered(name, data, kind="text"):
    with tempfile.NamedTemporaryFile("w", suffix=".json", prefix="portcullis-test-") as file:
        json.dump(data, file)
        file.flush()
        status, text = run("amtool", "template", "render", f"--template.glob={TEMPLATES}", f"--template.data={file.name}",
                           f"--template.type={kind}", '--template.text={{ template "' + name + '" . }}')
    assert status == 0, text
    return text.strip()


def a_notification_names_its_runbook():
    title = rendered("portcullis.title", SAMPLE)
    assert title == "[FIRING 1] CircuitBreakerOpen payments/cards (critical)", title
    text = rendered("portcullis.text", SAMPLE)
    assert text.splitlines() == ["Circuit breaker payments/cards is open", "It has been open for a minute.", "Since 2026-11-30 10:00:00 UTC",
                                 "Runbook: https://runbooks.example.org/CircuitBreakerOpen.md",
                                 "Panel: https://grafana.example.org/d/portcullis-breakers?viewPanel=1 (Breaker state)"], text
    page = rendered("portcullis.html", SAMPLE, "html")
    assert '<a href="https://runbooks.example.org/CircuitBreakerOpen.md">Runbook</a>' in page, page
    hostile = json.loads(json.dumps(SAMPLE))
    hostile["alerts"][0]["annotations"]["summary"] = "<script>alert(1)</script>"
    assert "<script>" not in rendered("portcullis.html", hostile, "html")


def a_notification_says_when_it_is_over():
    over = json.loads(json.dumps(SAMPLE))
    over["status"] = over["alerts"][0]["status"] = "resolved"
    over["alerts"][0]["endsAt"] = "2026-11-30T10:05:00Z"
    assert rendered("portcullis.title", over) == "[RESOLVED] CircuitBreakerOpen payments/cards (critical)"
    text = rendered("portcullis.text", over)
    assert text.startswith("Over: Circuit breaker payments/cards is open\n"), text
    assert "Since 2026-11-30 10:00:00 UTC until 2026-11-30 10:05:00 UTC" in text, text


@contextlib.contextmanager
def alertmanager():
    """A real one with the inhibitions as they are shipped, and nobody to tell; its address."""
    with tempfile.TemporaryDirectory(prefix="portcullis-test-") as folder, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        config = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
        path = pathlib.Path(folder, "alertmanager.yml")
        path.write_text(yaml.safe_dump({"route": {"receiver": "nobody"}, "receivers": [{"name": "nobody"}],
                                        "inhibit_rules": config["inhibit_rules"]}), encoding="utf-8")
        with open(pathlib.Path(folder, "log"), "wb") as log:
            process = subprocess.Popen(["prometheus-alertmanager", f"--config.file={path}", f"--storage.path={folder}",
                                        f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="], stdout=log, stderr=log)
        try:
            address = f"http://127.0.0.1:{port}"

            def ready():
                assert process.poll() is None, pathlib.Path(folder, "log").read_text(encoding="utf-8")
                with contextlib.suppress(OSError):
                    return urllib.request.urlopen(f"{address}/-/ready", timeout=5).status == 200
                return False
            eventually(ready, "Alertmanager is ready")
            yield address
        finally:
            process.kill()
            process.wait()


def what_follows_from_another_alert_is_silenced():
    def alert(name, severity="warning", **labels):
        return {"alertname": name, "job": "portcullis", "severity": severity, **labels}

    a, other = {"instance": "a:7480"}, {"instance": "b:7480"}
    cards, mail = {"service": "payments", "breaker": "cards"}, {"service": "mail", "breaker": "default"}
    cases = [  # (alert, whether it is silenced)
        (alert("InstanceDown", "critical", **a), False),
        (alert("LoopLag", **a), True), (alert("LoopLag", **other), False), (alert("ScrapesMissed", **a), True),
        (alert("LockoutSurge", "critical"), False),
        (alert("StoreDegraded", "critical", **other), False), (alert("StoreErrors", op="commit", error="STORE_FULL", **other), True),
        (alert("EventLogStalled", "critical", **other), True), (alert("EventLogSlow", instance="c:7480"), False),
        (alert("SharedStoreDegraded", "critical", instance="c:7480"), False), (alert("FleetNodeMissing"), True),
        (alert("FleetStale", "critical", instance="c:7480"), True), (alert("StoreErrors", op="append", error="STORE_UNAVAILABLE", instance="c:7480"), True),
        (alert("FleetStale", "critical", instance="d:7480"), False), (alert("StoreErrors", op="backup", error="STORE_FULL", instance="d:7480"), False),
        ({**alert("FleetNodeMissing"), "job": "portcullis-other"}, False),
        (alert("CircuitBreakerOpen", "critical", source="hosted", **cards), False),
        (alert("CircuitBreakerRejectionRatio", **cards), True),
        (alert("CircuitBreakerErrorBudgetBurn", "critical", **cards), True), (alert("CircuitBreakerRejectionRatio", **mail), False),
        (alert("CircuitBreakerFlapping", source="hosted", **cards), False),
        (alert("LogNotWritten", **other), False), (alert("LogDropping", **other), True), (alert("LogDropping", instance="c:7480"), False),
        (alert("CircuitBreakerErrorBudgetBurn", "critical", **mail), False), (alert("CircuitBreakerErrorBudgetBurn", **mail), True),
    ]
    known = alerts()
    for labels, _ in cases:
        rules = known.get(labels["alertname"])
        assert rules, f"there is no alert {labels['alertname']}"
        assert labels["severity"] in {rule["labels"]["severity"] for rule in rules}, f"{labels['alertname']} is not {labels['severity']}"
    with alertmanager() as address:
        body = json.dumps([{"labels": labels, "annotations": {}} for labels, _ in cases]).encode()
        request = urllib.request.Request(f"{address}/api/v2/alerts", body, {"Content-Type": "application/json"})
        urllib.request.urlopen(request, timeout=30).close()

        def told():
            with urllib.request.urlopen(f"{address}/api/v2/alerts", timeout=30) as answer:
                found = json.load(answer)
            return found if len(found) == len(cases) and all(each["status"]["state"] != "unprocessed" for each in found) else None
        silenced = {json.dumps(each["labels"], sort_keys=True): bool(each["status"]["inhibitedBy"])
                    for each in eventually(told, "Alertmanager has all alerts")}
    wrong = [f"{labels}: {'not ' if wanted else ''}silenced" for labels, wanted in cases
             if silenced[json.dumps(labels, sort_keys=True)] != wanted]
    assert not wrong, "\n".join(wrong)


def a_second_node_that_is_down_is_a_page_of_its_own():
    """What is grouped is told once, and of a second one after group_interval at the earliest."""
    config = yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))
    pages = [route for route in config["route"]["routes"] if route["receiver"] == "pagerduty"]
    labels = {label for each in alerts()["InstanceDown"] for label in re.findall(r"\$labels\.(\w+)", each["annotations"]["summary"])}
    for route in pages:
        by = route.get("group_by", config["route"]["group_by"])
        assert labels and labels <= set(by), f"pages are grouped by {by}"
    assert pages, "nobody is paged"


def inhibitions_name_alerts_that_are_there():
    names = set()
    for rule in yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            found = re.fullmatch(r'alertname(?:=|!=|=~)"([\w|]+)"', matcher)
            names |= set(found.group(1).split("|")) if found else set()
    assert names and names <= set(alerts()), f"no alerts are called {sorted(names - set(alerts()))}"


def grafana_finds_datasource_and_dashboards():
    source = yaml.safe_load((FOLDER / "grafana/datasources/portcullis.yaml").read_text(encoding="utf-8"))
    assert source["apiVersion"] == 1
    one, = source["datasources"]
    assert (one["type"], one["access"], one["url"]) == ("prometheus", "proxy", "http://127.0.0.1:9090"), one
    interval = yaml.safe_load(PROMETHEUS.read_text(encoding="utf-8"))["global"]["scrape_interval"]
    assert one["jsonData"]["timeInterval"] == interval, "Grafana's $__rate_interval would not be that of the scrapes"
    boards = yaml.safe_load((FOLDER / "grafana/dashboards/portcullis.yaml").read_text(encoding="utf-8"))
    assert boards["apiVersion"] == 1
    provider, = boards["providers"]
    assert provider["type"] == "file" and provider["options"]["path"] == "/usr/share/portcullis/monitoring/dashboards", provider
    assert list((ROOT / "monitoring/dashboards").glob("*.json"))


CASES = {case.__name__: case for case in (
    prometheus_takes_it, prometheus_takes_the_examples_in_comments, prometheus_has_what_alerts_ask_for, alertmanager_takes_it,
    no_secret_stands_in_a_file, each_severity_reaches_whom_it_should, a_notification_names_its_runbook, a_notification_says_when_it_is_over,
    what_follows_from_another_alert_is_silenced, a_second_node_that_is_down_is_a_page_of_its_own, inhibitions_name_alerts_that_are_there, grafana_finds_datasource_and_dashboards)}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in CASES:
        sys.exit(f"usage: check_provisioning.py {'|'.join(CASES)}")
    try:
        CASES[sys.argv[1]]()
    except AssertionError as wrong:
        sys.exit(str(wrong) or f"{sys.argv[1]} does not hold")
    except FileNotFoundError as lacking:
        sys.exit(f"{lacking.filename} is not there: packages prometheus and prometheus-alertmanager (scripts/install-deps test)")
