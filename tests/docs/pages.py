"""The pages of the documentation, and what stands in them: blocks, code spans, links."""
import dataclasses
import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]


def pages():
    """Every page that somebody who uses, runs or changes Portcullis reads; paths from the root."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("configs/**/*.md"), *ROOT.glob("monitoring/**/*.md"), *ROOT.glob("clients/*/README.md")]
    found = [page.relative_to(ROOT).as_posix() for page in found]
    # A history, not a description: what it names may be gone.
    return sorted(page for page in found if page != "CHANGELOG.md")


@dataclasses.dataclass
class Block:
    """A fenced block. `note` is the comment right above it, `joined` that only white space parts it from the block before."""
    line: int
    language: str
    text: str
    note: str
    joined: bool


def _outside(text):
    """[(line number, line)] outside fences, and the fenced blocks."""
    lines, blocks, fence, comment, between = [], [], None, "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if fence is None and (opened := re.match(r"^```(\S*)( [\w-]+)?\s*$", line)):  # a second word: of the runbooks
            fence = Block(number + 1, opened[1], "", "", not between.strip() and bool(blocks))
            if noted := re.search(r"<!--((?:(?!-->).)*)-->\s*$", comment, re.S):
                fence.note = noted[1].strip()
        elif fence is not None and line.startswith("```"):
            blocks.append(fence)
            fence, comment, between = None, "", ""
        elif fence is not None:
            fence.text += line + "\n"
        else:
            lines.append((number, line))
            comment += line + "\n"
            between += line
    if fence is not None:
        raise SystemExit(f"line {fence.line}: a fence that is not closed")
    return lines, blocks


def blocks(text):
    return _outside(text)[1]


def prose(text):
    """[(line number, line)] without fenced blocks and comments; numbers stay true."""
    kept = re.sub(r"<!--.*?-->", lambda gone: "\n" * gone[0].count("\n"), text, flags=re.S)
    return [(number, line) for number, line in _outside(kept)[0] if not line.startswith("    ")]


def spans(text):
    """[(line number, code)] of the code spans in prose and tables; a span may go over a line's end."""
    kept = prose(text)
    joined, starts = "", []
    for number, line in kept:
        starts.append((len(joined), number))
        # A paragraph's end closes what was not closed.
        joined += (line if line.count("`") or line.strip() else "\n") + "\n"
    found = []
    for span in re.finditer(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)", joined):
        number = max(number for at, number in starts if at <= span.start())
        found.append((number, re.sub(r"\s*\n\s*", " ", span[1]).replace("\\|", "|")))
    return found


def anchors(text):
    """The anchors that GitHub makes of a page's headings."""
    made = set()
    for _, line in prose(text):
        if heading := re.match(r"^#{1,6} (.*?)\s*#*$", line):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1]).replace("`", "").lower()
            words = re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
            name, again = words, 0
            while name in made:
                again += 1
                name = f"{words}-{again}"
            made.add(name)
    return made


def links(text):
    """[(line number, target)] of the links that are not to elsewhere."""
    found = []
    for number, line in prose(text):
        bare = re.sub(r"`[^`]*`", lambda code: " " * len(code[0]), line)
        found += [(number, target) for target in re.findall(r"\]\(([^)\s]+)\)", bare) if not re.match(r"^[a-z]+:", target)]
    return found
