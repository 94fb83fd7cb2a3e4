"""The sentences of the fleet's failures: the store, and files that differ.

Owns the sentences: one function for each failure, named for the event. Decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from tunnelctl.errors import Code, Failure, Hint

_WHO_ANSWERS = Hint("see which members answer", "tunnelctl fleet status")


def _store(endpoint: str, detail: str, *hints: Hint | str) -> Failure:
    return Failure(Code.STORE_LOST, detail, *hints, subject=endpoint)


# --- one endpoint of etcd ------------------------------------------------------------------


def endpoint_unreachable(endpoint: str, why: str) -> Failure:
    """It cannot be connected to; `why` is the system's message."""
    return _store(endpoint, f"cannot connect to etcd: {why}", _WHO_ANSWERS)


def connection_closed(endpoint: str) -> Failure:
    """It accepted a connection and closed it, as a member does that ends, and one with TLS where
    the URL says http, or the reverse."""
    other = "http://" if endpoint.startswith("https:") else "https://"
    hint = f"if that member runs, its URL may have to begin with {other}"
    return _store(endpoint, "it closed the connection", _WHO_ANSWERS, hint)


def endpoint_silent(endpoint: str, seconds: float) -> Failure:
    """It did not answer within its part of the time."""
    return _store(endpoint, f"etcd did not answer within {seconds:.1f} s", _WHO_ANSWERS)


def tls_failed(endpoint: str, why: str) -> Failure:
    """The certificates do not fit; `why` is the library's message."""
    return _store(
        endpoint,
        f"TLS with etcd failed: {why}",
        "etcd.ca_file must have signed its certificate, which must name this host",
    )


def certificate_needed(endpoint: str) -> Failure:
    """etcd asks for a certificate, and has got none that it takes."""
    return _store(
        endpoint,
        "etcd does not accept this machine without a certificate of its own",
        "set etcd.cert_file and etcd.key_file, signed by the authority that etcd trusts",
    )


def tls_files_unusable(file: str, why: str) -> Failure:
    """A file of `ca_file`, `cert_file` or `key_file` cannot be used."""
    return _store(
        file,
        f"it cannot be used for TLS with etcd: {why}",
        "it must be a PEM file that this user can read, and a key must fit its certificate",
    )


_CLIENT_URL = "an endpoint is a client URL of etcd, as https://HOST:2379"


def not_etcd(endpoint: str, status: int) -> Failure:
    """Something answers there, with this HTTP status, that does not speak etcd's JSON."""
    detail = f"it answers with HTTP status {status}, but not as etcd 3.4 or later"
    return _store(endpoint, detail, _CLIENT_URL)


def not_http(endpoint: str) -> Failure:
    """Something answers there that is no HTTP."""
    return _store(endpoint, "it answers, but not in HTTP, as etcd does", _CLIENT_URL)


def no_quorum(endpoint: str, why: str) -> Failure:
    """The member answers, and has no leader or no majority; `why` are its words."""
    return _store(endpoint, f"etcd has no quorum: {why}", _WHO_ANSWERS)


def leader_changed(endpoint: str) -> Failure:
    """The leader of etcd changed between two requests, so they prove nothing."""
    return _store(endpoint, "the leader of etcd changed", _WHO_ANSWERS)


def login_refused(endpoint: str, user: str) -> Failure:
    """The user or the password is wrong."""
    return _store(
        endpoint,
        f"etcd refused user {user} or its password",
        Hint("set the password that the fleet's file refers to", f"etcdctl user passwd {user}"),
    )


def login_needed(endpoint: str) -> Failure:
    """Authentication is enabled, and the file has no user."""
    return _store(
        endpoint, "etcd asks for a user", "add etcd.user and etcd.password to the fleet's file"
    )


def access_denied(endpoint: str, user: str, prefix: str) -> Failure:
    """The user may not read or write the fleet's keys."""
    command = f"etcdctl role grant-permission ROLE --prefix=true readwrite {prefix}"
    return _store(
        endpoint,
        f"etcd does not let user {user} use {prefix}",
        Hint("grant it to a role of the user", command),
    )


