#!/usr/bin/env python3
"""Plants faults in a copy of the pack, one at a time: each has to be seen by the check that it is for, and the copy without one
has to pass. Rules with a fault have to fail promtool's cases."""
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import pack_test  # noqa: E402
import promql  # noqa: E402
import runbook  # noqa: E402
import runbooks_test  # noqa: E402
from node import ROOT  # noqa: E402

ALERTS, RULES, BOOKS = "monitoring/alerts/", "monitoring/rules/", "monitoring/runbooks/"

# check: [(file, what stands there, what is put in its place)]
FAULTS = {
    "annotations": [
        (ALERTS + "breakers.yaml", "{severity: critical}", "{severity: bad}"),
        (ALERTS + "breakers.yaml", "Circuit breaker {{ $labels.service }}/{{ $labels.breaker }} is open", "A circuit breaker is open"),
        (ALERTS + "nodes.yaml", "summary: '{{ $labels.instance }} is down'", "summary: A node is down"),
        (ALERTS + "sessions.yaml", "/LockoutSurge.md", "/Lockout.md"),
        (ALERTS + "sessions.yaml", "{{ $value | humanize }} lockouts", "{{ $value }} lockouts"),
        (ALERTS + "store.yaml", "?viewPanel=1", ""),
        (ALERTS + "store.yaml", "panel: Store errors", "panel: ''"),
        (ALERTS + "store.yaml", "&var-instance={{ $labels.instance | urlquery }}", ""),
        (ALERTS + "breakers.yaml", "{{ $labels.breaker | urlquery }}", "{{ $labels.breaker }}"),
    ],
    "runbooks": [
        (BOOKS + "LockoutSurge.md", "## Escalation", "## Afterwards"),
        (BOOKS + "LockoutSurge.md", "# LockoutSurge\n", "# Lockouts\n"),
        (BOOKS + "LockoutSurge.md", '  # shows: "failed_attempts":10', ""),
        (BOOKS + "StoreErrors.md", "(StoreDegraded.md)", "(Degraded.md)"),
        (BOOKS + "StoreErrors.md", "severity: warning", "severity: low"),
        (BOOKS + "StoreErrors.md", "(StoreDegraded.md)", "(../runbooks/StoreDegraded.md)"),
        (ALERTS + "sessions.yaml", "alert: LockoutSurge", "alert: LockoutFlood"),
    ],
    "cases": [
        (ALERTS + "store.yaml", "alert: StoreErrors", "alert: StoreFaults"),
        (ALERTS + "breakers.yaml", "stuck: in_one_phase", "stuck: for_long"),
        ("tests/alerts/sessions.yaml", "{alertname: SessionReuseDetected, ", "{alertname: SessionReuse, "),
        ("tests/alerts/sessions.yaml", "- alertname: SessionReuseDetected", "- alertname: SessionReuse"),
    ],
    "thresholds": [
        (ALERTS + "sessions.yaml", "portcullis:threshold:lockouts_per_minute", "2"),
        (RULES + "thresholds.yaml", "portcullis:threshold:session_reuse'", "portcullis:threshold:session_reused'"),
        (ALERTS + "nodes.yaml", "vector(0)) < 26", "vector(0)) < 25"),
        (ALERTS + "nodes.yaml", "max(portcullis:threshold:restarts)", "portcullis:threshold:restarts"),
        (ALERTS + "breakers.yaml", "for: 1m", "for: 3m"),
        (RULES + "thresholds.yaml", "#   EventLogSlow ", "#   EventLog "),
    ],
    "docs": [
        ("docs/alerts.md", "`lockouts_per_minute` 2", "`lockouts_per_minute` 3"),
        ("docs/alerts.md", "runbooks/LockoutSurge.md) | critical", "runbooks/LockoutSurge.md) | warning"),
        (ALERTS + "breakers.yaml", "for: 1h", "for: 2h"),
        (ALERTS + "store.yaml", "alert: StoreErrors", "alert: StoreFaults"),
    ],
    "metrics": [
        (RULES + "sessions.yaml", "rate(portcullis_lockouts_total", "rate(portcullis_locks_total"),
        (RULES + "breakers.yaml", 'result="rejected"', 'result="denied"'),
        (ALERTS + "nodes.yaml", "portcullis_config_last_reload_success == 0", "portcullis_config_reloaded == 0"),
        (ALERTS + "store.yaml", 'printf "portcullis_event_log_queue', 'printf "portcullis_event_log_length'),
        (BOOKS + "LockoutSurge.md", "`portcullis_lockouts_total`", "`portcullis_lockout_total`"),
        (BOOKS + "LockoutSurge.md", "q 'job:portcullis_lockouts:rate5m'", "q 'job:portcullis_lockouts:rate6m'"),
    ],
    "promtool": [
        (ALERTS + "sessions.yaml", "job:portcullis_lockouts:rate5m * 60", "job:portcullis_lockouts:rate5m * * 60"),
        (ALERTS + "sessions.yaml", "{{ $value | humanize }} lockouts", "{{ $value | humanise }} lockouts"),
    ],
    "check_limits": [
        (RULES + "thresholds.yaml", "certificate_seconds', expr: 1209600", "certificate_seconds', expr: 1209601"),
        (RULES + "thresholds.yaml", "descriptors_ratio', expr: 0.8", "descriptors_ratio', expr: 0.9"),
    ],
    "registered": [
        ("tests/alerts/CMakeLists.txt", "LockoutSurge", ""),
        ("tests/alerts/CMakeLists.txt", "breaker_counts", ""),
    ],
    "panels": [
        ("monitoring/dashboards/sessions.json", '"Lockouts per minute"', '"Locks per minute"'),
    ],
}

