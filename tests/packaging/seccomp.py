"""The unit's system call filter and what else of its sandbox is one, on a process of ours: BPF as systemd would write it, but with
death (SIGSYS) for what is not allowed, so that a test sees also the call whose failure the program would have put up with.

x86-64 only, as the numbers of the calls are.
"""
import ctypes
import functools
import re
import struct
import subprocess

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
ALLOW, KILL, ERRNO_EPERM, ERRNO_EAFNOSUPPORT = 0x7FFF0000, 0x80000000, 0x00050001, 0x00050061
X86_64 = 0xC000003E
LD_ABS, JEQ, JSET, JGE, RET = 0x20, 0x15, 0x45, 0x35, 0x06
NR, ARCH, ARGUMENT = 0, 4, 16  # where they stand in struct seccomp_data; an argument has 8 bytes, the lower 4 first
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
PROT_WRITE, PROT_EXEC = 2, 4


@functools.cache
def numbers():
    """{name: number} of the machine's calls (linux-libc-dev)."""
    with open("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", encoding="utf-8") as header:
        return {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)", header.read())}


@functools.cache
def members(name):
    """The calls of a name or, in all depth, of a set of systemd's."""
    if not name.startswith("@"):
        return frozenset([name])
    lines = subprocess.run(["systemd-analyze", "syscall-filter", name], capture_output=True, text=True, check=True).stdout.splitlines()
    parts = [line.strip() for line in lines[1:] if line.strip() and not line.strip().startswith("#")]
    assert parts, name
    return frozenset().union(*(members(part) for part in parts))


def allowed(filters):
    """The names that the values of SystemCallFilter leave: the first makes a list, those with ~ take from it."""
    names = set()
    for value in filters:
        for part in value.lstrip("~").split():
            names = names - members(part) if value.startswith("~") else names | members(part)
    return names


def instruction(code, jump_true, jump_false, value):
    return struct.pack("HBBI", code, jump_true, jump_false, value)


def program(filters, families):
    """The filter: calls not in `filters` kill, sockets of other families fail as under RestrictAddressFamilies, memory that is
    writable and executable fails as under MemoryDenyWriteExecute."""
    known = numbers()
    code = [instruction(LD_ABS, 0, 0, ARCH), instruction(JEQ, 1, 0, X86_64), instruction(RET, 0, 0, KILL), instruction(LD_ABS, 0, 0, NR)]

    def special(name, body):
        code.append(instruction(JEQ, 0, len(body), known[name]))
        code.extend(body)

    socket = [instruction(LD_ABS, 0, 0, ARGUMENT)]
    for family in families:
        socket += [instruction(JEQ, 0, 1, FAMILIES[family]), instruction(RET, 0, 0, ALLOW)]
    special("socket", socket + [instruction(RET, 0, 0, ERRNO_EAFNOSUPPORT)])
    protection = ARGUMENT + 2 * 8
    special("mmap", [instruction(LD_ABS, 0, 0, protection), instruction(JSET, 0, 2, PROT_EXEC), instruction(JSET, 0, 1, PROT_WRITE),
                     instruction(RET, 0, 0, ERRNO_EPERM), instruction(RET, 0, 0, ALLOW)])
    special("mprotect", [instruction(LD_ABS, 0, 0, protection), instruction(JSET, 0, 1, PROT_EXEC), instruction(RET, 0, 0, ERRNO_EPERM),
                         instruction(RET, 0, 0, ALLOW)])
    for name in sorted(allowed(filters)):
        if name in known:
            code += [instruction(JEQ, 0, 1, known[name]), instruction(RET, 0, 0, ALLOW)]
    code.append(instruction(RET, 0, 0, KILL))
    return code


class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def restrict(code):
    """This process and all that it becomes, for ever. After fork, before exec."""
    raw = b"".join(code)
    loaded = Program(len(code), ctypes.c_char_p(raw))
    if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 or LIBC.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(loaded), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "seccomp")
