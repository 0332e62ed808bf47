"""Builds the packages that the other tests look at, without compiling anything: the binary is the build's."""
import pathlib
import shutil

from cases import BUILD, NEXT_VERSION, VERSION, WORK, case, check, main, need, packed, run


def pack(folder, version=VERSION):
    need("cpack", "dpkg-shlibdeps")
    check((BUILD / "package_files/portcullis.cdx.json").exists(), "the target package_files was not built: scripts/build release")
    target = WORK / folder
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    run("cpack", "-G", "DEB", "--config", BUILD / "CPackConfig.cmake", "-B", target, "-D", f"CPACK_PACKAGE_VERSION={version}", cwd=BUILD)
    shutil.rmtree(target / "_CPack_Packages")
    check(packed(folder, version).exists(), f"no {packed(folder, version).name} among {[each.name for each in target.iterdir()]}")


@case
def a_package_and_the_one_after_it_are_built():
    pack("deb")
    pack("next", NEXT_VERSION)


@case
def packing_again_gives_the_same_bytes():
    pack("again")
    first, second = packed("deb"), packed("again")
    same = first.read_bytes() == second.read_bytes()
    check(same, f"{first} and {second} differ: diffoscope says where")
    shutil.rmtree(WORK / "again")


@case
def the_script_builds_the_same_package_and_says_what_is_next():
    root = pathlib.Path(__file__).resolve().parents[2]
    told = run(root / "scripts/package").splitlines()
    check(len(told) == 5 and told[0].endswith(packed("deb").name), f"said: {told}")
    check(pathlib.Path(told[0]).read_bytes() == packed("deb").read_bytes(), "another package than cpack's alone")


main(globals())
