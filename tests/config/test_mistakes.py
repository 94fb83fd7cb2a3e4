"""Every mistake is said, at its place, in words that help."""

from __future__ import annotations

import pytest

from tests.config.conftest import HOST, REST, Folder
from tunnelctl.config.profile.load import ProfileInvalid, load_profile
from tunnelctl.errors import Code


def test_the_line_of_the_specification(folder: Folder) -> None:
    mistakes = folder.mistakes("hosts:\n  bastion:\n    prot: 22\n")
    assert mistakes == ["dev.yaml:3:5: hosts.bastion.prot: unknown key (did you mean port?)"]


def test_all_mistakes_at_once_in_the_order_of_the_file(folder: Folder) -> None:
    text = """\
version: 2
hosts:
  bastion:
    port: 99999
    prot: 22
    user: ${NOPE}
    password: hunter2
    proxy_jump: [gate:0]
forwards:
  db: {local: 5432, to: "db:5432", via: bastoin}
  web: {local: "0.0.0.0:5432", to: 80, via: bastion}
  socks: {dynamic: 1080, via: bastion}
"""
    assert folder.mistakes(text) == [
        "dev.yaml:1:10: version: must be 1, not 2",
        "dev.yaml:4:11: hosts.bastion.port: must be a whole number from 1 to 65535, not 99999",
        "dev.yaml:5:5: hosts.bastion.prot: unknown key (did you mean port?)",
        "dev.yaml:6:11: hosts.bastion.user: variable NOPE is not set; "
        "write ${NOPE:-DEFAULT} to give a default",
        "dev.yaml:7:15: hosts.bastion.password: a secret must not be in a profile; "
        "write where it is stored: {env: NAME}, {file: PATH}, {command: [program, argument]}, "
        "{keyring: SERVICE/USER} or {credential: NAME}",
        "dev.yaml:8:18: hosts.bastion.proxy_jump[0]: 'gate:0' has port '0', "
        "which is not between 1 and 65535",
        "dev.yaml:10:41: forwards.db.via: no host named 'bastoin' in this file or in "
        "ssh_config (did you mean bastion?); if it is a host, add `bastoin: {}` under `hosts`",
        "dev.yaml:11:16: forwards.web.local: 0.0.0.0:5432 can be reached from other machines; "
        "add `expose: true` to allow this",
        "dev.yaml:11:16: forwards.web.local: the forward db listens on 127.0.0.1:5432 already",
    ]


def test_the_failure_carries_all_of_it(folder: Folder) -> None:
    path = folder.write("hosts: {b: {prot: 1, usr: 2}}")
    with pytest.raises(ProfileInvalid) as caught:
        load_profile(path, {})
    failure = caught.value
    assert failure.code is Code.CONFIG_INVALID
    assert failure.exit_code == 78
    assert [(m.line, m.column, m.path) for m in failure.mistakes] == [
        (1, 13, "hosts.b.prot"),
        (1, 22, "hosts.b.usr"),
    ]
    lines = str(failure).splitlines()
    assert lines[0] == "profile dev is not valid, 2 mistakes:"
    assert lines[1:] == [str(mistake) for mistake in failure.mistakes]


