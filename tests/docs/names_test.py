#!/usr/bin/env python3
"""What a page names in code spans is there: subcommands and their options, methods, configuration keys, metrics, errors, scripts, files,
tests. A span that is none of these by its form is not looked at. usage: names_test.py BINARY"""
import functools
import os
import pathlib
import re
import subprocess
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import asvs_test  # noqa: E402
import pages  # noqa: E402

ROOT = pages.ROOT
# A specification of what is meant, by its own text; names in it are patterns of names.
NOT_LOOKED_AT = {"docs/style.md"}
# By the form of an order, a key or a test, and something else: what is signed, a column (docs/journal.md), fields and notifications
# (docs/protocol.md), fields of the process log (docs/operations.md).
OTHERS = {"portcullis checkpoint 1", "portcullis snapshot 1", "sessions.last_seen_at_ms", "store.kind", "events.ended", "events.event",
          "log.logger", "log.dropped", "session.handle"}
SUFFIXES = r"\.(md|pem|hpp|cpp|py|toml|json|yml|yaml|cfg|lua|conf|acl|service|js|mjs|gz|keys|txt|supp)"


def binary():
    return os.environ.get("PORTCULLIS_TEST_BINARY") or sys.argv[1]


@functools.cache
def help_of(words):
    """(options, subcommands) of a subcommand."""
    out = subprocess.run([binary(), *words, "--help"], capture_output=True, text=True, check=True).stdout
    _, _, listed = out.partition("Subcommands:")
    return set(re.findall(r"(?<![\w-])(--?[a-z][a-z-]*)", out)), set(re.findall(r"^  ([a-z][a-z-]+)(?= |$)", listed, re.M))


def command(text):
    """What is wrong with an order such as `portcullis events query --types checkpoint`; None."""
    words = re.findall(r"'[^']*'|\"[^\"]*\"|\S+", text)
    while words and "|" in words:  # what it is piped into, or the other words that may stand in its place
        words = words[:words.index("|")]
    path, rest = [], words[1:]
    while rest and rest[0] in (help_of(tuple(path))[1] if path else subcommands()):
        path.append(rest.pop(0))
    options, more = help_of(tuple(path))
    if more and rest and re.fullmatch(r"[a-z][a-z-]*", rest[0]):
        return f"portcullis {' '.join(path)} has no {rest[0]}"
    for word in rest:
        option = re.match(r"\[?(--?[a-z][a-z-]*)", word)
        if option and option[1] not in options:
            return f"portcullis {' '.join(path)} has no option {option[1]}"
    if path == ["call"]:
        method = next((word for word in rest if re.fullmatch(r"[a-z]+\.[a-z_]+", word)), None)
        if method and method not in methods():
            return f"there is no method {method}"
    return None


def table(page):
    return set(re.findall(r"^\| `([^`]+)`", (ROOT / page).read_text(), re.M)) | \
        set(re.findall(r"^\| -?\d+ \| `([A-Z_]+)`", (ROOT / page).read_text(), re.M))


@functools.cache
def methods():
    return set(re.findall(r'X\(\w+, "([a-z_.]+)"', (ROOT / "core/contract/method.hpp").read_text()))


@functools.cache
def keys():
    return table("docs/configuration.md")


@functools.cache
def tests():
    return asvs_test.tests()


@functools.cache
def metrics():
    named = table("docs/metrics.md")
    return named | {f"{name}_{part}" for name in named for part in ("bucket", "sum", "count")}


@functools.cache
def files():
    found = []
    for folder, folders, names in os.walk(ROOT):
        if pathlib.Path(folder) == ROOT:
            folders[:] = [name for name in folders if name not in (".git", "build", "data")]
        folders[:] = [name for name in folders if name != "node_modules"]
        found += [os.path.relpath(os.path.join(folder, name), ROOT) for name in names + folders]
    return found


@functools.cache
def words_of_tests():
    text = " ".join((ROOT / name).read_text(errors="replace") for name in files()
                    if name.startswith("tests/") and not name.startswith("tests/docs/") and name.endswith((".cpp", ".hpp", ".txt", ".py")))
    return set(re.findall(r"\w+", text))


@functools.cache
def words_of_sources():
    rooms = ("core/", "net/", "store/", "actors/", "apps/", "monitoring/", "clients/node/src/")
    text = " ".join((ROOT / name).read_text(errors="replace") for name in files() if name.startswith(rooms) and (ROOT / name).is_file())
    return set(re.findall(r"\w+", text)) | words_of_tests()


