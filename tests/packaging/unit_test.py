"""The unit file: what systemd says of it, and that the node can live under it. The node itself is run under the filter of system calls
in install_test.py, in every case that starts it.
"""
import contextlib
import ctypes
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

import seccomp
from cases import BINARY, ROOT, UNIT, case, check, main, need, run, unit_settings

EXPOSURE_MAX = 2.0


@case
def systemd_finds_nothing_wrong_with_it():
    """Binaries at their places are what it misses on a machine that has no package: they are given by a root folder."""
    need("systemd-analyze")
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name in ("usr/bin/portcullis", "bin/kill"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text("#!/bin/sh\n", encoding="utf-8")
            (root / name).chmod(0o755)
        unit = root / "etc/systemd/system/portcullis.service"
        unit.parent.mkdir(parents=True)
        unit.write_bytes(UNIT.read_bytes())
        for target in ("sysinit", "basic", "shutdown", "multi-user", "network-online"):
            (unit.parent / f"{target}.target").write_text(f"[Unit]\nDescription={target}\n", encoding="utf-8")
        done = subprocess.run(["systemd-analyze", "verify", "--man=no", f"--root={root}", "portcullis.service"], capture_output=True, text=True,
                              check=False)
    told = [line for line in (done.stdout + done.stderr).splitlines() if "portcullis" in line]
    check(done.returncode == 0 and not told, f"exit {done.returncode}: {done.stdout}{done.stderr}")


@case
def its_exposure_is_low():
    need("systemd-analyze")
    said = run("systemd-analyze", "security", "--offline=true", UNIT)
    score = float(re.search(r"Overall exposure level for portcullis.service: ([0-9.]+)", said).group(1))
    print(f"exposure {score}")
    check(score <= EXPOSURE_MAX, f"exposure {score} is over {EXPOSURE_MAX}:\n" + "\n".join(line for line in said.splitlines() if "✗" in line))


@case
def its_drop_in_changes_the_key_file_alone():
    added = unit_settings(ROOT / "configs/debian/rotate-keys.conf")
    check(set(added) == {"LoadCredential", "Environment", "ReadWritePaths"}, f"settings: {sorted(added)}")
    check(added["LoadCredential"] == [], "the credential is kept")


@case
def every_file_that_it_can_hand_over_is_a_key_of_the_configuration():
    """Also those in its comments: each variable must be one that the node takes."""
    text = UNIT.read_text(encoding="utf-8")
    names = re.findall(r"^#?Environment=(PORTCULLIS_\w+)=%d/(\S+)$", text, re.M)
    credentials = re.findall(r"^#?LoadCredential=([^:\s]+):", text, re.M)
    check(len(names) >= 4 and [file for _, file in names] == credentials, f"{names} and {credentials}")
    with tempfile.TemporaryDirectory() as folder:
        for name, file in names:
            made = pathlib.Path(folder) / file
            made.write_text("x\n", encoding="utf-8")
            config = pathlib.Path(folder) / "c.toml"
            config.write_text('[server]\nenvironment = "development"\n', encoding="utf-8")
            said = subprocess.run([BINARY, "check-config", "--effective", config], capture_output=True, text=True, check=False,
                                  env={**os.environ, name: str(made)}).stdout
            check(re.search(rf' = "{made}" +# environment {name}$', said, re.M), f"{name}: {said}")


@case
def its_list_of_calls_ends_a_process_that_makes_another():
    """The filter that the tests run the node under is one: it kills, it refuses sockets and memory."""
    need("systemd-analyze")
    settings = unit_settings()
    code = seccomp.program(settings["SystemCallFilter"], settings["RestrictAddressFamilies"][-1].split())
    names = seccomp.allowed(settings["SystemCallFilter"])
    for name in ("ptrace", "mount", "bpf", "keyctl", "setuid", "chown", "capset", "io_uring_setup", "kexec_load", "chroot", "reboot", "mlock", "setpriority"):
        check(name not in names, f"{name} is allowed")

    def ends(statement):
        child = subprocess.run([sys.executable, "-c", "import ctypes, socket, mmap\n" + statement], check=False, capture_output=True, text=True,
                               preexec_fn=lambda: seccomp.restrict(code))
        return child.returncode, child.stderr

    check(ends("pass")[0] == 0, f"a process that does nothing: {ends('pass')}")
    check(ends("ctypes.CDLL(None).ptrace(0, 0, 0, 0)")[0] == -signal.SIGSYS, "ptrace did not kill")
    check("Address family not supported" in ends("socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)")[1], "netlink was given")
    check(ends("socket.socket(socket.AF_INET)")[0] == 0, "no socket of the internet's")
    check("PermissionError" in ends("mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)")[1], "memory that can be written and run was given")


class Watched:
    """A node under a watchdog of a short time, as systemd would start it."""

    SECONDS = 2

    def __init__(self, folder, watchdog=True):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.bind(str(folder / "notify"))
        self.log = open(folder / "log", "ab")  # closed in end()

        command = ["/bin/sh", "-c", 'export WATCHDOG_PID=$$; exec "$0" "$@"', str(BINARY), "serve", "--data-dir", str(folder / "data"),
                   "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0", "--set", "server.environment=development", "--set", "auth.mode=none",
                   "--set", "server.loops=2"]
        environment = {**os.environ, "NOTIFY_SOCKET": str(folder / "notify")}
        if watchdog:
            environment["WATCHDOG_USEC"] = str(self.SECONDS * 1_000_000)
        self.process = subprocess.Popen(command, stderr=self.log, stdin=subprocess.DEVNULL, env=environment)
        self.log_path = folder / "log"

    def hears(self, wanted, within_s):
        self.listener.settimeout(within_s)
        try:
            while wanted not in self.listener.recv(4096).decode().splitlines():
                pass
            return True
        except socket.timeout:
            return False

    def forget(self):
        self.listener.setblocking(False)
        try:
            while True:
                self.listener.recv(4096)
        except BlockingIOError:
            pass

    def threads(self):
        """{number: name}"""
        folder = pathlib.Path(f"/proc/{self.process.pid}/task")
        return {int(each.name): (each / "comm").read_text(encoding="utf-8").strip() for each in folder.iterdir()}

    def end(self):
        self.process.terminate()
        status = self.process.wait(60)
        self.log.close()
        self.listener.close()
        return status


class hung:
    """One thread that does nothing while inside: stopped by a tracer, the others go on."""

    ATTACH, DETACH, WALL = 16, 17, 0x40000000

    def __init__(self, thread):
        self.thread = thread

    def trace(self, what):
        if LIBC.ptrace(what, self.thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace {what} of thread {self.thread}")

    def __enter__(self):
        self.trace(self.ATTACH)
        os.waitpid(self.thread, self.WALL)

    def __exit__(self, *_):
        self.trace(self.DETACH)


LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
LIBC.ptrace.restype = ctypes.c_long


@contextlib.contextmanager
def watched():
    """A node that has told its watchdog once, and is stopped in order."""
    with tempfile.TemporaryDirectory(prefix="portcullis-packaging-") as folder:
        node = Watched(pathlib.Path(folder))
        try:
            check(node.hears("READY=1", 60), f"not ready: {node.log_path.read_text()}")
            check(node.hears("WATCHDOG=1", 60), "the watchdog is not told")
            yield node
            check(node.end() == 0, "not stopped in order")
        finally:
            node.process.kill()
            node.process.wait()


def watch(choose):
    """Hangs each thread that `choose(node)` names, one after the other: systemd hears nothing meanwhile, and again after that."""
    with watched() as node:
        threads = choose(node)
        for thread in threads:
            with hung(thread):
                node.hears("WATCHDOG=1", node.SECONDS / 2)  # what was asked before may be told yet
                node.forget()
                check(not node.hears("WATCHDOG=1", node.SECONDS), f"the watchdog is told while thread {thread} hangs")
            check(node.hears("WATCHDOG=1", 60), f"the watchdog is not told after thread {thread} goes on")
        return node.log_path.read_text(encoding="utf-8"), threads


def written(node, thread):
    text = pathlib.Path(f"/proc/{node.process.pid}/task/{thread}/io").read_text(encoding="utf-8")
    return int(re.search(r"^write_bytes: (\d+)$", text, re.M).group(1))


@case
def the_watchdog_hears_nothing_while_a_loop_hangs():
    log, threads = watch(lambda node: [number for number, name in node.threads().items() if name == "portcullis-loop"])
    check(len(threads) == 2, f"loops: {threads}")
    check('"part":"loop 0"' in log and '"part":"loop 1"' in log, f"the log does not say which: {log[-2000:]}")


@case
def the_watchdog_is_told_while_the_journal_hangs():
    """Validations go on while a disk hangs. Its thread is the one that has written to the disk."""
    with watched() as node:
        journal = max(node.threads(), key=lambda thread: written(node, thread) if thread != node.process.pid else 0)
        with hung(journal):
            node.forget()
            for _ in range(5):  # the first may have been asked for before
                check(node.hears("WATCHDOG=1", 60), "the watchdog is not told while the journal hangs")
            log = node.log_path.read_text(encoding="utf-8")
            check("part_silent" not in log, log[-2000:])


@case
def the_watchdog_is_told_between_reloads():
    """Each comes before a quarter of the watchdog's time is over."""
    with watched() as node:
        for _ in range(3):
            until = time.monotonic() + 60
            node.process.send_signal(signal.SIGHUP)
            while not node.hears("WATCHDOG=1", node.SECONDS / 40):
                check(time.monotonic() < until, "the watchdog is not told while the configuration is read again and again")
                node.process.send_signal(signal.SIGHUP)


@case
def without_a_watchdog_nobody_is_told():
    """systemd counts a ping that it did not ask for as nothing; it is not sent all the same."""
    with tempfile.TemporaryDirectory(prefix="portcullis-packaging-") as folder:
        node = Watched(pathlib.Path(folder), watchdog=False)
        try:
            check(node.hears("READY=1", 60), "not ready")
            check(not node.hears("WATCHDOG=1", node.SECONDS), "told")
            check(node.end() == 0, "not stopped in order")
        finally:
            node.process.kill()
            node.process.wait()


main(globals())