def test_what_a_host_cannot_do_yet_is_refused(folder: Folder) -> None:
    (mistake,) = folder.host_mistakes("rekey_limit: 1G 1h")
    assert mistake.startswith("dev.yaml:2:")
    assert "not supported yet" in mistake


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("port: 0", "must be a whole number from 1 to 65535, not 0"),
        ("port: ssh", "must be a whole number from 1 to 65535, not 'ssh'"),
        ("port: 22.0", "must be a whole number from 1 to 65535, not 22.0"),
        ("port: true", "must be a whole number from 1 to 65535, not true"),
        ("port: [22]", "must be a whole number from 1 to 65535, not a list"),
        ("user: -oProxyCommand=x", "'-oProxyCommand=x' is not a user name"),
        ('user: "a;b"', "'a;b' is not a user name"),
        ("user: 1000", "must be text, not 1000; write it in quotes"),
        ("user: {}", "must be text, not a map of keys"),
        ('user: ""', "is empty"),
        ("hostname: -x", "'-x' is not a host name or address"),
        ("hostname: root@h:2222", "write hostname: h, user: root, port: 2222"),
        ("hostname: h:2222", "write hostname: h, port: 2222"),
        ("hostname: ssh://h", "write hostname: h"),
        ("hostname: a b", "'a b' is not a host name or address"),
        ("hostname: $(id)", "'$(id)' is not a host name or address"),
        ("embedded: yes", "must be true or false, not 'yes'"),
        ("identities_only: 1", "must be true or false, not 1"),
        ("strict_host_key_checking: no", "must be yes or accept-new, not 'no'"),
        ("strict_host_key_checking: off", "must be yes or accept-new, not 'off'"),
        ("strict_host_key_checking: ask", "must be yes or accept-new, not 'ask'"),
        ("strict_host_key_checking: false", "must be yes or accept-new, not false"),
        ("connect_timeout: 0s", "must be greater than zero"),
        ("connect_timeout: soon", "must be a duration such as 500ms, 15s, 5m or 1h30m"),
        ("connect_timeout: -1", "must be a duration such as 500ms, 15s, 5m or 1h30m"),
        ("connect_timeout: never", "must be a duration such as 500ms, 15s, 5m or 1h30m"),
        ("connect_timeout: 1.5", "must be a duration such as 15s, not 1.5"),
        ("server_alive_count_max: 0", "must be a whole number from 1 to 1000, not 0"),
        ("host_key: MD5:aa", 'must be a fingerprint, "SHA256:" and 43 characters of base64'),
        ("host_key: []", "is an empty list"),
        ("ciphers: [3des-cbc]", "'3des-cbc' is not offered: 3DES is disabled"),
        ("ciphers: [aes256-cbc]", "'aes256-cbc' is not offered: CBC mode is disabled"),
        ("ciphers: +arcfour", "'arcfour' is not offered: RC4 is disabled"),
        ("ciphers: aes128-gmc@openssh.com", "did you mean aes128-gcm@openssh.com?"),
        ('ciphers: "aes128-ctr,,aes256-ctr"', "has an empty name before or after a comma"),
        ('ciphers: "-*"', "leaves none of aes128-gcm@openssh.com"),
        ("macs: hmac-sha1", "'hmac-sha1' is not offered: SHA-1 is disabled"),
        ("macs: hmac-md5-etm@openssh.com", "is not offered: MD5 is disabled"),
        ("kex_algorithms: diffie-hellman-group14-sha1", "is not offered: SHA-1 is disabled"),
        ("host_key_algorithms: ssh-rsa", "rsa-sha2-512 works with the same key"),
        ("host_key_algorithms: ssh-dss", "is not offered: DSA is disabled"),
        ("session_type: subsystem", "must be one of none, default, auto, not 'subsystem'"),
        ("compression: true", "must be false: compression is not supported"),
        ("ssh_config: 1", "must be text, not 1; write it in quotes"),
        ("lazy: on", "must be true or false, not 'on'"),
        ("idle_timeout: never", "must be a duration such as"),
        ("remember: 1", "must be true or false, not 1"),
        ("password: {keyring: work}", "'work' is not SERVICE/USER"),
        ("proxy_jump: -x", "'-x' is not a host name or address"),
        ("proxy_jump: a;b", "'a;b' is not a host name or address"),
        ('proxy_jump: "-l@x"', "'-l' is not a user name"),
        ('proxy_jump: "[::1:22"', "'[::1:22' is not [IPv6]:PORT"),
        ('proxy_jump: "x:"', "'x:' has port ''"),
        ('proxy_jump: "x:99999"', "'x:99999' has port '99999'"),
        ("proxy_jump: []", "is an empty list"),
        ("proxy_command: nc %h %p", "must be a list of words"),
        ('proxy_command: [nc, "%x"]', "%x in '%x' is not a token"),
        ("proxy_command: [nc, 50%]", "% in '50%' is not a token"),
        ("proxy: ftp://h:1", "'ftp' is no kind of proxy; must be socks5://HOST:PORT"),
        ("proxy: h", "must be socks5://HOST:PORT or http://HOST:PORT"),
        ("proxy: socks5://h", "'socks5://h' has no port; write socks5://h:PORT"),
        ("proxy: socks5://h:0", "'h:0' has port '0'"),
        ("proxy: {user: me}", "needs `url`, socks5://HOST:PORT"),
        ("proxy: {url: http://h:1, password: {env: X}}", "needs `user`, whose password it is"),
        ("proxy: {url: http://h:1, user: u, password: x}", "a secret must not be in a profile"),
        ("proxy: {url: http://h:1, usr: u}", "unknown key (did you mean user?)"),
        ("proxy: http://h:1, proxy_jump: x", "does not go with proxy_jump: a host is reached by"),
        ("proxy_command: [x], proxy_jump: x", "does not go with proxy_jump"),
        ("proxy_jump: b", "goes round for ever: b, then b; give b `proxy_jump: none`"),
        ("fallback: b", "goes round for ever: b, then b; give b `fallback: none`"),
        ("fallback: [c]", "no host named 'c' in this file"),
        ("embedded: true, proxy_jump: x", "does not go with embedded: true"),
        ("rekey_limit: 1", "is too small"),
        ("rekey_limit: 1T", "must be a number of bytes such as 1G, 500M or 64K"),
        ("reconnect: 5s", "must be a map of keys, not '5s'"),
        ("reconnect: {min: 2m, max: 1m}", "min (120 s) is longer than max (60 s)"),
        ("reconnect: {mni: 2s}", "unknown key (did you mean min?)"),
        ("password: {env: PW, file: x}", "must have one of the keys env, file, command, keyring"),
        ("password: {}", "must have one of the keys env, file, command"),
        ("password: {evn: PW}", "unknown key (did you mean env?)"),
        ('password: {env: "a b"}', "'a b' is not the name of an environment variable"),
        ("password: {command: pass show x}", "must be a list of words"),
        ("password: {credential: ../x}", "'../x' is not the name of a credential"),
        ("identity_file: ~nobody-by-that-name/x", "there is no user 'nobody-by-that-name'"),
        ("user: null", "has no value; give one, or leave the key out"),
        ("embedded: true, hostname: x", "does not go with embedded: true"),
    ],
)
def test_a_host_that_is_wrong_says_why(folder: Folder, keys: str, said: str) -> None:
    (mistake,) = folder.host_mistakes(keys)
    assert mistake.startswith("dev.yaml:2:")
    assert said in mistake


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("to: 80", "forwards.f: needs the side that listens, one of local"),
        ("local: 80", "forwards.f: needs `to`, the HOST:PORT that it leads to"),
        ("local: 1, remote: 2, to: 3", "a forward listens on one side, and this one has local"),
        ("local: 65536, to: 1", "port 65536 is not between 0 and 65535"),
        ("local: -1, to: 1", "'-1' is neither a port number nor a service name"),
        ("local: nosuchservice, to: 1", "is neither a port number nor a service name"),
        ("local: true, to: 1", "must be PORT, HOST:PORT, [IPv6]:PORT or a path, not true"),
        ("dynamic: 1080, to: 80", "forwards.f.to: does not go with dynamic: its SOCKS clients"),
        ("remote_dynamic: /a, permit: a:1", "a SOCKS listener on the server must be TCP"),
        ("remote_dynamic: 1080", "forwards.f: needs `permit`, what the far side may reach here"),
        ('local: 1, to: 2, permit: ["10.0.0.0/8:443"]', "forwards.f.permit: goes with remote_"),
        ('remote_dynamic: 1, permit: ["*:80"]', "forwards.f.permit[0]: '*' allows too much"),
        ('remote_dynamic: 1, permit: "x"', "is not HOST:PORT, *.DOMAIN:PORT or NETWORK/BITS:PORT"),
        ("local: 1, to: 2, allow: [x]", "forwards.f.allow[0]: is not a network"),
        ("local: 1, to: 2, allow: 10.0.0.1/8", "has host bits set"),
        ("local: 5432:22, to: 1", "'5432:22' has two ports; write HOST:PORT"),
        ("local: 1, to: 5432:22", "'5432:22' has two ports; write HOST:PORT"),
        ('local: "::1:80", to: 1', "write an IPv6 address as [::1]:80"),
        ('local: ":80", to: 1', "the host before the colon is empty"),
        ("local: 1, to: 0", "cannot connect to port 0"),
        ('local: 1, to: "*:80"', "* is not an address to connect to"),
        ('local: 1, to: "http://localhost:3055/"', "is a URL; write localhost:3055"),
        ("local: 1, to: https://web/x", "is a URL; write web:443"),
        ("local: 1, to: unix:///run/x.sock", "is a URL; write /run/x.sock"),
        ('local: 1, to: "tcp://u:p@[::1]:80"', "is a URL; write [::1]:80"),
        ("local: 1, to: postgres://db/x", "is a URL; write db:PORT"),
        ("local: http://127.0.0.1:80, to: 1", "is a URL; write 127.0.0.1:80"),
        (f"local: /{'l' * 107}, to: 1", "forwards.f.local: the path of this unix socket is 108"),
        (f"local: ./{'l' * 100}, to: 1", "forwards.f.local: the path of this unix socket is "),
        (f"local: 1, to: /{'l' * 107}", "forwards.f.to: the path of this unix socket is 108"),
        (f"remote: /{'l' * 107}, to: 1", "forwards.f.remote: the path of this unix socket is 108"),
        (f"remote: 1, to: ./{'l' * 100}", "forwards.f.to: the path of this unix socket is "),
        ('local: 1, to: "a b:80"', "is not a host name or address"),
        ('local: 1, to: "-x:80"', "'-x' is not a host name or address"),
        ('local: "0.0.0.0:80", to: 1', "can be reached from other machines"),
        ('local: "*:80", to: 1', "can be reached from other machines"),
        ('local: "[::]:80", to: 1', "can be reached from other machines"),
        ('local: "127.example.com:80", to: 1', "can be reached from other machines"),
        ('remote: "0.0.0.0:80", to: 1', "can be reached from other machines"),
        ('remote: "0.0.0.0:80", to: 1, expose: false', "can be reached from other machines"),
        ("local: 1, to: ~/x.sock", "forwards.f.to: ~/x.sock is a path on the server, where ~"),
        ("remote: ~x/a, to: 1", "forwards.f.remote: ~x/a is a path on the server, where ~"),
        ("local: 1, to: 2, while_down: wait", "must be refuse or {hold: 10s}, not 'wait'"),
        ("local: 1, to: 2, while_down: {hodl: 1s}", "unknown key (did you mean hold?)"),
        ("local: 1, to: 2, max_connections: 0", "must be a whole number from 1 to 65535"),
        (
            "local: 1, to: 2, probe: {type: icmp}",
            "must be one of tcp, http, command, none, not 'icmp'",
        ),
        ("local: 1, to: 2, probe: {type: tcp, path: /}", "probe.path: goes with type: http"),
        ("local: 1, to: 2, probe: {status: 200}", "probe.status: goes with type: http"),
        ("local: 1, to: 2, probe: {type: http, path: x}", "must be the path of a URL such as"),
        ("local: 1, to: 2, probe: {type: http, status: 99}", "a whole number from 100 to 599"),
        ("local: 1, to: 2, probe: command", "needs `command`, [program, argument]"),
        ("local: 1, to: 2, probe: {command: [x]}", "probe.command: goes with type: command"),
        ("local: 1, to: 2, probe: {rise: 0}", "must be a whole number from 1 to 100, not 0"),
        ("dynamic: 1, probe: http", "a probe of type http needs a fixed target"),
        ("local: 1, to: 2, on_unhealthy: restart", "must be report or reconnect, not 'restart'"),
        ("local: 1, to: 2, inspect: https", "must be http, not 'https'"),
        ("local: 1, to: 2, labels: {a: 1}", "must be text, not 1; write it in quotes"),
        ("local: 1, to: 2, requierd: true", "unknown key (did you mean required?)"),
    ],
)
def test_a_forward_that_is_wrong_says_why(folder: Folder, keys: str, said: str) -> None:
    (mistake,) = folder.forward_mistakes(keys)
    assert mistake.startswith("dev.yaml:3:")
    assert said in mistake


