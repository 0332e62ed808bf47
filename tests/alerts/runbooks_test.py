#!/usr/bin/env python3
"""Runs every command of a runbook's diagnosis and mitigation against a real node in the alert's condition, with a real Prometheus
that has the product's rules, and compares exit status and output with what the runbook says that they show.
usage: runbooks_test.py ALERT..."""
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import runbook  # noqa: E402
from prometheus import prometheus  # noqa: E402
from scenes import ROOT, SCENES, binary  # noqa: E402

WITHIN_S = 40
# Alerts that the scene itself makes pending or firing, without a wait: of a state, or of a count that began with the node. The
# others need minutes of rates; promtool's cases have those.
AT_ONCE = {
    "CircuitBreakerOpen", "CircuitBreakerFlapping", "BreakerOverrideLeftOn", "SessionReuseDetected", "StoreDegraded", "EventLogStalled",
    "SharedStoreDegraded", "FleetStale", "InstanceDown", "InstancesAbsent", "DescriptorsNearLimit", "TlsCertificateExpiring",
    "RevocationListExpiring", "ConfigReloadFailed", "PortcullisThresholdsMissing"}


def run(head, command, variables, again):
    """(passed, exit status, output): tried again until it shows what it should, as samples take their time to be scraped."""
    until = time.monotonic() + WITHIN_S
    while True:
        again()
        done = subprocess.run(["sh", "-c", head + command.text + "\n"], env=variables, stdin=subprocess.DEVNULL, text=True,
                              capture_output=True, timeout=120)
        output = done.stdout + done.stderr
        passed = done.returncode == command.status and command.shows in output
        if passed or time.monotonic() > until:
            return passed, done.returncode, output
        time.sleep(0.1)  # between two tries, not for a condition


def check(alert):
    book = runbook.parse(alert, (ROOT / f"monitoring/runbooks/{alert}.md").read_text())
    failures = list(book.problems)
    with tempfile.TemporaryDirectory(prefix="portcullis-runbook-") as folder:
        path = pathlib.Path(folder) / "bin"
        path.mkdir()
        (path / "portcullis").symlink_to(binary())
        with SCENES[alert](folder) as scene, prometheus(
                folder, scene.targets, scene.thresholds, scene.interval_s) as url:
            variables = {**os.environ, **scene.variables, "PROMETHEUS": url, "PATH": f"{path}:{os.environ['PATH']}", "LC_ALL": "C"}
            variables.pop("TOKEN_FILE", None)
            commands = book.commands
            if alert in AT_ONCE:
                raised = runbook.Command("Alert", f"q 'ALERTS{{alertname=\"{alert}\"}}'", 0, f'alertname="{alert}"')
                first = next((at for at, command in enumerate(commands) if command.section == "Mitigation"), len(commands))
                commands = commands[:first] + [raised] + commands[first:]
            for command in commands:
                passed, status, output = run(book.head, command, variables, scene.again)
                print(f"{'ok    ' if passed else 'FAILED'} {command.section}: {command.text}")
                if not passed:
                    failures.append(f"{command.text}\n  exit {status}, not {command.status}, or it does not show: {command.shows}\n"
                                    f"{output[:1500]}")
    return failures


def main(alerts):
    failures = [f"{alert}: {failure}" for alert in alerts for failure in check(alert)]
    print("\n".join(failures))
    return 1 if failures or not alerts else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