def is_there(path, page):
    """A file or folder by its path from the root, from the page, or by the end of its path."""
    path = path.rstrip("/").removeprefix("./")
    if "*" in path or "..." in path:
        import fnmatch
        return any(fnmatch.fnmatch(name, "*" + path.replace("...", "*")) for name in files())
    inside = "/" + path
    ends = {name + suffix for name in (path, inside) for suffix in ("", ".hpp", ".cpp")}
    return any(name in ends or name.endswith(tuple(end for end in ends if end.startswith("/"))) for name in files()) or ((ROOT / page).parent / path).exists()


def subcommands():
    return help_of(())[1] | {"docs"}  # which is not in the list: for those who change Portcullis


def check(page, span):
    """(kind or None, what is wrong or None)."""
    if span in OTHERS:
        return None, None
    if re.match(r"^(build/release/)?portcullis [a-z]", span):
        return "command", command(span)
    first = span.split(" ")[0]
    if first in subcommands() and re.search(r" --[a-z]", span) or re.match(r"^(keys|token|certs|events|breakers) [a-z]+( |$)", span):
        return "command", command("portcullis " + span)
    if re.fullmatch(r"call (--\S+ \S+ )*[a-z]+\.[a-z_]+( .*)?", span):
        return "command", command("portcullis " + span)
    if found := re.match(r"^(scripts/[a-z-]+)((?: --?[a-z-]+)*)", span):
        if not (ROOT / found[1]).exists():
            return "script", "no such script"
        lacks = [option for option in found[2].split() if option not in (ROOT / found[1]).read_text()]
        return "script", f"has no {lacks[0]}" if lacks and found[1] != "scripts/run" else None
    if re.fullmatch(r"(portcullis|circuit_breaker|process)_[a-z_]*[a-z](\{.*\})?( [=<>].*)?", span):
        return "metric", None if re.match(r"[a-z_]+", span)[0] in metrics() else "no such metric"
    if re.fullmatch(r"[a-z_]+\.[a-z0-9_.]+( = .*|=.*)?", span):
        name = re.split(r"[ =]", span)[0]
        if re.search(SUFFIXES + "$", name):
            return "file", None if is_there(name, page) or name in written_elsewhere() else "no such file"
        sections = {key.split(".")[0] for key in keys()} | {method.split(".")[0] for method in methods()}
        if name.split(".")[0] in sections:  # a test may begin like one
            known = name in keys() or name in methods() or any(key.startswith(name + ".") for key in keys()) or name.rpartition(".")[0] + ".NAME" in keys() or name in tests()
            return "name", None if known else "neither a method nor a configuration key"
    if re.fullmatch(r"[\w/]+\.\w+_\w+_\w+", span):
        return "test", None if span in tests() else "no such test"
    if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", span) and span in words_of_sources():
        return "error", None
    if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", span):
        return "error", "nothing of the kind"
    if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)+/?", span) and re.match(
            r"^(core|net|store|actors|monitoring|apps|tests|docs|configs|scripts|cmake|\.ci)/", span):
        return "file", None if is_there(span, page) else "no such file"
    if page in ("docs/reliability.md", "docs/security.md") and re.fullmatch(r"[a-z]+(_[a-z0-9]+)+(\.\*)?", span):
        return "test", None if {span.removesuffix(".*"), span + "_test"} & words_of_sources() else "no such test"
    return None, None


@functools.cache
def written_elsewhere():
    """Files that a page tells of and a reader has: what a node, a command or the reader makes."""
    return {"portcullis.db", "ada.json", "server.pem", "portcullis.keys", "node.toml", "production.toml", "portcullis.cdx.json"}


def main():
    wrong, counts = [], {}
    for page in pages.pages():
        if page in NOT_LOOKED_AT:
            continue
        for line, span in pages.spans((ROOT / page).read_text()):
            kind, problem = check(page, span)
            if kind:
                counts[kind] = counts.get(kind, 0) + 1
            if problem:
                wrong.append(f"{page}:{line}: `{span}`: {problem}")
    print("\n".join(wrong))
    print(", ".join(f"{count} of {kind}" for kind, count in sorted(counts.items())), f"; {len(wrong)} wrong")
    sys.exit(1 if wrong or not counts else 0)


if __name__ == "__main__":
    main()