@pytest.mark.parametrize(
    "keys",
    [
        "local: /{}, to: 1",
        "local: ./{}, to: 1",
        "local: ~/{}, to: 1",
        "local: 1, to: /{}",
        "remote: /{}, to: 1",
        "remote: 1, to: /{}",
        "remote: 1, to: ./{}",
    ],
)
def test_a_path_that_no_socket_can_have_is_a_mistake(folder: Folder, keys: str) -> None:
    (mistake,) = folder.forward_mistakes(keys.format("s" * 108))
    assert "the path of this unix socket is" in mistake
    assert mistake.endswith("bytes long; the maximum is 107")


def test_paths_of_both_ends_are_told_at_once(folder: Folder) -> None:
    path = "/" + "s" * 108
    mistakes = folder.forward_mistakes(f"local: {path}, to: {path}")
    assert [mistake.split(":")[3].strip() for mistake in mistakes] == [
        "forwards.f.local",
        "forwards.f.to",
    ]


@pytest.mark.parametrize(
    ("first", "second", "clash"),
    [
        ("local: 80", "local: 80", True),
        ("local: 80", 'local: "127.0.0.1:80"', True),
        ("local: 80", 'local: "localhost:80"', True),
        ("local: 80", 'local: "0.0.0.0:80", expose: true', True),
        ("local: 80", 'local: "*:80", expose: true', True),
        ("local: 80", 'local: "[::1]:80"', False),
        ("local: 80", 'local: "[::]:80", expose: true', False),
        ("local: 80", 'local: "127.0.0.2:80"', False),
        ("local: 80", "local: 81", False),
        ("local: 0", "local: 0", False),
        ("local: 80", "remote: 80", False),
        ("remote: 80", "remote: 80", True),
        ("remote: 0", "remote: 0", False),
    ],
)
def test_two_forwards_cannot_listen_on_one_address(
    folder: Folder, first: str, second: str, clash: bool
) -> None:
    text = f"{REST}forwards:\n  x: {{{first}, to: 1, via: b}}\n  y: {{{second}, to: 1, via: b}}\n"
    if not clash:
        assert len(folder.load(text).profile.forwards) == 2
        return
    (mistake,) = folder.mistakes(text)
    assert mistake.startswith("dev.yaml:4:")
    assert "forwards.y." in mistake
    assert "the forward x listens on" in mistake


