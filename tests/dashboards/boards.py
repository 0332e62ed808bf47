"""Dashboards of Grafana and the PromQL in them, as far as the checks need it. Run with files: writes them in their one form."""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / "monitoring/dashboards"
WIDTH = 140


def form(value, indent=0):
    """JSON as the dashboards are kept: what fits stands on one line, all else has a line an entry."""
    def flat(part):
        return json.dumps(part, ensure_ascii=False)

    def entries(part, depth):
        if len(flat(part)) + depth <= WIDTH or not isinstance(part, (dict, list)) or not part:
            return flat(part)
        pad = " " * (depth + 2)
        if isinstance(part, dict):
            inside = [f"{pad}{flat(key)}: {entries(each, depth + 2)}" for key, each in part.items()]
            return "{\n" + ",\n".join(inside) + "\n" + " " * depth + "}"
        return "[\n" + ",\n".join(pad + entries(each, depth + 2) for each in part) + "\n" + " " * depth + "]"

    return entries(value, indent) + "\n"


def load(folder=FOLDER):
    """{file name: dashboard} of a folder."""
    return {path.name: json.loads(path.read_text(encoding="utf-8")) for path in sorted(pathlib.Path(folder).glob("*.json"))}


def panels(board):
    """All panels that are no rows, those in collapsed rows too."""
    for panel in board["panels"]:
        if panel["type"] != "row":
            yield panel
        yield from (inner for inner in panel.get("panels", []) if inner["type"] != "row")


def queries(board):
    """(where, expression, target or None) of each query: of panels, of annotations."""
    for panel in panels(board):
        for target in panel["targets"]:
            yield f"panel {panel['id']} {panel['title']!r} query {target['refId']}", target["expr"], target
    for annotation in board["annotations"]["list"]:
        yield f"annotation {annotation['name']!r}", annotation["expr"], None


AGGREGATIONS = {"sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile"}
GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = AGGREGATIONS | GROUPINGS | {"offset", "bool", "and", "or", "unless", "inf", "nan", "atan2"}
TOKEN = re.compile(r"""\s*(?:(?P<text>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|(?P<range>\[[^\]]*\])|(?P<number>\d[\w.]*)"""
                   r"""|(?P<name>[A-Za-z_:$][\w:$]*)|(?P<mark>=~|!~|!=|==|>=|<=|\S))""")


class Selector:
    """One metric in a query: its name, {label: (operator, value)}, its range as it is written or None, and who is applied to it."""

    def __init__(self, metric, matchers, span, function):
        self.metric, self.matchers, self.span, self.function = metric, matchers, span, function


def tokens(expr):
    at, found = 0, []
    expr = expr.rstrip()
    while at < len(expr):
        match = TOKEN.match(expr, at)
        found.append((match.lastgroup, match.group(match.lastgroup)))
        at = match.end()
    return found


def selectors(expr):
    """The selectors of a query."""
    found, all_tokens, at, calls = [], tokens(expr), 0, []

    def mark(index):
        return all_tokens[index][1] if index < len(all_tokens) else ""

    while at < len(all_tokens):
        kind, text = all_tokens[at]
        if kind == "name" and text.lower() in GROUPINGS:
            at += 1
            if mark(at) == "(":
                while mark(at) != ")":
                    at += 1
                at += 1
            continue
        if text == "(":
            before = all_tokens[at - 1] if at else ("", "")
            calls.append(before[1] if before[0] == "name" and before[1].lower() not in WORDS else "")
        elif text == ")":
            calls.pop()
        elif (kind == "name" and text.lower() not in WORDS and mark(at + 1) != "(") or text == "{":
            metric, matchers = "", {}
            if kind == "name":
                metric = text
                at += 1
            if mark(at) == "{":
                at += 1
                while mark(at) != "}":
                    label, operator, value = mark(at), mark(at + 1), mark(at + 2)
                    matchers[label] = (operator, value[1:-1])
                    at += 4 if mark(at + 3) == "," else 3
                at += 1
            span = mark(at)[1:-1] if at < len(all_tokens) and all_tokens[at][0] == "range" else None
            found.append(Selector(metric, matchers, span, next((call for call in reversed(calls) if call), "")))
            continue
        at += 1
    return found


if __name__ == "__main__":
    for name in sys.argv[1:]:
        file = pathlib.Path(name)
        file.write_text(form(json.loads(file.read_text(encoding="utf-8"))), encoding="utf-8")
