#!/usr/bin/env python3
"""What holds alerts, rules, runbooks, dashboards, docs and metrics together.
usage: pack_test.py CHECK [ROOT]   (pack_test.py --list names the checks)"""
import json
import os
import pathlib
import re
import subprocess
import sys

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
import promql  # noqa: E402
import runbook  # noqa: E402
from node import ROOT, Node, binary, eventually  # noqa: E402

SEVERITIES = {"critical", "warning"}
OF_PROMETHEUS = {"up", "scrape_duration_seconds", "ALERTS"}
OUR_PREFIXES = ("portcullis_", "circuit_breaker_", "breaker_shared_store_", "process_")


class Pack:
    """The files under `root`, read."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.rules = self._rules("rules")
        self.alerts = [rule for rule in self._rules("alerts") if "alert" in rule]
        self.records = {rule["record"]: rule for rule in self.rules}
        self.thresholds = {name.removeprefix("portcullis:threshold:"): rule["expr"] for name, rule in self.records.items()
                           if name.startswith("portcullis:threshold:")}
        self.names = sorted({rule["alert"] for rule in self.alerts})

    def _rules(self, folder):
        return [{**rule, "file": path.name} for path in sorted((self.root / "monitoring" / folder).glob("*.yaml"))
                for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]]

    def runbook_text(self, name):
        return (self.root / f"monitoring/runbooks/{name}.md").read_text()

    def queries(self):
        """(where, expression) of everything that Prometheus is asked."""
        for rule in self.rules:
            yield rule["record"], str(rule["expr"])
        for rule in self.alerts:
            yield rule["alert"], rule["expr"]
            for annotation in rule["annotations"].values():
                # {{ with printf "query" args | query }}: %q stands for a text, %f for a number.
                for text in re.findall(r'printf "((?:[^"\\]|\\.)*)"[^}]*\| query', annotation):
                    yield rule["alert"], text.replace("%q", '""').replace("%f", "0")
        for name in self.names:
            for command in runbook.parse(name, self.runbook_text(name)).commands:
                for text in re.findall(r"\bq '([^']*)'", command.text):
                    yield f"{name}.md", text


# --- checks: each gives what is wrong

def annotations(pack):
    """Each alert says how bad it is, which breaker it is about, how much, and where to look."""
    for rule in pack.alerts:
        name, said = rule["alert"], rule.get("annotations", {})
        if rule.get("labels", {}).get("severity") not in SEVERITIES:
            yield f"{name}: severity is none of {sorted(SEVERITIES)}"
        if re.search(r"breaker:circuit|circuit_breaker_override", rule["expr"]):
            if "{{ $labels.service }}/{{ $labels.breaker }}" not in said.get("summary", ""):
                yield f"{name}: the summary does not name the breaker"
        elif not re.search(r"\$labels\.(job|instance)|Thresholds", said.get("summary", "")):
            yield f"{name}: the summary does not say whom it is about"
        if not said.get("description"):
            yield f"{name}: no description"
        elif "{{ $value }}" in said["description"]:
            yield f"{name}: a value that is not for people (humanize)"
        base = '{{ or $externalLabels.runbook_base "/usr/share/portcullis/monitoring/runbooks" }}'
        if said.get("runbook_url") != f"{base}/{name}.md":
            yield f"{name}: runbook_url is {said.get('runbook_url')}"
        # The board opens at what the alert is about.
        labels = [label for label in ("job", "instance", "service", "breaker") if f"$labels.{label}" in said.get("summary", "")]
        wanted = sorted({*labels, "job"} if name not in ("InstancesAbsent", "PortcullisThresholdsMissing") else [])
        link = re.fullmatch(r"\{\{ \$externalLabels\.grafana_base \}\}/d/[a-z-]+\?viewPanel=\d+((?:&var-\w+=\{\{ \$labels\.\w+ \| urlquery \}\})*)",
                            said.get("dashboard_url", ""))
        if not link or sorted(re.findall(r"&var-(\w+)=\{\{ \$labels\.\1 ", link[1])) != wanted:
            yield f"{name}: dashboard_url is {said.get('dashboard_url')}"
        if not said.get("panel"):
            yield f"{name}: no panel"


def runbooks(pack):
    """Each alert has a runbook with all sections, each runbook an alert, and links in them lead somewhere."""
    folder = pack.root / "monitoring/runbooks"
    there = {path.stem for path in folder.glob("*.md")} - {"README"}
    for name in sorted(there ^ set(pack.names)):
        yield f"{name}: {'no alert' if name in there else 'no runbook'}"
    for name in sorted(there & set(pack.names)):
        text = pack.runbook_text(name)
        for problem in runbook.parse(name, text).problems:
            yield f"{name}.md: {problem}"
        for target in re.findall(r"\]\(([^)#]+)", text):
            if not (folder / target).exists():
                yield f"{name}.md: there is no {target}"
            if "/" in target and "://" not in target:
                yield f"{name}.md: {target} is not beside it where runbooks are published or installed"
        severities = {rule["labels"]["severity"] for rule in pack.alerts if rule["alert"] == name}
        for severity in severities:
            if f"`{severity}`" not in text and f"severity: {severity}" not in text:
                yield f"{name}.md: does not say {severity}"


def panels(pack):
    """The panel that an alert links to is on the dashboard, and names its runbook."""
    folder = pack.root / "monitoring/dashboards"
    found = {}
    for path in folder.glob("*.json"):
        board = json.loads(path.read_text())
        queue = list(board["panels"])
        for panel in queue:
            queue.extend(panel.get("panels", []))
            found[board["uid"], panel.get("id")] = panel["title"]
    for rule in pack.alerts:
        link = re.search(r"/d/([a-z-]+)\?viewPanel=(\d+)", rule["annotations"].get("dashboard_url", ""))
        if not link:
            yield f"{rule['alert']}: no link to a panel"
            continue
        title = found.get((link[1], int(link[2])))
        if title != rule["annotations"].get("panel"):
            yield f"{rule['alert']}: panel {link[2]} of {link[1]} is {title!r}, not {rule['annotations'].get('panel')!r}"


def cases(pack):
    """Each rule of an alert has a promtool case in which it fires and each alert one in which it must not."""
    fires, silent = set(), set()
    for path in (pack.root / "tests/alerts").glob("*.yaml"):
        for test in yaml.safe_load(path.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                for expected in case["exp_alerts"]:
                    fires.add((case["alertname"], expected["exp_labels"]["severity"], expected["exp_labels"].get("stuck")))
                if not case["exp_alerts"]:
                    silent.add(case["alertname"])
    for rule in pack.alerts:
        key = (rule["alert"], rule["labels"]["severity"], rule["labels"].get("stuck"))
        if key not in fires:
            yield f"{' '.join(word for word in key if word)}: no case in which it fires"
    for name in pack.names:
        if name not in silent:
            yield f"{name}: no case in which it is silent"


def thresholds(pack):
    """All numbers stand in thresholds.yaml, all that stand there are used, and their absence is told."""
    used = {selector.name.removeprefix("portcullis:threshold:") for _, text in pack.queries() for selector in promql.selectors(text)
            if selector.name.startswith("portcullis:threshold:")}
    for name in sorted(used - set(pack.thresholds)):
        yield f"{name}: is compared with and is not in thresholds.yaml"
    for name in sorted(set(pack.thresholds) - used):
        yield f"{name}: nothing compares with it"
    for rule in pack.alerts:
        for lone in re.findall(r"(?<!max\()portcullis:threshold:\w+", rule["expr"]):
            yield f"{rule['alert']}: {lone} without max(): a second series of that name would end the alert"
    for rule in pack.alerts:
        numbers = [number for number in promql.comparisons(rule["expr"]) if number not in ("0", "1")]
        if rule["alert"] == "PortcullisThresholdsMissing":
            if numbers != [str(len(pack.thresholds))]:
                yield f"PortcullisThresholdsMissing counts {numbers}, there are {len(pack.thresholds)}"
            if f" of {len(pack.thresholds)} thresholds" not in rule["annotations"]["description"]:
                yield "PortcullisThresholdsMissing tells another number"
        elif numbers:
            yield f"{rule['alert']}: compares with {numbers}, which belong into thresholds.yaml"
    comment = (pack.root / "monitoring/rules/thresholds.yaml").read_text()
    for rule in pack.alerts:
        row = re.search(rf"^#   (?:\w+, )*{rule['alert']}(?:, \w+)* .*$", comment, flags=re.MULTILINE)
        if not row:
            yield f"{rule['alert']}: is not in the table of durations of thresholds.yaml"
        elif rule.get("for", "0") not in re.split(r"[\s,;]+", row[0]):
            yield f"{rule['alert']}: the table of durations does not say {rule.get('for', '0')}"


def docs(pack):
    """docs/alerts.md has one row for each rule, with its severity, numbers and duration."""
    text = (pack.root / "docs/alerts.md").read_text()
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        link = re.fullmatch(r"\[(\w+)\]\(\.\./monitoring/runbooks/\1\.md\)", cells[0])
        if link:
            rows.setdefault(link[1], []).append(cells)
    for name in sorted(set(rows) - set(pack.names)):
        yield f"{name}: is in docs/alerts.md and is no alert"
    for rule in pack.alerts:
        numbers = sorted({selector.name.removeprefix("portcullis:threshold:") for selector in promql.selectors(rule["expr"])
                          if selector.name.startswith("portcullis:threshold:")})
        wanted = [rule["labels"]["severity"], ", ".join(f"`{each}` {pack.thresholds.get(each)}" for each in numbers),
                  rule.get("for", "0")]
        if wanted not in [cells[1:4] for cells in rows.get(rule["alert"], [])]:
            yield f"{rule['alert']}: docs/alerts.md has no row with {wanted}"


def live_page():
    """[(name, labels)] of /metrics of a node after a scenario in which every family has series."""
    with Node("metrics.breakers_max=1") as node:
        client = node.connect()
        client.call("breaker.observe", {"service": "shop", "breaker": "search", "source": "web-1", "source_epoch": 1, "seq": 1,
                                        "state": "open", "counts": {"success": 3, "failure": 2}})
        eventually(lambda: any('service="shop"' in series for series in node.metrics()), "the observed breaker has its series")
        for service in ("mail", "maps"):
            client.call("breaker.report", {"service": service, "outcome": "failure", "duration_ms": 31})
        page = list(node.metrics())
    with Node() as node:
        node.connect().call("breaker.override", {"service": "mail", "mode": "forced_open", "reason": "to see it"})
        page += list(node.metrics())
    return [(re.split(r"[{ ]", series)[0], dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', series))) for series in page]


def metrics(pack, page=None):
    """Every metric, label and label value that a rule, an alert or a runbook names is on the page of a live node."""
    page = page or live_page()
    values = {}
    for name, labels in page:
        of = values.setdefault(name, {})
        for label, value in labels.items():
            of.setdefault(label, set()).add(value)
    for where, text in pack.queries():
        for selector in promql.selectors(text):
            name = selector.name
            if name in OF_PROMETHEUS or name in pack.records or not name:
                continue
            if name not in values:
                yield f"{where}: there is no metric {name}"
                continue
            for label, _, value in selector.matchers:
                if label in ("job", "instance") or not value:
                    continue
                for each in value.split("|"):
                    if each not in values[name].get(label, set()):
                        yield f"{where}: {name} has no {label}=\"{each}\""
    for name in pack.names:
        for word in re.findall(r"`([a-z_]+)[`{]", pack.runbook_text(name)):
            if word.startswith(OUR_PREFIXES) and word not in values and f"{word}_bucket" not in values:
                yield f"{name}.md: there is no metric {word}"


def promtool(pack):
    """promtool has nothing to say against rules and alerts."""
    files = [str(path) for folder in ("rules", "alerts") for path in sorted((pack.root / "monitoring" / folder).glob("*.yaml"))]
    done = subprocess.run(["promtool", "check", "rules", "--lint=all", "--lint-fatal", *files], capture_output=True, text=True)
    if done.returncode:
        yield done.stdout + done.stderr


# What both judge: threshold, name in `portcullis check`, which of its two limits, how many of ours are one of its.
JUDGED_TWICE = [("event_log_queue", "event_log_queue", 0, 1), ("certificate_seconds", "certificate_days", 0, 86400),
                ("certificate_urgent_seconds", "certificate_days", 1, 86400), ("revocation_list_seconds", "crl_days", 1, 86400),
                ("descriptors_ratio", "descriptors_percent", 0, 0.01), ("fleet_staleness_seconds", "staleness_ms", 1, 0.001),
                ("log_lines_lost", "log_dropped", 0, 1)]


def check_limits(pack):
    """`portcullis check` judges by the same numbers, as its help says them."""
    said = subprocess.run([binary(), "check", "--help"], capture_output=True, text=True, check=True).stdout
    for threshold, name, which, unit in JUDGED_TWICE:
        limits = re.search(rf"^ *{name} +(\S+) +(\S+)", said, flags=re.MULTILINE)
        limit = limits and limits[1 + which].lstrip("<>")
        if not limit or limit == "-" or abs(float(limit) * unit - float(pack.thresholds[threshold])) > 1e-9:
            yield f"{threshold} is {pack.thresholds[threshold]}, check has {limit} of {unit} for {name}"


def registered(pack):
    """Each runbook and each promtool file has a test of its own."""
    text = (pack.root / "tests/alerts/CMakeLists.txt").read_text()
    for name in pack.names:
        if not re.search(rf"^  .*\b{name}\b", text, flags=re.MULTILINE):
            yield f"{name}: its runbook is not in tests/alerts/CMakeLists.txt"
    for path in (pack.root / "tests/alerts").glob("*.yaml"):
        if not re.search(rf"\b{path.stem}\b", text):
            yield f"{path.name}: is not in tests/alerts/CMakeLists.txt"


CHECKS = {check.__name__: check for check in (annotations, runbooks, panels, cases, thresholds, docs, metrics, promtool, check_limits,
                                             registered)}


def main(arguments):
    if arguments == ["--list"]:
        print("\n".join(CHECKS))
        return 0
    problems = list(CHECKS[arguments[0]](Pack(arguments[1] if len(arguments) > 1 else ROOT)))
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