# How the title of a case begins, and a fault that has to fail it.
RULE_FAULTS = [
    ("a breaker that tries its downstream", RULES + "breakers.yaml", "half_open:max == 1 and max_over_time", "half_open:max == 2 and max_over_time"),
    ("a breaker of three nodes", RULES + "breakers.yaml", "max by (job, service, breaker, source) (circuit_breaker_state_active",
     "max by (job, instance, service, breaker, source) (circuit_breaker_state_active"),
    ("a breaker of three nodes", ALERTS + "breakers.yaml", "for: 1m", "for: 45s"),
    ("a page stays while the node", RULES + "breakers.yaml", "and on (job, instance) up == 0)", "and on (job, instance) up == 2)"),
    ("a page stays when the node comes back", RULES + "breakers.yaml", '{state="open"}[5m]))', '{state="open"}[15s]))'),
    ("openings that three nodes", RULES + "breakers.yaml", "round(max by", "round(sum by"),
    ("three openings are not", RULES + "breakers.yaml", "round(max by", "(max by"),
    ("the fourth opening", RULES + "breakers.yaml", "up offset 15m == 1 or", "up offset 15m == 2 or"),
    ("a Prometheus that has just begun takes", RULES + "breakers.yaml", "and on (job, instance) (up offset 15m == 1 or", "and on (job, instance) (up == 1 or"),
    ("a downstream that stays down", RULES + "breakers.yaml", 'increase(circuit_breaker_transitions_total{from="closed", to="open", ',
     'increase(circuit_breaker_transitions_total{to="open", '),
    ("an override is one ticket, though", ALERTS + "breakers.yaml", "(last_over_time(circuit_breaker_override_info[5m]))", "(circuit_breaker_override_info)"),
    ("a threshold that is there twice", ALERTS + "sessions.yaml", "max(portcullis:threshold:lockouts_per_minute)", "portcullis:threshold:lockouts_per_minute"),
    ("thirteen thresholds", ALERTS + "nodes.yaml", "count(count by (__name__) (", "count(max by (__name__, replica) ("),
    ("calls that are turned away burn", RULES + "breakers.yaml", "failure|timeout|slow_failure|rejected", "failure|timeout|slow_failure"),
    ("nine within five minutes", RULES + "thresholds.yaml", "lockouts_per_minute', expr: 2", "lockouts_per_minute', expr: 1"),
    ("one that a node had before", RULES + "sessions.yaml", "time() - process_start_time_seconds < 900", "time() - process_start_time_seconds < 0"),
    ("a few that wait while", ALERTS + "store.yaml", "or (portcullis_event_log_queue > 0 and", "or (portcullis_event_log_queue > 9 and"),
    ("a disk that hangs", ALERTS + "store.yaml", "portcullis_event_log_silent_seconds > 0", "portcullis_event_log_silent_seconds > 900"),
    ("a shared log that is away for half", ALERTS + "store.yaml", "unless on (job, instance) breaker_shared_store_degraded == 1\n        for: 30s", "\n        for: 30s"),
    ("a node that two others do not hear", RULES + "nodes.yaml", "count by (job) (up == 1", "count by (job) (up == 2"),
    ("no target at all", ALERTS + "nodes.yaml", 'absent(up{job=~"portcullis(-.+)?"})', 'up{job=~"portcullis(-.+)?"} == 2'),
    ("fifteen days", RULES + "thresholds.yaml", "certificate_seconds', expr: 1209600", "certificate_seconds', expr: 1382400"),
    ("no thresholds", ALERTS + "nodes.yaml", "or vector(0)) < ", "or vector(99)) < "),
]