def test_the_same_remote_port_on_two_servers_is_no_clash(folder: Folder) -> None:
    text = (
        "hosts: {a: {}, b: {}}\nforwards:\n"
        "  x: {remote: 80, to: 1, via: a}\n  y: {remote: 80, to: 1, via: b}\n"
    )
    assert len(folder.load(text).profile.forwards) == 2


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("version: 1\n", "1:1: a profile needs `forwards`, what it forwards, or at least one host"),
        ("hosts: {}\n", "1:1: a profile needs `forwards`, what it forwards, or at least one host"),
        ("hosts: [b]\n", "1:8: hosts: must be a map of keys, not a list"),
        ("hosts:\n  b:\n", "2:3: hosts.b: has no value; give one, or leave the key out"),
        ("hosts: {b: {}}\nforwards:\n", "2:1: forwards: has no value; give one, or leave the key"),
        ("hosts: {b: x}\n", "1:12: hosts.b: must be a map of keys, not 'x'"),
        ("hosts: {b/c: {}}\n", "1:9: hosts.b/c: 'b/c' is not a host name or address"),
        ("hosts: {b: {}}\nforwards: {a b: {}}\n", "2:12: forwards.a b: is not a name"),
        ("hosts: {b: {}}\nhots: {}\n", "2:1: hots: unknown key (did you mean hosts?)"),
        ("hosts: {b: {}}\nversion: 1.0\n", "2:10: version: must be 1, not 1.0"),
        ('hosts: {b: {}}\nversion: "1"\n', "2:10: version: must be 1, not '1'"),
        ("hosts: {b: {}}\ndefaults: {prot: 1}\n", "2:12: defaults.prot: unknown key"),
        ("hosts: {b: {}}\nextends: {}\n", "2:10: extends: must be the path of a file"),
    ],
)
def test_a_profile_that_is_wrong_says_why(folder: Folder, text: str, mistake: str) -> None:
    found = folder.mistakes(text)
    assert found[0].startswith(f"dev.yaml:{mistake}")


