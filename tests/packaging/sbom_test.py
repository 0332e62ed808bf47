"""The bill of materials: everything that is linked or compiled in is in it, nothing else is, and it is CycloneDX.

What is linked is looked up here in another way than scripts/sbom does it: by the cache of the loader, not by running it.
"""
import functools
import hashlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import uuid

from cases import BINARY, BUILD, ROOT, VERSION, case, check, main, need, package, run

BILL = BUILD / "package_files/portcullis.cdx.json"
HEADERS = "headers, compiled in"


@functools.cache
def bill():
    return json.loads(BILL.read_text(encoding="utf-8"))


def linkage(component):
    return next(each["value"] for each in component["properties"] if each["name"] == "portcullis:linkage")


def libraries():
    """{real path: names in DT_NEEDED of it}, of all that the binary needs."""
    cache = {}
    for name, path in re.findall(r"^\s+(\S+) \(libc6,x86-64\S*?(?:, [^)]*)?\) => (\S+)$", run("/sbin/ldconfig", "-p"), re.M):
        cache.setdefault(name, path)
    found, todo = {}, [str(BINARY)]
    while todo:
        needs = re.findall(r"\(NEEDED\).*\[(.+)\]", run("readelf", "-dW", todo.pop()))
        for name in needs:
            path = os.path.realpath(cache[name])
            if path not in found:
                found[path] = name
                todo.append(path)
    return found


@case
def every_library_that_is_loaded_is_in_it_with_its_hash():
    listed = {file["name"]: file["hashes"][0]["content"] for component in bill()["components"] for file in component.get("components", [])}
    loaded = libraries()
    missing, foreign = set(loaded) - set(listed), set(listed) - set(loaded)
    check(not missing, f"missing: {sorted(missing)}")
    check(not foreign, f"not loaded: {sorted(foreign)}")
    for path, digest in listed.items():
        check(hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest() == digest, f"{path}: another file")
    print(f"{len(loaded)} libraries of {len(bill()['components'])} components")


@case
def every_component_is_linked_or_declared_as_headers():
    declared = re.search(r"set\(PORTCULLIS_HEADER_ONLY_PACKAGES ([^)]*)\)", (ROOT / "cmake/dependencies.cmake").read_text(encoding="utf-8"))
    headers = {each["name"] for each in bill()["components"] if linkage(each) == HEADERS}
    check(headers == set(declared.group(1).split()), f"headers: {headers}; CMake: {declared.group(1)}")
    for component in bill()["components"]:
        check(component["name"] in headers or component.get("components"), f"{component['name']}: neither")


@case
def every_header_that_was_read_is_of_a_component():
    """What the compiler read for the binary, as the build has recorded it: of a component's source, of the system's own (libc, the
    compiler, the kernel's), or in the repository."""
    need("ninja")
    known = {next(each["value"] for each in component["properties"] if each["name"] == "portcullis:source").split()[0]
             for component in bill()["components"]}
    system = {"glibc", "gcc-12", "linux"}
    read, ours = set(), False
    for line in run("ninja", "-C", BUILD, "-t", "deps").splitlines():
        if not line.startswith(" "):
            ours = re.match(r"(core|net|store|monitoring|actors|apps)/CMakeFiles/", line) is not None
        elif ours and line.strip().startswith("/usr/"):
            read.add(os.path.realpath(line.strip()))
    check(len(read) > 300, f"{len(read)} headers")
    owners = {}
    for listing in pathlib.Path("/var/lib/dpkg/info").glob("*.list"):
        name = listing.stem.split(":")[0]
        for path in listing.read_text(encoding="utf-8").splitlines():
            if path.startswith("/usr/include/") or path.startswith("/usr/lib/gcc/") or path.startswith("/usr/src/"):
                owners[path] = name
    unowned = sorted(path for path in read if path not in owners)
    check(not unowned, f"of no package: {unowned[:5]}")
    packages = sorted({owners[path] for path in read})
    sources = dict(line.split() for line in run("dpkg-query", "-W", "-f", "${Package} ${source:Package}\n", *packages).splitlines())
    foreign = [name for name in packages if sources[name] not in known | system]
    check(not foreign, f"compiled in and not in the bill: {foreign}")
    for component in bill()["components"]:
        if linkage(component) == HEADERS:
            check(component["name"] in packages, f"{component['name']}: declared, and no header of it was read")


@case
def it_is_what_the_package_has_and_names_the_binary_there():
    with tempfile.TemporaryDirectory() as folder:
        run("dpkg-deb", "-x", package(), folder)
        check((pathlib.Path(folder) / "usr/share/doc/portcullis/portcullis.cdx.json").read_bytes() == BILL.read_bytes(), "another one")
        digest = hashlib.sha256((pathlib.Path(folder) / "usr/bin/portcullis").read_bytes()).hexdigest()
    root = bill()["metadata"]["component"]
    check(root["hashes"] == [{"alg": "SHA-256", "content": digest}], f"the binary is {digest}")
    check(root["version"] == VERSION, root["version"])


@case
def versions_are_those_installed_and_licences_are_named():
    for component in bill()["components"]:
        version = run("dpkg-query", "-W", "-f", "${Version}\n", component["name"]).splitlines()[0]
        check(component["version"] == version, f"{component['name']}: {component['version']}, installed is {version}")
        check(component["purl"].startswith(f"pkg:deb/debian/{component['name'].replace('+', '%2B')}@"), component["purl"])
        check(len(component["licenses"]) >= 1, f"{component['name']}: no licence")


@case
def its_graph_reaches_every_component_from_the_binary():
    graph = {each["ref"]: each["dependsOn"] for each in bill()["dependencies"]}
    root = bill()["metadata"]["component"]["bom-ref"]
    reached, todo = set(), [root]
    while todo:
        ref = todo.pop()
        if ref not in reached:
            reached.add(ref)
            check(ref in graph, f"{ref}: no row of its own")
            todo += graph[ref]
    refs = {component["bom-ref"] for component in bill()["components"]}
    check(reached - {root} == refs, f"not reached: {refs - reached}; not listed: {reached - refs - {root}}")
    check(set(graph) == refs | {root}, "rows of strangers")
    # It does not claim what libraries open by name while running.
    told = {each["aggregate"]: set(each) - {"aggregate"} for each in bill()["compositions"]}
    check(told == {"complete": {"assemblies"}, "incomplete": {"dependencies"}}, f"it says: {told}")


@case
def making_it_again_gives_the_same_bytes():
    rule = run("ninja", "-C", BUILD, "-t", "commands", "package_files")
    line = next(part for part in re.split(r" && |\n", rule) if "scripts/sbom" in part)
    with tempfile.TemporaryDirectory() as folder:
        again = pathlib.Path(folder) / "again.json"
        run("sh", "-c", line.replace(f"--out {BILL}", f"--out {again}"), cwd=BUILD)
        check(again.read_bytes() == BILL.read_bytes(), "another one")
    uuid.UUID(bill()["serialNumber"].removeprefix("urn:uuid:"))


@case
def it_is_valid_by_the_schema_of_cyclonedx():
    """With the validator and the schema of @cyclonedx/cyclonedx-library, from npm (schema/)."""
    need("node")
    said = subprocess.run(["node", ROOT / "tests/packaging/schema/validate.mjs", BUILD / "tests/packaging/schema", BILL], capture_output=True,
                          text=True, check=False)
    check(said.returncode == 0, said.stdout + said.stderr)


main(globals())
