#!/usr/bin/env python3
"""Every link from a page to a file or a heading of the repository leads there; docs/README.md names each page of docs; the tests know
each page that has commands. usage: links_test.py [CASES]   CASES: the pages that ctest has a case of, with commas"""
import pathlib
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parent))
import pages  # noqa: E402


def main():
    texts = {page: (pages.ROOT / page).read_text() for page in pages.pages()}
    wrong, count = [], 0
    for page, text in texts.items():
        for line, target in pages.links(text):
            count += 1
            path, _, anchor = target.partition("#")
            file = (pages.ROOT / page).parent / path if path else pages.ROOT / page
            if not file.exists():
                wrong.append(f"{page}:{line}: {target}: no such file")
            elif anchor and anchor not in pages.anchors(file.read_text()):
                wrong.append(f"{page}:{line}: {target}: no such heading")
    index = {(pages.ROOT / "docs" / target.partition("#")[0]).resolve() for _, target in pages.links(texts["docs/README.md"])}
    for page in texts:
        folder = (pages.ROOT / page).parent
        named = (pages.ROOT / page).resolve() in index or folder.resolve() in index
        if page.startswith("docs/") and page != "docs/README.md" and not named:
            wrong.append(f"docs/README.md: does not name {page}")
    if len(sys.argv) > 1:
        cases = set(sys.argv[1].split(","))
        for page, text in texts.items():
            # The commands of runbooks are run where their alert fires (tests/monitoring), those of a client by its own tests.
            runs = not page.startswith(("monitoring/runbooks/", "clients/")) and any(block.language == "sh" or block.text.startswith("> ") for block in pages.blocks(text))
            if runs and page not in cases:
                wrong.append(f"{page}: has commands and no case in tests/docs/CMakeLists.txt")
        wrong += [f"{page}: is in tests/docs/CMakeLists.txt and is none" for page in cases - texts.keys()]
    print("\n".join(wrong))
    print(f"{count} links on {len(texts)} pages, {len(wrong)} wrong")
    sys.exit(1 if wrong or count == 0 else 0)


if __name__ == "__main__":
    main()