def test_via_is_needed(folder: Folder) -> None:
    assert folder.mistakes(f"{HOST}forwards:\n  f: {{local: 1, to: 2}}\n") == [
        "dev.yaml:4:3: forwards.f: needs `via`, the host that carries it"
    ]


@pytest.mark.parametrize("lazy", ["{b: {lazy: true}}", "{b: {}}\ndefaults: {lazy: true}"])
def test_a_lazy_host_has_no_listener_of_its_own(folder: Folder, lazy: str) -> None:
    text = f"hosts: {lazy}\nforwards:\n  f: {{remote: 1, to: 2, via: b}}\n"
    (mistake,) = folder.mistakes(text)
    assert "forwards.f.via: host b is lazy" in mistake
    folder.load(text.replace("remote", "local"))


def test_a_mistake_in_defaults_is_said_once(folder: Folder) -> None:
    text = "defaults: {port: 0}\nhosts: {a: {}, b: {}, c: {}}\n"
    assert len(folder.mistakes(text)) == 1


def test_a_mistake_in_a_list_names_the_item(folder: Folder) -> None:
    (mistake,) = folder.host_mistakes('host_key: ["SHA256:x"]')
    assert mistake.startswith("dev.yaml:2:18: hosts.b.host_key[0]: must be a fingerprint")


