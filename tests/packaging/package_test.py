"""What is in the package, with which modes, and what lintian says of it."""
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import yaml
from cases import BINARY, BUILD, ROOT, UNIT, VERSION, case, check, main, need, package, run

# Every file of the package; folders with a slash at the end may hold whatever the repository has there.
FILES = {
    "etc/portcullis/portcullis.toml": "-rw-r--r--", "etc/portcullis/monitoring/thresholds.yaml": "-rw-r--r--", "etc/logrotate.d/portcullis": "-rw-r--r--",
    "usr/bin/portcullis": "-rwxr-xr-x", "usr/lib/systemd/system/portcullis.service": "-rw-r--r--",
    "usr/lib/sysusers.d/portcullis.conf": "-rw-r--r--", "usr/lib/tmpfiles.d/portcullis.conf": "-rw-r--r--",
    "usr/share/bash-completion/completions/portcullis": "-rw-r--r--", "usr/share/zsh/vendor-completions/_portcullis": "-rw-r--r--",
    "usr/share/fish/vendor_completions.d/portcullis.fish": "-rw-r--r--", "usr/share/doc/portcullis/copyright": "-rw-r--r--",
    "usr/share/doc/portcullis/changelog.gz": "-rw-r--r--", "usr/share/doc/portcullis/CHANGELOG.md.gz": "-rw-r--r--",
    "usr/share/doc/portcullis/portcullis.cdx.json": "-rw-r--r--", "usr/share/doc/portcullis/operations.md": "-rw-r--r--",
    "usr/share/doc/portcullis/examples/rotate-keys.conf": "-rw-r--r--", "usr/share/doc/portcullis/examples/proxies/nginx.conf": "-rw-r--r--",
}


def listing():
    """{path: (mode, owner)} of everything in the package."""
    rows = {}
    for line in run("dpkg-deb", "-c", package()).splitlines():
        mode, owner, _, _, _, path = line.split(None, 5)
        rows[path.removeprefix("./")] = (mode, owner)
    return rows


def control(field):
    return run("dpkg-deb", "-f", package(), field).strip()


@case
def everything_is_there_with_its_mode_and_belongs_to_root():
    rows = listing()
    for path, mode in FILES.items():
        check(path in rows, f"{path} is missing")
        check(rows[path][0] == mode, f"{path} is {rows[path][0]}, not {mode}")
    for path, (mode, owner) in rows.items():
        check(owner == "root/root", f"{path} belongs to {owner}")
        wanted = "drwxr-xr-x" if path.endswith("/") or path == "" else None
        check(wanted in (None, mode), f"{path} is {mode}")
        check(mode[5] != "w" and mode[8] != "w" and "s" not in mode, f"{path} is {mode}")


@case
def nothing_is_in_it_that_nobody_wants():
    for path in listing():
        check(not re.search(r"\.(cpp|hpp|o|a|keys|cmake)$|/(tests|sample)/|README\.md$", path) or "/examples/" in path, f"{path} is in the package")
        check(path in ("", "etc/", "usr/") or path.startswith(("etc/portcullis/", "etc/logrotate.d/", "usr/bin/", "usr/lib/", "usr/share/")),
              f"{path} is in the package")


@case
def the_monitoring_pack_is_in_it():
    """All that the repository has of it, under /usr/share/portcullis/monitoring."""
    rows = listing()
    for folder in ("alerts", "rules", "runbooks", "dashboards", "provisioning"):
        for file in (ROOT / "monitoring" / folder).rglob("*"):
            if file.is_file() and file.name not in ("thresholds.yaml", "README.md"):
                path = f"usr/share/portcullis/{file.relative_to(ROOT)}"
                check(path in rows, f"{path} is missing")
    check(unpacked("etc/portcullis/monitoring/thresholds.yaml") == (ROOT / "monitoring/rules/thresholds.yaml").read_bytes(), "other thresholds")
    check("usr/share/portcullis/monitoring/rules/thresholds.yaml" not in rows, "there are two files of thresholds")


