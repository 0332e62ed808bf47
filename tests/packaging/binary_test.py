"""How the binary is compiled and linked: what makes faults in it harder to use, and what makes two builds the same."""
import re

from cases import BINARY, BUILD, ROOT, case, check, main, run


def dynamic():
    return run("readelf", "-dW", BINARY)


def symbols():
    return run("readelf", "--dyn-syms", "-W", BINARY)


@case
def it_is_position_independent():
    check(re.search(r"Type:\s+DYN", run("readelf", "-hW", BINARY)) and "PIE" in dynamic(), "no PIE")


@case
def what_the_loader_has_resolved_is_read_only():
    check("GNU_RELRO" in run("readelf", "-lW", BINARY), "no RELRO")
    check("BIND_NOW" in dynamic() or re.search(r"FLAGS_1.*NOW", dynamic()), "symbols are bound late: partial RELRO only")


@case
def no_memory_is_writable_and_executable():
    rows = re.findall(r"^  (LOAD|GNU_STACK)\s.*?\s([R ][W ][E ])\s+0x\w+$", run("readelf", "-lW", BINARY), re.M)
    check({"LOAD", "GNU_STACK"} <= {name for name, _ in rows}, f"segments: {rows}")
    for name, flags in rows:
        check(not ("W" in flags and "E" in flags) and (name != "GNU_STACK" or "E" not in flags), f"{name} is {flags}")
    check("TEXTREL" not in dynamic(), "text is relocated")


@case
def stacks_are_guarded():
    check("__stack_chk_fail" in symbols(), "no stack protector")


@case
def copies_are_checked():
    """Level 3, which glibc shows by its checked functions; without it none of them is called."""
    found = set(re.findall(r" (__\w+_chk)@", symbols())) - {"__stack_chk_fail"}
    check(found, "no checked function is called")
    print(f"checked functions: {sorted(found)}")


@case
def indirect_branches_land_where_they_may():
    """-fcf-protection: functions begin with endbr64. The mark on the whole file needs a libc built so, which Debian's is not."""
    text = run("objdump", "-d", "--no-show-raw-insn", "--section=.text", "--stop-address=0x" + end_of_sample(), BINARY)
    begins = re.findall(r"^[0-9a-f]+ <[^>]+>:\n\s+[0-9a-f]+:\s+(\S+)", text, re.M)
    marked = sum(begin == "endbr64" for begin in begins)
    check(len(begins) > 100 and marked > len(begins) / 2, f"{marked} of {len(begins)} functions")


def end_of_sample():
    """The first mebibyte of code is enough."""
    start = re.search(r"\.text\s+PROGBITS\s+([0-9a-f]+)", run("readelf", "-SW", BINARY)).group(1)
    return f"{int(start, 16) + (1 << 20):x}"


@case
def flags_are_those_of_every_room():
    """All translation units of the binary, as they were compiled."""
    import json
    units = [unit for unit in json.loads((BUILD / "compile_commands.json").read_text(encoding="utf-8"))
             if re.search(r"CMakeFiles/(portcullis|portcullis_(core|net|store|monitoring|actors|apps))\.dir/", unit["command"])]
    check(len(units) > 100, f"{len(units)} units")
    for unit in units:
        for flag in ("-fstack-protector-strong", "-fstack-clash-protection", "-D_FORTIFY_SOURCE=3", "-fcf-protection=full", "-fPIE",
                     f"-ffile-prefix-map={ROOT}=.", "-Werror=date-time", "-O2"):
            check(flag in unit["command"].split(), f"{unit['file']}: without {flag}")


@case
def no_path_of_the_build_is_in_it():
    """Also not in debug information, as the build has it."""
    content = BINARY.read_bytes()
    for path in (ROOT, BUILD):
        at = content.find(str(path).encode() + b"/")
        check(at < 0, f"{path}: {content[max(at - 40, 0):at + 120]!r}")
    sections = run("readelf", "--debug-dump=info", "--dwarf-depth=1", BINARY)
    check(str(ROOT) not in sections, "debug information names the folder of the build")


@case
def its_archives_have_no_times():
    found = list(BUILD.glob("*/libportcullis_*.a"))
    check(len(found) >= 6, f"archives: {found}")
    for archive in found:
        for line in run("ar", "tvO", archive).splitlines():
            check(" 0/0 " in line and "1970" in line, f"{archive.name}: {line}")


main(globals())
