"""A service as the unit file describes it, without systemd: its user, environment, credentials, folders, limits, no capabilities, and
its system calls under the unit's filter with death for any other.
"""
import os
import pathlib
import pwd
import resource
import shlex
import shutil
import signal
import socket
import subprocess
import sys

import seccomp
from cases import unit_settings

CREDENTIALS = "/run/credentials/portcullis.service"


class Service:
    """`root` is where the service's / is; None: this machine's own, with the caller as its user."""

    def __init__(self, root=None, unit=None, drop_ins=(), environment=None, replace=None):
        self.root = pathlib.Path(root) if root else None
        text = pathlib.Path(unit) if unit else self.root / "usr/lib/systemd/system/portcullis.service"
        self.settings = unit_settings(text)
        for each in drop_ins:
            for key, values in unit_settings(pathlib.Path(each)).items():
                self.settings[key] = self.settings.get(key, []) + values if values else []
        self.replace = replace or {}
        self.extra = environment or {}
        self.filter = seccomp.program(self.settings["SystemCallFilter"], self.one("RestrictAddressFamilies").split())
        self.process = None
        self.listener = None

    def one(self, key):
        return self.settings[key][-1]

    def within(self, path):
        return self.root / path.lstrip("/") if self.root else pathlib.Path(path)

    def environment(self):
        made = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
        for value in self.settings.get("Environment", []):
            name, _, text = value.partition("=")
            made[name] = text.replace("%d", CREDENTIALS)
        if self.settings.get("LoadCredential"):
            made["CREDENTIALS_DIRECTORY"] = CREDENTIALS
        return {**made, **self.extra}

    def load_credentials(self, user):
        """Copies that root owns and the service may read: systemd's access control list shows as the group's right, as it does here."""
        folder = self.within(CREDENTIALS)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for value in self.settings.get("LoadCredential", []):
            name, _, source = value.partition(":")
            shutil.copyfile(self.within(source), folder / name)
            os.chown(folder / name, 0, user.pw_gid)
            (folder / name).chmod(0o440)
        os.chown(folder, 0, user.pw_gid)
        folder.chmod(0o550)

    def user(self):
        for line in self.within("/etc/passwd").read_text(encoding="utf-8").splitlines():
            parts = line.split(":")
            if parts[0] == self.one("User"):
                return pwd.struct_passwd([parts[0], parts[1], int(parts[2]), int(parts[3]), parts[4], parts[5], parts[6]])
        raise AssertionError(f"there is no user {self.one('User')}")

    def become(self, user):
        """What the child does before it is the service; what goes wrong is said here, since subprocess does not say it."""
        try:
            self.enter(user)
        except BaseException as failed:
            os.write(2, f"the service could not be entered: {failed!r}\n".encode())
            raise

    def enter(self, user):
        # A container may allow less than the unit.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = min(int(self.one("LimitNOFILE")), hard if hard != resource.RLIM_INFINITY else 1 << 30)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.umask(int(self.one("UMask"), 8))
        os.chroot(self.root)
        os.chdir("/")
        os.setgroups([])
        os.setgid(user.pw_gid)
        os.setuid(user.pw_uid)
        seccomp.restrict(self.filter)

    def command(self, key):
        return [self.replace.get(part, part) for part in shlex.split(self.one(key))]

    def spawn(self, command, **options):
        user = self.user()
        return subprocess.Popen(command, preexec_fn=lambda: self.become(user), env=self.environment(), stdin=subprocess.DEVNULL, **options)

    def begin(self, patience_s=60):
        """ExecStartPre, ExecStart; back when the service has told that it is ready."""
        user = self.user()
        for key, mode in (("StateDirectory", 0o700), ("LogsDirectory", 0o750), ("RuntimeDirectory", 0o755)):
            base = {"StateDirectory": "/var/lib", "LogsDirectory": "/var/log", "RuntimeDirectory": "/run"}[key]
            folder = self.within(f"{base}/{self.one(key)}")
            folder.mkdir(exist_ok=True)
            folder.chmod(mode)
            os.chown(folder, user.pw_uid, user.pw_gid)
        self.load_credentials(user)
        before = self.spawn(self.command("ExecStartPre"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said, _ = before.communicate(timeout=patience_s)
        if before.returncode != 0 or "would not start" in said:
            raise AssertionError(f"ExecStartPre: exit {before.returncode}: {said}")
        told = self.within("/run/notify")
        told.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.listener.bind(str(told))
        told.chmod(0o666)
        self.listener.settimeout(patience_s)
        self.extra["NOTIFY_SOCKET"] = "/run/notify"
        self.log_path = self.within("/run/portcullis.log")
        with open(self.log_path, "ab") as log:
            self.process = self.spawn(self.command("ExecStart"), stdout=log, stderr=log)
        self.await_message("READY=1")
        return self

    def await_message(self, wanted):
        while True:
            try:
                got = self.listener.recv(4096).decode()
            except socket.timeout:
                raise AssertionError(f"{wanted} was not told; exit {self.process.poll()}; {self.log()[-2000:]}") from None
            if wanted in got.splitlines():
                return

    def reload(self):
        """ExecReload, under the same filter."""
        command = [part.replace("$MAINPID", str(self.process.pid)) for part in self.command("ExecReload")]
        done = self.spawn(command)
        if done.wait(60) != 0:
            raise AssertionError(f"ExecReload: exit {done.returncode}")
        self.await_message("RELOADING=1")
        self.await_message("READY=1")

    def stop(self):
        """The exit status; negative: the number of the signal that killed it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(60)
        self.listener.close()
        return status

    def log(self):
        return self.log_path.read_text(encoding="utf-8", errors="replace") if self.log_path.exists() else ""
