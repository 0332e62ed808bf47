#!/usr/bin/env python3
"""Each checker of this folder sees what it is there for: faults are put into a copy of the repository, and each has to be told of.
usage: planted_test.py BINARY"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pages  # noqa: E402

NAMES = """# Planted
`portcullis verify --nothing F`, `portcullis nodesx`, `call session.vanish`, `session.idle_tll_s`, `portcullis_sessions_lost`,
`STORE_EMPTY`, `core/session/decided.cpp`, `scripts/runs`, `events query --typo x`,
`durability.a_folder_of_nobody_is_taken`.
"""
NAMES_TOLD = ["has no option --nothing", "`portcullis nodesx`", "no method session.vanish", "`session.idle_tll_s`", "`portcullis_sessions_lost`",
              "`STORE_EMPTY`", "`core/session/decided.cpp`", "`scripts/runs`", "has no option --typo",
              "`durability.a_folder_of_nobody_is_taken`"]

LINKS = """# Planted
[gone](gone.md) [no heading](operations.md#no-such-heading)
```sh
true
```
"""
LINKS_TOLD = ["gone.md: no such file", "operations.md#no-such-heading: no such heading", "docs/README.md: does not name docs/planted.md",
              "docs/planted.md: has commands and no case"]

RUN = """# Planted
```sh
echo one
echo "two $((1 + 1))"
```
```
one
two 3
```
```sh
false
```
```sh
echo more
echo than shown
```
```
more
```
```sh
echo 0123456789abcdef 0123456789abcdef
```
```
00000000000000aa 00000000000000bb
```
```sh
echo '{"a":1,"b":"x"}'
```
```json
{"a":1,"b":2}
```
```sh
echo 'begin'; echo 'middle'; echo 'end'
```
```
begin
...
ends
```
<!-- not run: planted -->
```sh
exit 9
```
"""
RUN_TOLD = ["two 3", "false\n  exit status 1", "there came more than the page shows:\n    than shown", "00000000000000aa", '{"a":1,"b":2}', "    ends\n",
            "6 blocks, 8 commands, 6 wrong, 1 not run", "not run: planted"]

ASVS = [("| 7.2.3 |", "| 7.2.2 |", ["7.2.3 is missing", "7.2.2 is there 2 times"]),
        ("`core/session/policy.hpp`", "`core/session/polity.hpp`", ["core/session/polity.hpp: no such file"]),
        ("`ttls.may_only_shorten_the_policy`", "`ttls.may_do_anything`", ["ttls.may_do_anything: no such test"]),
        ("| 16.5.3 | never fails open | yes |", "| 16.5.3 | never fails open | surely |", ["'surely' is no state"]),
        ("`apps/malloc_settings.cpp` | `operating.the_process_has_its_malloc_settings_and_its_own_name`", "`apps/malloc_settings.cpp` | ",
         ["1.2.5 is yes, without place or test"])]


def told(copy, wanted, *command):
    """What is wrong: the checker was content, or did not tell of one of the faults."""
    ran = subprocess.run([sys.executable, *command], cwd=copy, capture_output=True, text=True)
    out = ran.stdout + ran.stderr
    problems = [] if ran.returncode == 1 else [f"ended with {ran.returncode}"]
    problems += [f"did not tell of {fault!r}" for fault in wanted if fault not in out]
    return [f"{pathlib.Path(command[0]).name}: {problem}" for problem in problems] + ([out] if problems else [])


def main():
    binary = os.path.realpath(os.environ.get("PORTCULLIS_TEST_BINARY") or sys.argv[1])
    wrong = []
    with tempfile.TemporaryDirectory(prefix="portcullis-docs-") as folder:
        copy = pathlib.Path(folder) / "copy"
        shutil.copytree(pages.ROOT, copy, ignore=lambda at, names: {".git", "build", "data"} if pathlib.Path(at) == pages.ROOT else [])
        planted = copy / "docs/planted.md"
        here = copy / "tests/docs"
        for text, wanted, *command in ((NAMES, NAMES_TOLD, here / "names_test.py", binary), (LINKS, LINKS_TOLD, here / "links_test.py", "README.md"),
                                       (RUN, RUN_TOLD, here / "run_page.py", "docs/planted.md", binary)):
            planted.write_text(text)
            wrong += told(copy, wanted, *map(str, command))
        page = copy / "docs/asvs.md"
        text = page.read_text()
        for old, new, _ in ASVS:
            if old not in text:
                wrong.append(f"asvs.md has no {old!r} any more")
            text = text.replace(old, new, 1)
        page.write_text(text)
        wrong += told(copy, [fault for *_, faults in ASVS for fault in faults], str(here / "asvs_test.py"))
    print("\n".join(wrong))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
