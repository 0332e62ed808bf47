#!/usr/bin/env python3
"""docs/asvs.md: no requirement of ASVS 5.0.0 is missing or there twice, each row says whether it is met, and what a row cites is there:
files, and tests by their names. What is met has a place and a test, or says why there is none. Table cells of security.md's tests, too."""
import pathlib
import re
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pages  # noqa: E402

ROOT = pages.ROOT
# How many requirements each section of ASVS 5.0.0 has.
SECTIONS = {
    1: (2, 10, 12, 3, 3), 2: (3, 3, 5, 2), 3: (1, 3, 5, 8, 8, 1, 5), 4: (5, 5, 2, 4), 5: (1, 6, 3, 3), 6: (3, 12, 8, 6, 8, 4, 2, 4),
    7: (3, 4, 2, 5, 3, 2), 8: (4, 4, 3, 2), 9: (3, 4), 10: (2, 3, 5, 16, 5, 2, 3), 11: (4, 5, 5, 4, 2, 2, 2), 12: (5, 2, 5),
    13: (4, 6, 4, 7), 14: (2, 8, 3), 15: (5, 5, 7, 4), 16: (1, 5, 4, 3, 4), 17: (2, 8, 2)}
ALL = [f"{chapter}.{section}.{number}" for chapter, counts in SECTIONS.items() for section, count in enumerate(counts, 1)
       for number in range(1, count + 1)]
STATES = {"yes", "partly", "no", "yours", "-"}


def expand(cell):
    """The numbers that `1.2.6 to 1.2.8, 1.3.1` names."""
    named = []
    for part in cell.split(", "):
        first, _, last = part.partition(" to ")
        named += ALL[ALL.index(first):ALL.index(last or first) + 1]
    return named


def tests():
    """`suite.name` of every test of the sources, and the names of ctest's own."""
    found = set()
    for file in (ROOT / "tests").rglob("*.cpp"):
        for macro, suite, name in re.findall(r"\b(TEST|TEST_F|TEST_P|RC_GTEST_PROP)\(\s*(\w+),\s*(\w+)", file.read_text()):
            if not name.startswith("DISABLED_") and not suite.startswith("DISABLED_"):
                found |= {f"{suite}.{name}", suite}
        for prefix, suite in re.findall(r"INSTANTIATE_TEST_SUITE_P\(\s*(\w+),\s*(\w+)", file.read_text()):
            found |= {f"{prefix}/{name}" for name in list(found) if name.split(".")[0] == suite}
    for file in (ROOT / "tests").rglob("CMakeLists.txt"):
        found |= set(re.findall(r"add_test\(NAME ([\w.-]+)", file.read_text()))
    # A case is a function that is registered there by its name.
    registered = set(re.findall(r"\w+", (ROOT / "tests/packaging/CMakeLists.txt").read_text()))
    for file in (ROOT / "tests/packaging").glob("*_test.py"):
        found |= {f"packaging.{name}" for name in re.findall(r"^@case\ndef (\w+)", file.read_text(), re.M) if name in registered}
    return found


def rows(page):
    """[(line number, cells)] of the tables' bodies."""
    found = []
    for number, line in enumerate((ROOT / page).read_text().splitlines(), 1):
        if line.startswith("|") and not re.match(r"^\|[-| ]+\|$", line):
            found.append((number, [cell.strip() for cell in re.sub(r"\\\|", "/", line).strip("|").split("|")]))
    return found


def cited(cell):
    return re.findall(r"`([^`]+)`", cell)


def main():
    wrong, there, seen, count = [], tests(), [], 0

    def test(page, line, name):
        nonlocal count
        count += 1
        if name not in there:
            wrong.append(f"{page}:{line}: {name}: no such test")

    for line, cells in rows("docs/asvs.md"):
        where = f"docs/asvs.md:{line}"
        if not re.match(r"^\d+\.\d+\.\d+", cells[0]):
            continue
        if len(cells) != 6:
            wrong.append(f"{where}: {len(cells)} cells")
            continue
        ids, _, state, how, places, names = cells
        seen += expand(ids)
        if state not in STATES:
            wrong.append(f"{where}: {state!r} is no state")
        if state in ("yes", "partly") and (not cited(places) or not (cited(names) or names.startswith("none: "))):
            wrong.append(f"{where}: {ids} is {state}, without place or test")
        wrong += [f"{where}: {place}: no such file" for place in cited(places) if not (ROOT / place).exists()]
        for name in cited(names):
            test("docs/asvs.md", line, name)
    wrong += [f"docs/asvs.md: {missing} is missing" for missing in ALL if missing not in seen]
    wrong += [f"docs/asvs.md: {twice} is there {seen.count(twice)} times" for twice in sorted(set(seen)) if seen.count(twice) > 1]
    for line, cells in rows("docs/security.md"):
        for name in cited(cells[-1]):
            if re.fullmatch(r"[\w/]+\.[a-z]\w+", name) and "_" in name:
                test("docs/security.md", line, name)
    print("\n".join(wrong))
    print(f"{len(seen)} of {len(ALL)} requirements, {count} tests cited of {len(there)}, {len(wrong)} wrong")
    sys.exit(1 if wrong or not count else 0)


if __name__ == "__main__":
    main()