@case
def its_prometheus_configuration_finds_every_rule_wherever_it_is_copied():
    """promtool says SUCCESS of a pattern that finds no file: the rules are counted."""
    need("promtool")
    wanted = sum(len(group["rules"]) for part in ("rules", "alerts") for file in (ROOT / "monitoring" / part).glob("*.yaml")
                 for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"])
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as elsewhere:
        run("dpkg-deb", "-x", package(), folder)
        text = (pathlib.Path(folder) / "usr/share/portcullis/monitoring/provisioning/prometheus/prometheus.yml").read_text(encoding="utf-8")
        copy = pathlib.Path(elsewhere) / "prometheus.yml"
        copy.write_text(re.sub(r"- (/(?:usr|etc)/\S*portcullis/)", rf"- {folder}\1", text), encoding="utf-8")
        found = sum(int(number) for number in re.findall(r"(\d+) rules found", run("promtool", "check", "config", copy)))
    check(found == wanted > 0, f"it finds {found} of {wanted} rules")


@case
def runbooks_name_places_that_an_installation_has():
    """The paths that stand for a variable nobody has set, or are written out: of the package, or made by it, or by operations.md."""
    rows = {"/" + path.rstrip("/") for path in listing()}
    maintainer = (ROOT / "configs/debian/postinst").read_text(encoding="utf-8")
    made = set(re.findall(r"(?<![\w.])/(?:etc|var)/[\w/.-]*\w", maintainer))
    certificates = re.findall(r"/etc/portcullis/certs/[\w.-]+", (ROOT / "docs/operations.md").read_text(encoding="utf-8"))
    others = {"/var/log", "/etc/prometheus/prometheus.yml"}
    count = 0
    for file in sorted((ROOT / "monitoring/runbooks").glob("*.md")):
        for path in re.findall(r"(?<![\w./:$}\"])/(?:etc|var|usr)/[\w/.*-]*\w", file.read_text(encoding="utf-8")):
            count += 1
            known = path in rows | made | others | set(certificates) or path.startswith("/var/backups/portcullis/")
            check(known, f"{file.name}: {path} is not there after an installation")
    check(count > 20, f"{count} paths")


@case
def man_pages_are_in_it_where_the_binary_writes_them():
    """Not without them, once there is such a command; compressed as Debian has it, and man finds nothing wrong."""
    rows = listing()
    epoch = re.search(r"SOURCE_DATE_EPOCH} (\d+)\)", (BUILD / "cpack_epoch.cmake").read_text(encoding="utf-8")).group(1)
    for command, path in (("man", "usr/share/man/man1/portcullis.1.gz"), ("man-config", "usr/share/man/man5/portcullis.toml.5.gz")):
        wrote = subprocess.run([BINARY, "docs", command], capture_output=True, check=False, env={**os.environ, "SOURCE_DATE_EPOCH": epoch})
        check((wrote.returncode == 0) == (path in rows), f"docs {command}: exit {wrote.returncode}; {path} in the package: {path in rows}")
        if wrote.returncode == 0:
            need("man")
            data = unpacked(path)
            check(gzip.decompress(data) == wrote.stdout, f"{path} is not what the binary writes")
            check(data[4:8] == b"\0\0\0\0" and data[8] == 2, f"{path}: not gzip -n9")
            said = subprocess.run(["man", "--warnings", "-l", "-Tutf8", "-Z", "-"], input=wrote.stdout, capture_output=True, check=False)
            check(not said.stderr, f"{path}: {said.stderr.decode()}")


def unpacked(path):
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "-x", package(), folder)
        return (pathlib.Path(folder) / path).read_bytes()


@case
def the_configuration_is_a_conffile_and_the_example_for_production():
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "-e", package(), folder)
        told = (pathlib.Path(folder) / "conffiles").read_text(encoding="utf-8").split()
    in_etc = sorted("/" + path for path in listing() if path.startswith("etc/") and not path.endswith("/"))
    check(sorted(told) == in_etc, f"conffiles: {told}, in /etc: {in_etc}")
    check(unpacked("etc/portcullis/portcullis.toml") == (ROOT / "configs/production.toml").read_bytes(), "another configuration")


