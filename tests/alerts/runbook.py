"""A runbook as the tests see it: sections, and blocks of commands with what they show.

A command is a line of a ```sh block that ends in `  # shows: TEXT`, or `  # exit N, shows: TEXT` where it ends with another
status than 0. Blocks with another word after `sh` are not run: `systemd` needs a host with systemd, `by-hand` changes what a
test must not.
"""
import dataclasses
import re

SECTIONS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Escalation"]
NOT_RUN = {"systemd", "by-hand"}
EXPECTATION = re.compile(r"^(?P<command>.*?)  # (?:exit (?P<status>\d+), )?shows: (?P<shows>.+)$")


@dataclasses.dataclass
class Command:
    section: str
    text: str
    status: int
    shows: str


@dataclasses.dataclass
class Runbook:
    name: str
    head: str  # shell: variables and functions of all commands
    sections: dict  # title: text
    commands: list
    problems: list


def parse(name, text):
    """The runbook of that text. What is not as it should be is in `problems`."""
    problems = []
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    if not parts[0].startswith(f"# {name}\n"):
        problems.append(f"the title is not {name}")
    sections = dict(zip(parts[1::2], parts[2::2]))
    if list(sections) != SECTIONS:
        problems.append(f"sections {list(sections)}, not {SECTIONS}")
    heads = re.findall(r"^```sh\n(.*?)^```$", parts[0], flags=re.MULTILINE | re.DOTALL)
    if len(heads) != 1:
        problems.append("before the first section stands not exactly one block of variables")
    commands = []
    for section, body in sections.items():
        if not body.strip():
            problems.append(f"{section} is empty")
        for word, block in re.findall(r"^```sh ?(\S*)\n(.*?)^```$", body, flags=re.MULTILINE | re.DOTALL):
            if word in NOT_RUN:
                continue
            if word:
                problems.append(f"{section}: a block of kind {word}")
            for line in block.splitlines():
                found = EXPECTATION.match(line)
                if found:
                    commands.append(Command(section, found["command"], int(found["status"] or 0), found["shows"].strip()))
                else:
                    problems.append(f"{section}: does not say what it shows: {line}")
    if not any(command.section == "Diagnosis" for command in commands):
        problems.append("Diagnosis has no command")
    return Runbook(name, heads[0] if heads else "", sections, commands, problems)
