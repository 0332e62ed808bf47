"""Whether what a command printed is what its page shows, but for what differs from run to run."""
import json
import re

# What is another one each time. Ids are also held against each other: the page's first stands for the run's first, everywhere.
IDS = [("hex64", r"\b[0-9a-f]{64}\b"), ("hex32", r"\b[0-9a-f]{32}\b"), ("hex16", r"\b[0-9a-f]{16}\b"),
       ("handle", r"\b[ps]_[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])"),
       ("base64", r"(?<![A-Za-z0-9_-])(?=[A-Z0-9_-]*[a-z])(?=[a-z0-9_-]*[A-Z])[A-Za-z0-9_-]{22}(?![A-Za-z0-9_-])")]
OTHERS = [("time", r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z| UTC)"), ("ms", r"(?<![\d.])\d{13}(?![\d.])"),
          ("wait", r'(?<=_ms":)\d+\b|(?<=retry after )\d+(?= ms)'), ("bytes", r'(?<="bytes":)\d+'), ("process", r"(?<=process )\d+"),
          ("real", r"(?<![\d.])\d+\.\d+(?![\d.])")]
VOLATILE = re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in IDS + OTHERS))


def _classes(line):
    return VOLATILE.sub(lambda found: f"<{found.lastgroup}>" if found.lastgroup else found[0], line.rstrip())


def _ids(line):
    return [found[0] for found in VOLATILE.finditer(line) if found.lastgroup in dict(IDS)]


def _kinds(value):
    """JSON with the classes of what differs in place of its values; of objects, in the order of the page."""
    return json.dumps(json.loads(_quoted(value)), ensure_ascii=False)


def _quoted(text):
    """Numbers that differ are made texts, so that it is JSON still."""
    def put(found):
        inside = text[:found.start()].count('"') % 2 == 1
        return f"<{found.lastgroup}>" if inside else f'"<{found.lastgroup}>"'
    return VOLATILE.sub(put, text)


def _same(shown, printed, bound):
    if "..." in shown:
        pattern = ".*".join(re.escape(part) for part in _classes(shown).split("..."))
        return re.fullmatch(pattern, _classes(printed)) is not None
    same = _classes(shown) == _classes(printed)
    if not same and shown.startswith(("{", "[")):
        try:
            same = _kinds(shown) == _kinds(printed)
        except ValueError:
            return False
    if not same:
        return False
    met = dict(bound)
    for one, other in zip(_ids(shown), _ids(printed)):
        if met.setdefault(one, other) != other or sum(other == known for known in met.values()) > 1:
            return False  # one of the page is one of the run, and another another
    bound.update(met)
    return True


def differences(shown, printed, bound):
    """What is wrong, or None. A line that begins with `...` stands for any lines, also none; `...` inside one for any text."""
    expected, got = shown.splitlines(), printed.splitlines()
    at, loose = 0, False
    for line in expected:
        if line.strip().startswith("...") and line.strip().strip(".")[:1] in ("", " "):
            loose = True
            continue
        here = at
        while loose and here < len(got) and not _same(line, got[here], bound):
            here += 1
        if here >= len(got) or not _same(line, got[here], bound):
            there = got[at] if at < len(got) else "(nothing)"
            return f"the page shows\n    {line}\nand there came\n    {there}"
        at, loose = here + 1, False
    if not loose and at < len(got):
        return f"there came more than the page shows:\n    {got[at]}"
    return None