def test_a_password_is_never_repeated(folder: Folder) -> None:
    for key in ("password: hunter2", "passphrase: [hunter2]", 'password: "${PW}"'):
        said = "\n".join(folder.mistakes(f"hosts:\n  b: {{{key}}}\n", {"PW": "hunter2"}))
        assert "{env: NAME}" in said
        assert "hunter2" not in said


def test_what_a_terminal_would_obey_is_escaped(folder: Folder) -> None:
    (mistake,) = folder.mistakes('hosts: {b: {"\\e[31m\\n": 1}}\n')
    assert mistake == r"dev.yaml:1:13: hosts.b.\x1b[31m\n: unknown key"


def test_a_name_that_no_profile_can_have(folder: Folder) -> None:
    environ = {"HOME": str(folder.home)}
    path = folder.write("hosts: {b: {prot: 1}}", "Web Team.yaml")
    with pytest.raises(ProfileInvalid) as caught:
        load_profile(path, environ)
    assert "'Web Team' cannot be the name of a profile" in caught.value.mistakes[0].message
    assert len(caught.value.mistakes) == 2
    path = folder.write("hosts: {b: {}}", "Web Team.yaml")
    assert load_profile(path, environ, name="web").profile.name == "web"


def test_of_a_thousand_mistakes_the_first_hundred_are_said_and_the_others_counted(
    folder: Folder,
) -> None:
    """Whatever is found first: what the schema says comes before what contradicts it."""
    forwards = "".join(f"  f{n}: {{local: 1024, to: 1, via: b, x: 1}}\n" for n in range(500))
    path = folder.write(f"{REST}forwards:\n{forwards}")
    with pytest.raises(ProfileInvalid) as caught:
        load_profile(path, {"HOME": str(folder.home)})
    failure = caught.value
    # The first forward has one mistake, each other one two.
    lines = [3] + [line for line in range(4, 54) for _ in range(2)]
    assert [mistake.line for mistake in failure.mistakes] == lines[:100]
    assert failure.more == 999 - 100
    first, *_, last = str(failure).splitlines()
    assert first == "profile dev is not valid, 999 mistakes:"
    assert last == "and 899 more"


def test_a_mistake_is_as_short_as_a_line(folder: Folder) -> None:
    long = "k" * 1000
    for text in (f"hosts: {{b: {{? {long} : 1}}}}", f"x: !{long} 1", f'x: "${{X?{long}}}"'):
        assert all(len(mistake) < 1200 for mistake in folder.mistakes(text)), text
