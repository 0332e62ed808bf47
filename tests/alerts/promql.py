"""Which series a PromQL expression names: a tokenizer, no parser. Enough to say whether they exist."""
import dataclasses
import re

TOKEN = re.compile(r"""
    (?P<space>\s+|\#[^\n]*)
  | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`[^`]*`)
  | (?P<duration>\d+(?:ms|[smhdwy])(?:\d+(?:ms|[smhdwy]))*(?![A-Za-z0-9_]))
  | (?P<number>(?:0x[0-9a-fA-F]+|\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+)(?![A-Za-z0-9_]))
  | (?P<name>[A-Za-z_:][A-Za-z0-9_:]*)
  | (?P<operator>=~|!~|==|!=|<=|>=|[-+*/%^=<>(){}\[\],:@])
""", re.VERBOSE)
BEFORE_LABELS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
WORDS = {"and", "or", "unless", "offset", "bool", "inf", "nan", "start", "end"} | BEFORE_LABELS


@dataclasses.dataclass(frozen=True)
class Selector:
    name: str  # "" where there is none
    matchers: tuple  # of (label, operator, text)


def tokens(expression):
    """[(kind, text)]; ValueError for what is no PromQL."""
    found, at = [], 0
    while at < len(expression):
        match = TOKEN.match(expression, at)
        if not match:
            raise ValueError(f"not PromQL at {expression[at:at + 20]!r}")
        at = match.end()
        if match.lastgroup != "space":
            found.append((match.lastgroup, match[0]))
    return found


def _matchers(of, at):
    """(matchers, index behind the closing brace); `at` is behind the opening one."""
    matchers = []
    while of[at][1] != "}":
        if of[at][1] == ",":
            at += 1
            continue
        (_, label), (_, operator), (_, text) = of[at:at + 3]
        matchers.append((label, operator, text[1:-1]))
        at += 3
    return tuple(matchers), at + 1


def selectors(expression):
    """[Selector] of an expression."""
    of = tokens(expression) + [("end", "")]
    found, at = [], 0
    while of[at][0] != "end":
        kind, text = of[at]
        after = of[at + 1][1]
        if kind == "name" and text in BEFORE_LABELS and after == "(":
            while of[at][1] != ")":
                at += 1
        elif kind == "name" and text.lower() not in WORDS and after != "(" and not _aggregates(of, at):
            matchers, at = _matchers(of, at + 2) if after == "{" else ((), at + 1)
            found.append(Selector(text, matchers))
            continue
        elif text == "{":
            matchers, at = _matchers(of, at + 1)
            found.append(Selector("", matchers))
            continue
        at += 1
    return found


def _aggregates(of, at):
    """Whether it is `sum` of `sum by (...)`."""
    return of[at + 1][1] in ("by", "without")


def comparisons(expression):
    """The numbers that an expression compares with."""
    of = tokens(expression)
    return [right[1] for (left, right) in zip(of, of[1:])
            if left[1] in ("==", "!=", "<", ">", "<=", ">=") and right[0] == "number"]
