#!/usr/bin/env python3
"""Runs the commands of one page of the documentation in their order and compares what they print with what the page shows.
usage: run_page.py PAGE BINARY

All of a page is one shell, at the root of a copy of the repository, as root, in a sandbox: the machine's files under an overlay
that is thrown away, no network but an own loopback, an own /tmp, an end of all processes with the page. `scripts/build` and
`scripts/install-deps` do nothing there: what they do has been done. `systemctl` and `journalctl` are those of this folder.

Above a block may stand, as a comment:
  <!-- not run: REASON -->      it is listed and left out
  <!-- by hand: COMMANDS -->    what a reader does with an editor before it, as commands; $BLOCKS/LANGUAGE is the last block of another language
A block without a language or of `json` that follows a block of `sh` at once is what that prints (shown.py). One of lines `> ` and
`< ` is a conversation with the node on 127.0.0.1:7420: what was sent, what came; ids that came are sent as they came this time.
"""
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pages  # noqa: E402
import shown  # noqa: E402

PATIENCE_S = 60
HOME = "/home/reader"
TREE = f"{HOME}/portcullis"
CONNECTED = object()
# What runs until Ctrl-C: what it says when others may go on (None: at once; CONNECTED: when it is). The second of a kind ends the first,
# as a reader does.
RUNS_ON = [(re.compile(r"^(scripts/run|(build/release/)?portcullis serve)\b"), "The node is ready."),
           (re.compile(r"^scripts/(cluster|monitoring)\b"), "Ctrl-C stops"),
           (re.compile(r"^(build/release/)?portcullis (events tail|breakers watch)\b"), CONNECTED),
           (re.compile(r"^(build/release/)?portcullis top\b(?!.* --once)"), "sessions "),
           (re.compile(r"^(curl -N|journalctl .*-f)"), None)]


def commands(text):
    """[(line in the block, command)]: as many lines as the shell needs to understand it."""
    found, gathered, begun = [], "", 0
    for number, line in enumerate(text.splitlines()):
        if not gathered and (not line.strip() or line.lstrip().startswith("#")):
            continue
        begun = begun if gathered else number
        gathered += line + "\n"
        checked = subprocess.run(["bash", "-n"], input=gathered, capture_output=True, text=True)
        if checked.returncode == 0 and "here-document" not in checked.stderr and not line.endswith("\\"):
            found.append((begun, gathered.rstrip("\n")))
            gathered = ""
    if gathered:
        raise SystemExit(f"the shell does not understand: {gathered}")
    return found


def is_connected(session):
    """Whether a process of this session has a TCP connection."""
    rows = [line.split() for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == "01"}
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(process.name)) == session and sockets & {os.readlink(fd) for fd in (process / "fd").iterdir()}:
                return True
        except OSError:  # it has ended meanwhile
            continue
    return False


