"""Builds the packages that the other tests look at, without compiling anything: the binary is the build's."""
import os
import pathlib
import shutil
import tempfile

from cases import BUILD, NEXT_VERSION, VERSION, WORK, case, check, main, need, packed, run


def pack(folder):
    need("cpack", "dpkg-shlibdeps")
    check((BUILD / "package_files/portcullis.cdx.json").exists(), "the target package_files was not built: scripts/build release")
    target = WORK / folder
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    run("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", target, cwd=BUILD)
    shutil.rmtree(target / "_CPack_Packages")
    check(packed(folder).exists(), f"no {packed(folder).name} among {[each.name for each in target.iterdir()]}")


def pack_next():
    """The version after this one: the same, but for what it says of itself."""
    target = WORK / "next"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    run("dpkg-deb", "-R", packed("deb"), target / "root")
    control = target / "root/DEBIAN/control"
    control.write_text(control.read_text(encoding="utf-8").replace(f"Version: {VERSION}\n", f"Version: {NEXT_VERSION}\n"), encoding="utf-8")
    run("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "-b", target / "root", packed("next", NEXT_VERSION))
    shutil.rmtree(target / "root")


@case
def a_package_and_the_one_after_it_are_built():
    pack("deb")
    pack_next()


@case
def packing_again_gives_the_same_bytes():
    pack("again")
    first, second = packed("deb"), packed("again")
    same = first.read_bytes() == second.read_bytes()
    check(same, f"{first} and {second} differ: diffoscope says where")
    shutil.rmtree(WORK / "again")


@case
def installing_without_a_package_puts_the_same_files_in_the_same_places():
    """cmake --install; only stripping is the package's own."""
    with tempfile.TemporaryDirectory() as folder:
        run("cmake", "--install", BUILD, env={**os.environ, "DESTDIR": folder})
        installed = {str(file.relative_to(folder)): file for file in pathlib.Path(folder).rglob("*") if file.is_file()}
        run("dpkg-deb", "-x", packed("deb"), f"{folder}/package")
        root = pathlib.Path(folder) / "package"
        wanted = {str(file.relative_to(root)): file for file in root.rglob("*") if file.is_file()}
        check(set(installed) == set(wanted), f"differ: {sorted(set(installed) ^ set(wanted))}")
        for name, file in wanted.items():
            check(file.stat().st_mode == installed[name].stat().st_mode, f"{name}: another mode")
            check(name == "usr/bin/portcullis" or file.read_bytes() == installed[name].read_bytes(), f"{name}: another content")


@case
def the_script_builds_the_same_package_and_says_what_is_next():
    root = pathlib.Path(__file__).resolve().parents[2]
    told = run(root / "scripts/package").splitlines()
    check(len(told) == 5 and told[0].endswith(packed("deb").name), f"said: {told}")
    check(pathlib.Path(told[0]).read_bytes() == packed("deb").read_bytes(), "another package than cpack's alone")


main(globals())
