"""What the tests of packaging stand on: one case a run, programs that must be there, the package, the unit file."""
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/tools"))
BUILD = pathlib.Path(os.environ.get("PORTCULLIS_BUILD_DIR") or ROOT / "build/release")
WORK = BUILD / "tests/packaging"
BINARY = BUILD / "portcullis"
VERSION = re.search(r"project\(portcullis VERSION (\S+)", (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")).group(1)
NEXT_VERSION = VERSION.rpartition(".")[0] + ".999"
UNIT = ROOT / "configs/portcullis.service"

# Which Debian package a missing program is in.
PACKAGES = {
    "lintian": "lintian", "debootstrap": "debootstrap", "systemd-analyze": "systemd", "systemd-sysusers": "systemd", "cpack": "cmake",
    "dpkg-shlibdeps": "dpkg-dev", "readelf": "binutils", "unshare": "util-linux", "ip": "iproute2", "node": "nodejs", "ninja": "ninja-build",
    "logrotate": "logrotate", "promtool": "prometheus", "man": "man-db",
}


def fail(why):
    print(why)
    sys.exit(1)


def check(holds, why):
    """Every breach is an AssertionError with words."""
    if not holds:
        raise AssertionError(why)


def need(*programs):
    missing = [program for program in programs if not shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")]
    if missing:
        fail("not installed: " + ", ".join(f"{each} (Debian package {PACKAGES[each]})" for each in missing) + "; scripts/install-deps")


def run(*command, ok=(0,), **options):
    """Standard output; AssertionError with all that it said where the exit status is not in `ok`."""
    options.setdefault("env", {**os.environ, "LC_ALL": "C"})
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)
    if done.returncode not in ok:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def packed(folder, version=VERSION):
    """The path of a package built into `folder`; a fixture has built it (build_test.py)."""
    architecture = run("dpkg", "--print-architecture").strip()
    return WORK / folder / f"portcullis_{version}_{architecture}.deb"


def package():
    return packed("deb")


def next_package():
    return packed("next", NEXT_VERSION)


def unit_settings(path=UNIT):
    """{key: [values]} of a unit file; an empty value takes back what came before, as systemd has it."""
    settings = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line or line[0] in "#;[":
            continue
        key, _, value = line.partition("=")
        if value == "":
            settings[key] = []
        else:
            settings.setdefault(key, []).append(value)
    return settings


def main(cases):
    """Runs the case that the command line names, or all."""
    names = sys.argv[1:] or [name for name, each in cases.items() if callable(each) and getattr(each, "is_case", False)]
    for name in names:
        try:
            cases[name]()
        except AssertionError as breach:
            fail(f"{name}: {breach}")
        print(f"{name}: ok")


def case(function):
    function.is_case = True
    return function