@case
def unit_user_folders_and_completion_are_those_of_the_repository():
    check(unpacked("usr/lib/systemd/system/portcullis.service") == UNIT.read_bytes(), "another unit")
    check(unpacked("usr/lib/sysusers.d/portcullis.conf") == (ROOT / "configs/debian/sysusers.conf").read_bytes(), "another user")
    check(unpacked("usr/lib/tmpfiles.d/portcullis.conf") == (ROOT / "configs/debian/tmpfiles.conf").read_bytes(), "other folders")
    for shell, path in (("bash", "usr/share/bash-completion/completions/portcullis"), ("zsh", "usr/share/zsh/vendor-completions/_portcullis"),
                        ("fish", "usr/share/fish/vendor_completions.d/portcullis.fish")):
        check(unpacked(path).decode() == run(BINARY, "completion", shell), f"{path} is not what the binary writes")


@case
def the_binary_is_stripped_and_every_library_is_a_dependency():
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "-x", package(), folder)
        binary = pathlib.Path(folder) / "usr/bin/portcullis"
        sections = run("readelf", "-SW", binary)
        check(".symtab" not in sections and ".debug_info" not in sections, "symbols or debug information are left")
        check(VERSION in run(binary, "version"), "another version")
        names = re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-dW", binary))
    depends = {part.strip().split(" ")[0] for part in control("Depends").split(",")}
    for name in names:
        owners = run("dpkg-query", "-S", f"*/{name}").splitlines()
        packages = {line.split(":")[0] for line in owners}
        provided = run("dpkg-query", "-W", "-f", "${Provides}, ", *packages)  # libspdlog1.10-fmt9 and the like
        packages |= {part.strip().split(" ")[0] for part in provided.split(",")} - {""}
        check(packages & depends, f"{name} is of {sorted(packages)}, none of which is in Depends: {sorted(depends)}")


@case
def licences_of_what_is_compiled_in_stand_in_the_copyright_file():
    text = unpacked("usr/share/doc/portcullis/copyright").decode()
    bill = json.loads(unpacked("usr/share/doc/portcullis/portcullis.cdx.json"))
    headers = [part["name"] for part in bill["components"] if {"name": "portcullis:linkage", "value": "headers, compiled in"} in part["properties"]]
    check(headers, "the bill of materials names no headers")
    for name in headers:
        check(f"Headers of Debian's {name}." in text, f"{name} is not in the copyright file")


@case
def lintian_finds_no_error_and_no_warning():
    """And nothing is overridden."""
    need("lintian")
    said = run("lintian", "--allow-root", "--fail-on", "none", "--info", "--display-info", package())
    tags = [line for line in said.splitlines() if re.match(r"^[EWI]: ", line)]
    bad = [line for line in tags if line.startswith(("E:", "W:"))]
    if subprocess.run([BINARY, "docs", "man"], capture_output=True, check=False).returncode != 0:
        bad = [line for line in bad if " no-manual-page " not in line]  # the binary cannot write one
    check("usr/share/lintian/overrides/portcullis" not in listing(), "there are overrides")
    check(not bad, "\n".join([f"{len(bad)} errors and warnings"] + bad + [said]))
    print(f"lintian: 0 errors, 0 warnings, {len(tags)} of level info: {sorted({line.split()[2] for line in tags})}")


@case
def the_log_file_is_rotated_by_the_rules_that_logrotate_takes():
    need("logrotate")
    with tempfile.TemporaryDirectory() as folder:
        rules = pathlib.Path(folder) / "rules"
        shutil.copy(ROOT / "configs/debian/logrotate", rules)
        text = rules.read_text(encoding="utf-8").replace("/var/log/portcullis", folder).replace("su portcullis portcullis", "su root root")
        rules.write_text(text, encoding="utf-8")
        rules.chmod(0o644)
        log = pathlib.Path(folder) / "portcullis.log"
        log.write_text("a line\n", encoding="utf-8")
        run("logrotate", "--force", "--state", f"{folder}/state", rules)
        check(not log.exists() and (pathlib.Path(folder) / "portcullis.log.1").read_text(encoding="utf-8") == "a line\n", "not moved")


@case
def examples_and_monitoring_files_that_are_yaml_can_be_read():
    for path in listing():
        if path.endswith((".yml", ".yaml")):
            list(yaml.safe_load_all(unpacked(path)))


main(globals())