def no_space(endpoint: str) -> Failure:
    """The NOSPACE alarm: etcd writes nothing more."""
    return _store(
        endpoint,
        "etcd has no space left and takes no writes",
        Hint("compact and defragment it, then", "etcdctl alarm disarm"),
    )


def refused_by_etcd(endpoint: str, why: str) -> Failure:
    """Another error of etcd, in its own words."""
    return _store(endpoint, f"etcd refused a request: {why}", _WHO_ANSWERS)


def several_endpoints(failures: Sequence[Failure]) -> Failure:
    """None of the endpoints could be used, each for its own reason."""
    first, others = failures[0], failures[1:]
    rest = "".join(f"; {other.message}" for other in others)
    hints = next((each.hints for each in failures if each.hints), ())
    return Failure(Code.STORE_LOST, first.detail + rest, *hints, subject=first.subject)


# --- its files and members -----------------------------------------------------------------


def key_has_passphrase() -> str:
    """`key_file` is encrypted, and nobody can be asked."""
    return "the key has a passphrase; give one without, readable only by this user"


def answers_otherwise() -> str:
    """The status of a member lacks what etcd always reports."""
    return "it does not answer as etcd"


# --- mistakes in the fleet's file ----------------------------------------------------------


def not_an_endpoint(given: str) -> str:
    """A value that is not the URL of a server."""
    return f"{given} is not an endpoint; write https://HOST:2379"


def too_many_endpoints(most: int) -> str:
    """More than this number."""
    return f"names more than {most} endpoints"


def not_a_lease(shortest: float, longest: float, given: str) -> str:
    """Not whole seconds, or out of bounds."""
    return f"must be whole seconds from {shortest:g}s to {longest:g}s, not {given}"


def neither_stop_nor_keep(given: str) -> str:
    """A value of `on_store_loss`."""
    return f"must be stop or keep, not {given}"


def no_value() -> str:
    """A key with nothing after it."""
    return "has no value; give one, or leave the key out"


def fleet_missing() -> str:
    """The file has no `fleet`."""
    return "fleet is missing: the name that the machines of the fleet share"


def endpoints_missing() -> str:
    """The file names no server."""
    return "etcd.endpoints is missing: write https://HOST:2379"


def given_together(first: str, second: str) -> str:
    """One of two keys is given without the other."""
    return f"{first} and {second} are given together"


def ca_file_unused() -> str:
    """`ca_file` without an endpoint that speaks TLS."""
    return "has no effect: no endpoint is https"


# --- profiles ------------------------------------------------------------------------------


def file_differs(profile: str, machine: str) -> Failure:
    """The file of the profile is not that of `machine`, which holds it or held it last."""
    return Failure(
        Code.CONFIG_INVALID,
        f"its file differs from that of {machine}, so this machine does not take it",
        Hint("make the files equal and run", "tunnelctl reload"),
        Hint("or, if this file is the right one", f"tunnelctl up {profile} -d"),
    )


def machine_named_twice(machine: str) -> Failure:
    """Two live daemons of the fleet have the same name."""
    return Failure(
        Code.NAME_TAKEN,
        f"another daemon of the fleet is named {machine} too",
        "give each a machine: of its own in the fleet's file; one that was killed is gone after "
        "its lease",
    )


def not_in_fleet(profile: str) -> Failure:
    """The daemon runs it alone, or not at all."""
    return Failure(Code.PROFILE_NOT_FOUND, f"profile {profile} is not one of the fleet")


def not_holder(profile: str, holder: str) -> Failure:
    """Only the holder, if there is one, can hand it over."""
    where = f"{holder} holds it" if holder else "no machine holds it"
    return Failure(Code.NOT_UP, f"profile {profile} cannot be handed over from here: {where}")


def nobody_to_take(profile: str) -> Failure:
    """No other machine could take it."""
    return Failure(
        Code.NOT_UP,
        f"profile {profile} is not handed over: no other machine could take it",
        _WHO_ANSWERS,
    )


def not_taken_over(profile: str, seconds: float) -> Failure:
    """It was given up, and nobody has taken it since."""
    return Failure(
        Code.NOT_READY,
        f"profile {profile} was given up, and no machine has taken it within {seconds:g} s",
        _WHO_ANSWERS,
    )