class Shell:
    """One bash that commands are handed to; what they print is gathered."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        os.mkfifo(self.folder / "done")
        self.process = subprocess.Popen(["bash", "--norc"], stdin=subprocess.PIPE, text=True, start_new_session=True)
        self.background = []

    def run(self, command):
        """(exit status, what it printed)."""
        (self.folder / "command").write_text(command + "\n")
        out = self.folder / "out"
        self.process.stdin.write(f"source {self.folder}/command >{out} 2>&1 </dev/null; echo $? >{self.folder}/done\n")
        self.process.stdin.flush()
        signal.signal(signal.SIGALRM, lambda *_: sys.exit(f"no end after {PATIENCE_S} s: {command}\n{out.read_text()}"))
        signal.alarm(PATIENCE_S)
        status = int((self.folder / "done").read_text() or -1)
        signal.alarm(0)
        return status, out.read_text(errors="replace")

    def start(self, kind, ready, command):
        """What is wrong, or None."""
        wrong = [problem for problem in (self.end(kind),) if problem]
        out = self.folder / f"background-{len(self.background)}"
        with open(out, "wb") as file:
            process = subprocess.Popen(["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                                       start_new_session=True)
        self.background.append((kind, command, process, out))
        until = time.monotonic() + PATIENCE_S
        def is_ready():
            return is_connected(process.pid) if ready is CONNECTED else not ready or ready in out.read_text(errors="replace")

        while not is_ready():
            if process.poll() is not None or time.monotonic() > until:
                wrong.append(f"it is not ready:\n{out.read_text(errors='replace')}")
                break
            time.sleep(0.02)
        return "\n".join(wrong) or None

    def end(self, kind=None):
        """Ctrl-C to what runs on, of one kind or all; the last started first. What is wrong, or None."""
        wrong = []
        for entry in [entry for entry in reversed(self.background) if kind in (None, entry[0])]:
            self.background.remove(entry)
            of, command, process, out = entry
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            status = process.wait(PATIENCE_S)
            if status == -signal.SIGINT and re.match(r"(build/release/)?portcullis top\b", command):
                continue  # into a pipe it leaves Ctrl-C to the system
            if status != 0 and not command.startswith(("curl", "journalctl")) and "|" not in command:
                wrong.append(f"{command}: ended with {status}:\n{out.read_text(errors='replace')[-2000:]}")
        return "\n".join(wrong) or None


def run(page):
    """Inside the sandbox: the exit status."""
    text = (pages.ROOT / page).read_text()
    scratch = tempfile.mkdtemp()
    os.environ["BLOCKS"] = scratch
    shell = Shell(scratch)
    failed, ran, blocks, left_out, bound = 0, 0, 0, [], {}

    def report(line, command, problem):
        nonlocal failed
        failed += 1
        print(f"{page}:{line}: {command}\n  {problem}\n", flush=True)

    printed, shows = "", []
    def compare():
        if shows:
            if problem := shown.differences("".join(block.text for block in shows), printed, bound):
                report(shows[0].line, "(output)", problem + "\nAll that came:\n" + printed)
        shows.clear()

    def do(line, command):
        """What it printed."""
        kind = next(((number, ready) for number, (pattern, ready) in enumerate(RUNS_ON) if pattern.match(command)), None)
        if kind:
            if problem := shell.start(*kind, command):
                report(line, command, problem)
            return ""
        status, out = shell.run(command)
        if status != 0:
            report(line, command, f"exit status {status}:\n{out}")
        return out

    def prepare(line, steps):
        for offset, command in commands(steps):
            do(line, command)

    def talk(block):
        nonlocal ran, blocks
        blocks += 1
        with socket.create_connection(("127.0.0.1", 7420), timeout=PATIENCE_S) as connection:
            for number, line in enumerate(block.text.splitlines(), block.line):
                if line.startswith("> "):
                    ran += 1
                    sent = line[2:]
                    for one, other in bound.items():
                        sent = sent.replace(one, other)
                    connection.sendall(sent.encode() + b"\n")
                    came = connection.makefile().readline()
                elif problem := shown.differences(line.removeprefix("< "), came, bound):
                    report(number, "(answer)", problem)

    after_command = False
    for block in pages.blocks(text):
        if block.language in ("", "json", "text") and block.joined and after_command:
            shows.append(block)
            continue
        compare()
        if block.language == "" and block.text.startswith("> "):
            if block.note.startswith("by hand:"):
                steps = block.note.removeprefix("by hand:").strip()
                prepare(block.line, steps)
            talk(block)
            continue
        after_command = block.language == "sh" and not block.note.startswith("not run:")
        if block.language != "sh":
            (pathlib.Path(scratch) / block.language).write_text(block.text)  # for what comes by hand after it
            continue
        if block.note.startswith("not run:"):
            left_out.append((block.line, block.note.removeprefix("not run:").strip()))
            continue
        printed = ""
        blocks += 1
        todo = commands(block.text)
        if block.note.startswith("by hand:"):
            prepare(block.line, block.note.removeprefix("by hand:").strip())
        for offset, command in todo:
            ran += 1
            printed += do(block.line + offset, command)
    compare()
    if problem := shell.end():
        report(0, "(end)", problem)
    print(f"{page}: {blocks} blocks, {ran} commands, {failed} wrong, {len(left_out)} not run")
    for line, reason in left_out:
        print(f"{page}:{line}: not run: {reason}")
    return 1 if failed else 0


def sandbox(page, binary, base):
    """In namespaces of its own already: builds the sandbox, enters it, runs the page."""
    def sh(*command):
        subprocess.run(command, check=True)

    sh("ip", "link", "set", "lo", "up")
    sh("mount", "--make-rprivate", "/")
    sh("mount", "-t", "tmpfs", "-o", "mode=755", "none", base)
    upper, work, root = (f"{base}/{name}" for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        os.mkdir(folder)
    sh("mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/,upperdir={upper},workdir={work}", root)
    sh("mount", "-t", "proc", "proc", f"{root}/proc")
    sh("mount", "--rbind", "/dev", f"{root}/dev")
    sh("mount", "-t", "tmpfs", "-o", "mode=1777", "none", f"{root}/tmp")
    tree = pathlib.Path(root + TREE)
    tree.parent.mkdir(parents=True)
    top = {".git", "build", "data"}
    shutil.copytree(pages.ROOT, tree, symlinks=True,
                    ignore=lambda folder, names: {"node_modules"}.union(top if pathlib.Path(folder) == pages.ROOT else ()).intersection(names))
    release = tree / "build/release"
    release.mkdir(parents=True)
    (release / "portcullis").touch()
    sh("mount", "--bind", "-o", "ro", binary, str(release / "portcullis"))
    for done in ("build", "install-deps"):
        (tree / "scripts" / done).write_text("#!/bin/sh\n")
    local = pathlib.Path(f"{root}/usr/local/bin")
    # Before whatever the page installs as /usr/bin/portcullis: the same binary.
    (local / "portcullis").symlink_to(f"{TREE}/build/release/portcullis")
    for stand_in in ("systemctl", "journalctl", "ctest"):
        shutil.copy(pages.ROOT / "tests/docs" / stand_in, local / stand_in)
    os.chroot(root)
    os.chdir(TREE)
    environment = {"HOME": HOME, "PATH": "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8",
                   "SHELL": "/bin/bash", "TERM": "dumb"}
    os.execvpe("/usr/bin/python3", ["python3", "tests/docs/run_page.py", "--inside", page], environment)


def main():
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(run(sys.argv[2]))
    if sys.argv[1:2] == ["--sandbox"]:
        sandbox(*sys.argv[2:5])
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    page = sys.argv[1]
    binary = os.path.realpath(os.environ.get("PORTCULLIS_TEST_BINARY") or sys.argv[2])
    unshared = ["unshare", "--mount", "--net", "--ipc", "--pid", "--fork", "--kill-child", sys.executable, __file__]
    with tempfile.TemporaryDirectory(prefix="portcullis-docs-") as base:
        ended = subprocess.run([*unshared, "--sandbox", page, binary, base], stdin=subprocess.DEVNULL)
    if ended.returncode != 0:
        print("(It needs root and the right to mount and to make namespaces: unshare, overlay, tmpfs; packages: scripts/install-deps.)")
    sys.exit(ended.returncode)


if __name__ == "__main__":
    main()
