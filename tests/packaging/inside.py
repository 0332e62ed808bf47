"""A Debian of its own (debootstrap) that tests install into: made once, kept in build/debootstrap, never written to again. Every user
gets a layer over it (overlayfs) in a mount, process and network namespace of its own: nothing is left behind, no port is taken.
"""
import contextlib
import fcntl
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from cases import BUILD, need, run

SUITE = "bookworm"
KEPT = BUILD.parent / "debootstrap"
BASE = KEPT / SUITE
ARCHIVES = KEPT / "archives"


def mirror():
    """That of this machine's apt."""
    files = [pathlib.Path("/etc/apt/sources.list"), *sorted(pathlib.Path("/etc/apt/sources.list.d").glob("*"))]
    for file in files:
        text = file.read_text(encoding="utf-8") if file.is_file() else ""
        found = re.search(rf"^URIs:\s*(\S+).*\n(?:.*\n)*?Suites:.*\b{SUITE}\b", text, re.M) or re.search(
            rf"^deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+{SUITE}\s", text, re.M)
        if found and "debian" in found.group(1):
            return found.group(1)
    return "http://deb.debian.org/debian"


def make_base():
    """Also with what the package depends on in the machine's apt lists, so that each installation is quick."""
    need("debootstrap", "unshare", "ip")
    ARCHIVES.mkdir(parents=True, exist_ok=True)
    # One at a time: other builds and presets of this tree share the folder.
    with open(KEPT / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (BASE / "made").exists():
            make_base_anew()


def make_base_anew():
    shutil.rmtree(BASE, ignore_errors=True)
    run("debootstrap", "--variant=minbase", f"--cache-dir={ARCHIVES}", SUITE, BASE, mirror())
    (BASE / "etc/apt/sources.list").write_text(f"deb {mirror()} {SUITE} main\n", encoding="utf-8")
    # How this machine's apt reaches the mirror.
    (BASE / "etc/apt/apt.conf.d/90host").write_text(
        "".join(line + "\n" for line in run("apt-config", "dump").splitlines()
                if re.match(r"Acquire::(http|https|Check|Retries)\b", line)) + 'Acquire::Languages "none";\n', encoding="utf-8")
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(f"/etc/{name}", BASE / "etc" / name)
    # Services are not started in it.
    (BASE / "usr/sbin/policy-rc.d").write_text("#!/bin/sh\nexit 101\n", encoding="utf-8")
    (BASE / "usr/sbin/policy-rc.d").chmod(0o755)
    run("unshare", "-m", "-p", "-f", "--kill-child", sys.executable, __file__, "update", BASE)
    (BASE / "made").touch()


def mount_system(root):
    run("mount", "-t", "proc", "proc", f"{root}/proc")
    run("mount", "-t", "tmpfs", "-o", "mode=0755", "tmpfs", f"{root}/run")
    (pathlib.Path(root) / "run/lock").mkdir()
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (pathlib.Path(root) / "dev" / name).touch()
        run("mount", "--bind", f"/dev/{name}", f"{root}/dev/{name}")


class System:
    """The mounted layers; only in a namespace of its own (`isolated`)."""

    def __init__(self, root):
        self.root = pathlib.Path(root)

    def run(self, *command, ok=(0,), **options):
        options.setdefault("env", {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"})
        return run("chroot", self.root, *command, ok=ok, **options)

    def path(self, name):
        return self.root / name.lstrip("/")

    def write(self, name, text, mode=0o644):
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
        self.path(name).chmod(mode)

    def read(self, name):
        return self.path(name).read_text(encoding="utf-8")

    def owner_and_mode(self, name):
        return self.run("stat", "-c", "%U:%G %a", name).strip()

    def dpkg(self, action, package, *options):
        """dpkg alone; what it and the maintainer scripts said."""
        if not str(package).endswith(".deb"):
            return self.run("sh", "-c", f"dpkg {' '.join(options)} {action} {package} 2>&1")
        shutil.copyfile(package, self.path("/tmp/package.deb"))
        return self.run("sh", "-c", f"dpkg {' '.join(options)} {action} /tmp/package.deb 2>&1")


@contextlib.contextmanager
def layered(*layers, keep=None):
    """The Debian under `layers`, first the uppermost, and a new one above, which is `keep` or is thrown away."""
    with tempfile.TemporaryDirectory(prefix="portcullis-packaging-", ignore_cleanup_errors=True) as folder:
        # In memory where changes are thrown away: an overlay over an overlay cannot be the upper one.
        run("mount", "-t", "tmpfs", "tmpfs", folder)
        upper = pathlib.Path(keep) if keep else pathlib.Path(folder) / "upper"
        work = upper.with_name(upper.name + ".work")
        root = pathlib.Path(folder) / "root"
        for each in (upper, work, root):
            each.mkdir(parents=True, exist_ok=True)
        lower = ":".join(str(each) for each in (*layers, BASE))
        run("mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", root)
        mount_system(root)
        try:
            yield System(root)
        finally:
            run("umount", "-R", root, ok=(0, 32))
            run("umount", "-l", folder, ok=(0, 32))
            if keep:
                shutil.rmtree(work, ignore_errors=True)


def isolated(script, *arguments, network=False):
    """Runs a Python script, which uses `layered`, in namespaces; all its processes end with it. Without `network` it has a loopback of
    its own alone."""
    command = ["unshare", "-m", "--propagation", "private", "-p", "-f", "--kill-child", "--mount-proc"] + ([] if network else ["-n"])
    return subprocess.run(command + [sys.executable, str(script), *arguments], check=False, env={**os.environ, "INSIDE": "1"}).returncode


def raise_loopback():
    run("ip", "link", "set", "lo", "up")


if __name__ == "__main__" and sys.argv[1:2] == ["update"]:
    run("mount", "--make-rprivate", "/")
    mount_system(sys.argv[2])
    run("chroot", sys.argv[2], "apt-get", "-qq", "update")
