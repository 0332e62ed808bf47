"""The package's life on a Debian of its own: installed, started as its unit says, upgraded, removed, purged.

Each case begins with the layer `installed`, which the first makes, and throws its own changes away.
"""
import json
import os
import pathlib
import re
import shutil
import sys
import urllib.request

import inside
from cases import BINARY as BINARY_OF_NOW, ROOT, WORK, case, check, main, next_package, package, run
from service import CREDENTIALS, Service

INSTALLED = WORK / "installed"
CONFIG = "/etc/portcullis/portcullis.toml"
KEYS = "/etc/portcullis/portcullis.keys"
DATA = "/var/lib/portcullis/portcullis.db"
THRESHOLDS = "/etc/portcullis/monitoring/thresholds.yaml"
MASK = "/etc/systemd/system/portcullis.service"


def call(system, token, method, parameters="{}"):
    return json.loads(system.run("portcullis", "call", "--token-file", token, method, parameters))


def give_tokens(system):
    """What the package tells to do next."""
    text = system.read(CONFIG)
    for number, (name, role) in enumerate((("web", "app"), ("ops", "admin")), 1):
        told = system.run("portcullis", "token", "new", "--name", name, "--role", role, "--out", f"/root/{name}.token")
        digest = re.search(r'sha256 = "([0-9a-f]{64})"', told).group(1)
        placeholder = f"{number:064d}"
        check(placeholder in text, f"the configuration has no example {placeholder}")
        text = text.replace(placeholder, digest)
    system.write(CONFIG, text, 0o640)
    run("chroot", system.root, "chown", "root:portcullis", CONFIG)


SESSION = {"tenant_id": "acme", "user_id": "ada", "context": {"ip": "203.0.113.7", "user_agent": "Firefox"}}


def sign_in(system):
    return call(system, "/root/web.token", "session.create", json.dumps(SESSION))["session_id"]


def is_valid(system, session):
    question = {"session_id": session, "context": SESSION["context"]}
    return call(system, "/root/web.token", "session.validate", json.dumps(question))["valid"]


def pretend_systemd(system):
    """Who would be called where systemd runs; the calls stand in /calls."""
    for name in ("systemctl", "deb-systemd-invoke"):
        system.write(f"/usr/bin/{name}", f'#!/bin/sh\necho "{name} $*" >> /calls\n', 0o755)
    system.path("/run/systemd/system").mkdir(parents=True)
    system.write("/calls", "")


@case
def installing():
    """With apt, which fetches what it depends on. The layer is for the other cases."""
    shutil.rmtree(INSTALLED, ignore_errors=True)
    with inside.layered(keep=INSTALLED) as system:
        shutil.copyfile(package(), system.path("/tmp/package.deb"))
        system.path("/var/cache/apt/archives/partial").mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", inside.ARCHIVES, system.path("/var/cache/apt/archives"))
        (inside.ARCHIVES / "partial").mkdir(exist_ok=True)
        # What the lists of a kept Debian name may be gone from the mirror by now.
        system.run("apt-get", "-qq", "update")
        said = system.run("sh", "-c", "apt-get -y --no-install-recommends -o Debug::NoLocking=1 install /tmp/package.deb 2>&1")
        run("umount", system.path("/var/cache/apt/archives"))
        system.path("/tmp/package.deb").unlink()
    (WORK / "installing.log").write_text(said, encoding="utf-8")


@case
def what_an_installation_made():
    with inside.layered(INSTALLED) as system:
        user = system.run("getent", "passwd", "portcullis").strip().split(":")
        check(user[5:] == ["/var/lib/portcullis", "/usr/sbin/nologin"], f"the user is {user}")
        for name, wanted in (("/etc/portcullis", "root:root 755"), (CONFIG, "root:portcullis 640"), (KEYS, "root:root 600"),
                             ("/etc/portcullis/monitoring", "root:root 755"), (THRESHOLDS, "root:root 644"),
                             ("/var/lib/portcullis", "portcullis:portcullis 700"), ("/var/log/portcullis", "portcullis:portcullis 750"),
                             ("/var/backups/portcullis", "portcullis:portcullis 700"), ("/usr/bin/portcullis", "root:root 755")):
            check(system.owner_and_mode(name) == wanted, f"{name} is {system.owner_and_mode(name)}, not {wanted}")
        check("ring key" in system.run("portcullis", "keys", "list", "--config", CONFIG), "the key file is none")
        enabled = system.path("/etc/systemd/system/multi-user.target.wants/portcullis.service")
        check(enabled.is_symlink(), "the service is not enabled")
        # What is in the folder that everybody may enter is for everybody to read where it is no secret, and else for nobody.
        run("chroot", system.root, "useradd", "--system", "stranger")
        readable = system.run("setpriv", "--reuid=stranger", "--clear-groups", "find", "/etc/portcullis", "-type", "f", "-readable").split()
        check(readable == [THRESHOLDS], f"everybody reads {readable}")
        check(system.run("portcullis", "check-config", CONFIG).strip() == f"{CONFIG}: ok", "the configuration is not valid as installed")
        check(system.run("dpkg", "--verify", "portcullis") == "", "dpkg misses something")


