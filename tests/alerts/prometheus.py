"""A real Prometheus on a free port, with the product's rules, that scrapes every second or few."""
import contextlib
import pathlib
import shutil
import socket
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tools"))
from node import ROOT, eventually  # noqa: E402


@contextlib.contextmanager
def prometheus(folder, targets, thresholds=True, interval_s=1):
    """Its URL."""
    if not shutil.which("prometheus"):
        raise AssertionError("prometheus is missing: install the package prometheus")
    folder = pathlib.Path(folder)
    rules = sorted((ROOT / "monitoring").glob("rules/*.yaml")) + sorted((ROOT / "monitoring").glob("alerts/*.yaml"))
    if not thresholds:
        rules = [file for file in rules if file.name != "thresholds.yaml"]
    jobs = ""
    if targets:
        jobs = ("scrape_configs:\n  - job_name: portcullis\n    static_configs:\n      - targets: ["
                + ", ".join(f'"127.0.0.1:{port}"' for port in targets) + "]\n")
    config = folder / "prometheus.yml"
    config.write_text(f"global: {{scrape_interval: {interval_s}s, scrape_timeout: {interval_s}s, evaluation_interval: 1s}}\nrule_files:\n"
                      + "".join(f"  - {file}\n" for file in rules) + jobs)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "prometheus.log"
    with open(log, "wb") as out:
        process = subprocess.Popen(["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
                                    f"--web.listen-address=127.0.0.1:{port}"], stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"

    def ready():
        if process.poll() is not None:
            raise AssertionError(f"prometheus ended: {log.read_text()[-2000:]}")
        with contextlib.suppress(OSError):
            with urllib.request.urlopen(url + "/-/ready", timeout=5) as answer:
                return answer.status == 200
        return False

    try:
        eventually(ready, "prometheus is ready")
        yield url
    finally:
        process.kill()
        process.wait()