def copy_of_the_pack(to):
    for part in ("monitoring", "docs", "tests/alerts"):
        shutil.copytree(ROOT / part, to / part)


class Planted:
    """A fault in the copy, for as long as the context lasts."""

    def __init__(self, root, file, before, after):
        self.path, self.before, self.after = root / file, before, after

    def __enter__(self):
        self.kept = self.path.read_text()
        assert self.before in self.kept, f"{self.path} does not have: {self.before}"
        self.path.write_text(self.kept.replace(self.before, self.after))

    def __exit__(self, *_):
        self.path.write_text(self.kept)


class Faults(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kept = tempfile.TemporaryDirectory(prefix="portcullis-pack-")
        cls.root = pathlib.Path(cls.kept.name)
        copy_of_the_pack(cls.root)
        cls.page = pack_test.live_page()

    @classmethod
    def tearDownClass(cls):
        cls.kept.cleanup()

    def problems(self, check):
        more = [self.page] if check == "metrics" else []
        return list(pack_test.CHECKS[check](pack_test.Pack(self.root), *more))

    def test_every_check_has_faults_and_passes_without_one(self):
        self.assertEqual(set(FAULTS), set(pack_test.CHECKS))
        for check in FAULTS:
            with self.subTest(check):
                self.assertEqual(self.problems(check), [])

    def test_every_planted_fault_is_seen(self):
        for check, faults in FAULTS.items():
            for file, before, after in faults:
                with self.subTest(check=check, fault=f"{before} -> {after}"), Planted(self.root, file, before, after):
                    self.assertNotEqual(self.problems(check), [])

    def case(self, title):
        """A promtool file in the copy with the case alone that begins so."""
        for path in sorted((self.root / "tests/alerts").glob("*.yaml")):
            whole = yaml.safe_load(path.read_text())
            found = [test for test in whole["tests"] if test["name"].startswith(title)]
            if found:
                self.assertEqual(len(found), 1, title)
                alone = path.with_name("alone.yml")
                alone.write_text(yaml.safe_dump({**whole, "tests": found}))
                return alone
        raise AssertionError(f"no case begins with {title}")

    def test_rules_with_a_fault_fail_their_cases(self):
        def promtool(file):
            return subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)

        for title, file, before, after in RULE_FAULTS:
            with self.subTest(case=title, fault=f"{before} -> {after}"):
                alone = self.case(title)
                self.assertEqual(promtool(alone).returncode, 0)
                with Planted(self.root, file, before, after):
                    done = promtool(alone)
                self.assertNotEqual(done.returncode, 0)
                self.assertRegex(done.stdout + done.stderr, "alertname: .*time: |rule: .*found duplicate series")


class Runbooks(unittest.TestCase):
    def test_a_command_that_shows_something_else_or_ends_otherwise_has_failed(self):
        within, runbooks_test.WITHIN_S = runbooks_test.WITHIN_S, 0
        self.addCleanup(setattr, runbooks_test, "WITHIN_S", within)
        for text, status, shows, passes in (("echo open", 0, "open", True), ("echo closed", 0, "open", False),
                                            ("echo open; exit 1", 0, "open", False), ("echo open >&2; exit 1", 1, "open", True)):
            command = runbook.Command("Diagnosis", text, status, shows)
            self.assertEqual(runbooks_test.run("", command, {"PATH": "/bin:/usr/bin"}, lambda: None)[0], passes, text)

    def test_every_alert_has_a_scene(self):
        self.assertEqual(set(runbooks_test.SCENES), set(pack_test.Pack(ROOT).names))


class Promql(unittest.TestCase):
    def test_selectors_are_found_and_nothing_else(self):
        for expression, names in (
                ("sum by (job, le) (rate(a_total{x=\"1\",y=~\"b|c\"}[5m] offset 1h)) > on (job) group_left (z) d:e:f", ["a_total", "d:e:f"]),
                ("sum(a) by (b) / count without (c) (d) unless absent(e) or vector(0)", ["a", "d", "e"]),
                ("histogram_quantile(0.99, a_bucket) > bool 1e3 and b @ start() + -inf", ["a_bucket", "b"]),
                ("{__name__=~\"a:.+\"} # sum(b)", [""])):
            self.assertEqual([selector.name for selector in promql.selectors(expression)], names, expression)
        self.assertEqual(promql.selectors('a{x="1",y!~"b c"}')[0].matchers, (("x", "=", "1"), ("y", "!~", "b c")))
        self.assertRaises(ValueError, promql.selectors, "a ? b")

    def test_numbers_that_are_compared_with_are_found(self):
        self.assertEqual(promql.comparisons("a * 60 > 5 and b[5m] == 0 or c <= -1"), ["5", "0"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