@case
def an_installation_says_what_is_next_and_starts_nothing():
    said = (WORK / "installing.log").read_text(encoding="utf-8")
    check(len(re.findall(r"^  [123]\. ", said, re.M)) == 3, said)
    with inside.layered(INSTALLED) as system:
        system.dpkg("-P", "portcullis")
        pretend_systemd(system)
        system.dpkg("-i", package())
        calls = system.read("/calls")
        check("daemon-reload" in calls and "start" not in calls, f"calls: {calls}")


@case
def the_node_serves_as_its_unit_says():
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        service = Service(system.root).begin()
        session = sign_in(system)
        check(is_valid(system, session), "the session is not valid")
        check(system.owner_and_mode(DATA) == "portcullis:portcullis 600", f"{DATA} is {system.owner_and_mode(DATA)}")
        backed_up = call(system, "/root/ops.token", "admin.backup", '{"path":"/var/backups/portcullis/1.db"}')
        check(backed_up["bytes"] > 0, f"backup: {backed_up}")
        service.reload()
        check(is_valid(system, session), "the session is not valid after a reload")
        check(service.stop() == 0, f"not stopped in order: {service.log()[-2000:]}")


def every_door(system):
    """A configuration with all listeners, and the drop-in that hands over what the unit's comments offer for it."""
    system.run("portcullis", "certs", "dev", "--out", "/root/certs", "--host", "localhost")
    for name, source in (("server.pem", "server.pem"), ("server-key.pem", "server-key.pem"), ("clients-ca.pem", "ca.pem")):
        system.run("install", "-D", "-m", "600" if "key" in name else "644", f"/root/certs/{source}", f"/etc/portcullis/certs/{name}")
    system.write("/etc/portcullis/cookie.secrets", "0123456789abcdef0123456789abcdef\n", 0o600)
    text = system.read(CONFIG)
    system.write(CONFIG, text + """
[listen.rpc_tls]
address = "127.0.0.1:7421"
[listen.https]
address = "127.0.0.1:7481"
[listen.rpc_unix]
path = "/run/portcullis/rpc.sock"
[tls]
certificate_file = "/etc/portcullis/certs/server.pem"
client_ca_file = "/etc/portcullis/certs/clients-ca.pem"
client_certificates = "optional"
[store]
event_retention_h = 1
""", 0o640)
    lines = [line[1:] for line in system.read("/usr/lib/systemd/system/portcullis.service").splitlines()
             if re.match(r"#(LoadCredential=(tls|cookie)|Environment=PORTCULLIS_(TLS|AUTHZ))", line)]
    check(len(lines) == 4, f"the unit offers: {lines}")
    system.write("/etc/systemd/system/portcullis.service.d/override.conf", "[Service]\n" + "\n".join(lines) + "\n")
    return system.path("/etc/systemd/system/portcullis.service.d/override.conf")


@case
def under_load_on_every_door_the_node_makes_no_call_that_its_unit_forbids():
    """The filter kills here, so a node that is alive and ends in order has made none."""
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        service = Service(system.root, drop_ins=[every_door(system)]).begin()
        for address in ("127.0.0.1:7420", "unix:/run/portcullis/rpc.sock", "tls://localhost:7421"):
            trust = ["--ca", "/root/certs/ca.pem"] if address.startswith("tls") else []
            said = system.run("portcullis", "bench", "--address", address, *trust, "--token-file", "/root/ops.token", "--seconds", "1", "--warmup",
                              "0", "--sessions", "200", "--connections", "20", "--depth", "4", "--mix",
                              "validate=40,mismatch=5,unknown=5,create=20,list=5,acquire=10,report=10,ping=5")
            check(re.search(r"[1-9]\d* requests|[1-9]\d*/s", said), said)
        token = system.read("/root/ops.token").strip()
        ask = urllib.request.Request("http://127.0.0.1:7480/rpc", b'{"jsonrpc":"2.0","id":1,"method":"server.info"}',
                                     {"Content-Type": "application/json", "Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(ask, timeout=60) as answer:
            check(b'"result"' in answer.read(), "/rpc")
        with urllib.request.urlopen("http://127.0.0.1:7480/metrics", timeout=60) as answer:
            check(b"portcullis_validations_total" in answer.read(), "/metrics")
        listed = system.run("portcullis", "events", "query", "--token-file", "/root/ops.token", "--limit", "5")
        check(len(listed.splitlines()) == 5, listed)
        call(system, "/root/ops.token", "session.revoke_tenant", '{"tenant_id":"bench"}')
        call(system, "/root/ops.token", "admin.backup", '{"path":"/var/backups/portcullis/1.db"}')
        service.reload()
        check(service.process.poll() is None, f"ended by signal {service.process.poll()}")
        check(service.stop() == 0, f"not stopped in order: {service.log()[-2000:]}")


@case
def a_drop_in_lets_its_group_use_the_socket_and_nobody_else():
    """That of operations.md. Files in the data folder stay the service's own."""
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        system.write(CONFIG, system.read(CONFIG) + '[listen.rpc_unix]\npath = "/run/portcullis/rpc.sock"\n', 0o640)
        text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
        drop_in = re.search(r"^```ini\n(\[Service\]\nUMask=.*?)^```$", text, re.M | re.S).group(1)
        system.write("/etc/systemd/system/portcullis.service.d/socket.conf", drop_in)
        system.run("sh", "-ec", "useradd --system --groups portcullis shop; useradd --system stranger; chmod 644 /root/web.token; chmod 711 /root")
        ask = ["portcullis", "call", "--address", "unix:/run/portcullis/rpc.sock", "--token-file", "/root/web.token", "server.ping"]
        for drop_ins, shop in (([], 2), ([system.path("/etc/systemd/system/portcullis.service.d/socket.conf")], 0)):
            service = Service(system.root, drop_ins=drop_ins).begin()
            system.run("setpriv", "--reuid=shop", "--init-groups", *ask, ok=(shop,))
            system.run("setpriv", "--reuid=stranger", "--init-groups", *ask, ok=(2,))
            check(system.owner_and_mode("/var/lib/portcullis") == "portcullis:portcullis 700", "the data folder is open")
            check(service.stop() == 0, f"not stopped in order: {service.log()[-2000:]}")


@case
def keys_handed_over_as_a_credential_are_not_rotated_and_why_is_told():
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        before = system.path(KEYS).read_bytes()
        service = Service(system.root).begin()
        refused = json.loads(system.run("portcullis", "call", "--token-file", "/root/ops.token", "admin.rotate_keys", ok=(1,)))
        details = refused["data"]["details"] if "data" in refused else refused["error"]["data"]["details"]
        check((details["field"], details["rule"]) == ("crypto.keys_file", "not_a_credential"), f"{refused}")
        check("Rotating the keys of a service" in service.log(), service.log()[-2000:])
        check(service.stop() == 0, "not stopped in order")
        check(system.path(KEYS).read_bytes() == before, "the key file has changed")
        # Stopped, root rotates the file itself.
        system.run("portcullis", "keys", "rotate", "--config", CONFIG)
        check(system.path(KEYS).read_bytes() != before and system.owner_and_mode(KEYS) == "root:root 600", system.owner_and_mode(KEYS))
        service = Service(system.root).begin()
        check(service.stop() == 0, "not stopped in order")


@case
def the_drop_in_lets_the_node_rotate_its_keys():
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        drop_in = system.path("/usr/share/doc/portcullis/examples/rotate-keys.conf")
        steps = re.findall(r"^#   (.*)$", drop_in.read_text(encoding="utf-8"), re.M)
        for step in steps:
            if not step.startswith("systemctl"):
                system.run("sh", "-ec", step)
        check(len(steps) == 4, f"the drop-in says: {steps}")
        # Beside what others hand over (by systemctl edit), in the order in which systemd reads them.
        others = every_door(system)
        placed = sorted(others.parent.glob("*.conf"))
        check(len(placed) == 2, f"drop-ins: {placed}")
        service = Service(system.root, drop_ins=placed).begin()
        there = {each.name for each in system.path(CREDENTIALS).iterdir()}
        check(there == {"tls.key", "cookie.secrets"}, f"credentials: {there}")
        session = sign_in(system)
        check(call(system, "/root/ops.token", "admin.rotate_keys")["keys"] == 2, "not rotated")
        check(is_valid(system, session), "the session is not valid")
        check(service.stop() == 0, "not stopped in order")
        check(system.owner_and_mode("/etc/portcullis/keys/portcullis.keys") == "portcullis:portcullis 600", "owner or mode have changed")


@case
def an_upgrade_keeps_sessions_keys_and_what_was_configured():
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        system.write(CONFIG, system.read(CONFIG).replace("threshold = 10", "threshold = 7"), 0o640)
        service = Service(system.root).begin()
        session = sign_in(system)
        check(service.stop() == 0, "not stopped in order")
        kept = {name: system.path(name).read_bytes() for name in (CONFIG, KEYS)}
        system.run("sh", "-ec", "chown root:adm /var/log/portcullis; chmod 2755 /var/log/portcullis")
        system.write(THRESHOLDS, system.read(THRESHOLDS).replace("threshold:restarts', expr: 2}", "threshold:restarts', expr: 5}"))
        pretend_systemd(system)
        system.dpkg("-i", next_package())
        calls = system.read("/calls")
        check("deb-systemd-invoke try-restart portcullis.service" in calls, f"calls: {calls}")
        check("stop" not in calls, f"stopped while unpacking: {calls}")
        check(system.owner_and_mode("/var/log/portcullis") == "root:adm 2755", f"the folder's mode is not what it was set to: "
              f"{system.owner_and_mode('/var/log/portcullis')}")
        run("chroot", system.root, "chown", "portcullis:portcullis", "/var/log/portcullis")
        check("threshold:restarts', expr: 5}" in system.read(THRESHOLDS), "the administrator's threshold is gone")
        check("999" in system.run("dpkg-query", "-W", "-f", "${Version}", "portcullis"), "not the next version")
        for name, content in kept.items():
            check(system.path(name).read_bytes() == content, f"{name} has changed")
        service = Service(system.root).begin()
        check(is_valid(system, session), "the session is not valid")
        effective = system.run("portcullis", "check-config", "--effective", CONFIG)
        check(re.search(r"threshold = 7\b", effective), "the edit is gone")
        check(service.stop() == 0, "not stopped in order")


@case
def an_upgrade_whose_program_refuses_the_configuration_leaves_the_old_one_running():
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        system.write(CONFIG, system.read(CONFIG) + "[a_section_that_is_gone]\nkey = 1\n", 0o640)
        pretend_systemd(system)
        said = system.dpkg("-i", next_package())
        check("restart" not in system.read("/calls"), f"calls: {system.read('/calls')}")
        check("NOT restarted" in said and "a_section_that_is_gone" in said and "systemctl restart portcullis" in said, said)
        check(system.run("dpkg-query", "-W", "-f", "${Status}", "portcullis") == "install ok installed", "not installed")


@case
def an_upgrade_leaves_a_disabled_service_disabled():
    with inside.layered(INSTALLED) as system:
        link = system.path("/etc/systemd/system/multi-user.target.wants/portcullis.service")
        link.unlink()
        system.dpkg("-i", next_package())
        check(not link.is_symlink(), "enabled again")


@case
def a_removal_stops_the_service_and_keeps_everything_else():
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        service = Service(system.root).begin()
        session = sign_in(system)
        check(service.stop() == 0, "not stopped in order")
        pretend_systemd(system)
        kept = {name: system.path(name).read_bytes() for name in (CONFIG, KEYS)}
        system.dpkg("-r", "portcullis")
        check(os.path.islink(system.path(MASK)), "the unit is not masked while it is gone")
        check("deb-systemd-invoke stop portcullis.service" in system.read("/calls"), f"calls: {system.read('/calls')}")
        check(not system.path("/usr/bin/portcullis").exists(), "the binary is left")
        for name, content in kept.items():
            check(system.path(name).read_bytes() == content, f"{name} has changed")
        check(system.path(DATA).exists(), "the data is gone")
        # Installed again, it goes on where it was; somebody has a token, so it is started.
        system.write("/calls", "")
        system.dpkg("-i", package())
        check(not os.path.lexists(system.path(MASK)), f"{MASK} is left: the service cannot be started")
        check(system.path("/etc/systemd/system/multi-user.target.wants/portcullis.service").is_symlink(), "the service is not enabled")
        calls = system.read("/calls")
        check("deb-systemd-invoke start portcullis.service" in calls and "try-restart" not in calls, f"calls: {calls}")
        for name, content in kept.items():
            check(system.path(name).read_bytes() == content, f"{name} has changed")
        service = Service(system.root).begin()
        check(is_valid(system, session), "the session is not valid")
        check(service.stop() == 0, "not stopped in order")


@case
def data_without_its_keys_gets_no_other_keys():
    with inside.layered(INSTALLED) as system:
        system.dpkg("-P", "portcullis")
        system.path("/var/lib/portcullis").mkdir()
        system.write(DATA, "somebody's")
        said = system.dpkg("-i", package())
        check("no key file" in said, said)
        check(not system.path(KEYS).exists(), "a key file was made")


@case
def a_purge_takes_all_but_backups():
    with inside.layered(INSTALLED) as system:
        give_tokens(system)
        service = Service(system.root).begin()
        sign_in(system)
        call(system, "/root/ops.token", "admin.backup", '{"path":"/var/backups/portcullis/1.db"}')
        check(service.stop() == 0, "not stopped in order")
        key = system.path(KEYS).read_bytes()
        system.write("/var/backups/portcullis/portcullis.keys", "of an earlier one", 0o600)
        said = system.dpkg("-P", "portcullis")
        for name in ("/etc/portcullis", "/var/lib/portcullis", "/var/log/portcullis", "/etc/logrotate.d/portcullis", "/usr/share/portcullis",
                     "/usr/share/doc/portcullis", "/etc/systemd/system/multi-user.target.wants/portcullis.service"):
            check(not os.path.lexists(system.path(name)), f"{name} is left")
        check(system.path("/var/backups/portcullis/1.db").exists(), "the backup is gone")
        # And what opens it; what was there is not replaced.
        check(system.read("/var/backups/portcullis/portcullis.keys") == "of an earlier one", "a key file was replaced")
        moved = "/var/backups/portcullis/portcullis.keys.2"
        check(moved in said and system.path(moved).read_bytes() == key, f"the key file is lost: {said}")
        check(system.owner_and_mode(moved) == "root:root 600", system.owner_and_mode(moved))
        system.write("/root/portcullis", BINARY_OF_NOW.read_bytes(), 0o755)
        system.run("sh", "-ec", "mkdir /root/whole; cp /var/backups/portcullis/1.db /root/whole/portcullis.db")
        check("whole" in system.run("/root/portcullis", "verify", "--data-dir", "/root/whole", "--keys-file", moved), "not opened by it")
        check(system.run("dpkg-query", "-W", "portcullis", ok=(1,)) == "", "dpkg still knows it")


@case
def a_purge_without_backups_leaves_no_folder():
    with inside.layered(INSTALLED) as system:
        system.dpkg("-P", "portcullis")
        left = system.run("sh", "-c", "find / -xdev -name '*portcullis*' ! -path '/proc/*' ! -path '/tmp/*'").split()
        check(left == [], f"left: {left}")


@case
def systemd_makes_the_same_user_and_folders():
    """Where systemd-sysusers and systemd-tmpfiles are, they are asked, not adduser."""
    with inside.layered() as system:
        for kind in ("sysusers", "tmpfiles"):
            system.path(f"/usr/lib/{kind}.d").mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / f"configs/debian/{kind}.conf", system.path(f"/usr/lib/{kind}.d/portcullis.conf"))
        run("systemd-sysusers", f"--root={system.root}", "portcullis.conf")
        run("systemd-tmpfiles", f"--root={system.root}", "--create", "portcullis.conf")
        user = system.run("getent", "passwd", "portcullis").strip().split(":")
        check(user[5:] == ["/var/lib/portcullis", "/usr/sbin/nologin"], f"the user is {user}")
        for name, wanted in (("/var/lib/portcullis", "portcullis:portcullis 700"), ("/var/log/portcullis", "portcullis:portcullis 750"),
                             ("/var/backups/portcullis", "portcullis:portcullis 700")):
            check(system.owner_and_mode(name) == wanted, f"{name} is {system.owner_and_mode(name)}, not {wanted}")


if os.environ.get("INSIDE"):
    if "installing" not in sys.argv:
        inside.raise_loopback()
    main(globals())
elif sys.argv[1:] == ["a_debian_to_install_into"]:
    inside.make_base()
else:
    inside.make_base()
    sys.exit(max(inside.isolated(pathlib.Path(__file__), name, network=name == "installing") for name in sys.argv[1:]))
