"""The sentences of doctor about forwards: the messages of their steps, and hints.

Owns the sentences: one function for each, named after what was found. Decides nothing, and examines
nothing. Those about the profile, the daemon and hosts are in sentences.py.
"""

from __future__ import annotations

import shlex

from tunnelctl.errors import Hint
from tunnelctl.net.addresses import PortHolder
from tunnelctl.spec.endpoint import LOOPBACK, Endpoint
from tunnelctl.spec.forward import Forward


def host_not_connected(via: str) -> str:
    """The host of a forward was not reached."""
    return f"{via} is not connected"


# --- what the server permits ---------------------------------------------------------------


def connects_for_clients(via: str) -> str:
    """The server forwards for a SOCKS or HTTP proxy."""
    return f"{via} connects for clients"


def connects_to(via: str, target: Endpoint) -> str:
    """The server connects to the target."""
    return f"{via} connects to {target}"


def does_not_tell(via: str, target: Endpoint) -> str:
    """The reply for a unix socket is the same whether it is forbidden or cannot be connected."""
    return f"{via} does not report whether it may connect to {target}"


def listens_there(via: str, endpoint: Endpoint) -> str:
    """The server listens for a remote forward."""
    return f"{via} listens on {endpoint}"


def held_there(via: str) -> str:
    """The server listens already, for the daemon."""
    return f"{via} listens for the running tunnel"


def held_by_machine(via: str, machine: str) -> str:
    """Another machine of the fleet holds the profile, and its port on the server."""
    return f"not requested: {via} listens for {machine}, which holds the profile"


def freed_when_missed(via: str) -> str:
    """In a fleet, the session of a machine that died keeps its ports on the server for a while."""
    return f"{via} frees the ports of a machine that died when it misses it; how soon is not tested"


def file_would_remain(via: str, path: str) -> str:
    """A unix socket on the server is not requested."""
    return f"not requested: the file {path} would remain on {via}"


def file_would_block(via: str, path: str) -> str:
    """The same, where the file also blocks the next link."""
    return (
        f"{file_would_remain(via, path)}, as it does when a link ends: StreamLocalBindUnlink "
        "yes in sshd_config there, or unlink_remote: true here, has the next link replace it"
    )


# --- targets behind the server -------------------------------------------------------------


def target_answers(target: Endpoint) -> str:
    """The target accepts connections."""
    return f"{target} answers"


def listens_only_on(rule: Forward, endpoint: Endpoint) -> str:
    """The hint for a service at another address than the profile's target."""
    return f"the service listens only on {endpoint}: {_in_profile(rule, endpoint)}"


def _in_profile(rule: Forward, target: Endpoint) -> str:
    return f'in the profile {rule.name} should have to: "{target}"'


def look_up_there(via: str, hostname: str) -> str:
    """The hint for a name that the server cannot resolve."""
    return f"{via} looks the name up; on {via}: getent hosts {shlex.quote(hostname)}"


def who_listens(machine: str, endpoint: Endpoint) -> str:
    """The command that shows which program has a port on that machine."""
    return f"on {machine}: ss -ltnp 'sport = :{endpoint.port}'"


def loopback_of_container() -> str:
    """The hint for a target on a server's loopback that refuses."""
    return "a container there has its own loopback"


def dropped_there() -> str:
    """The hint for a target that does not answer the server."""
    return "no answer at all, not even a refusal: a firewall drops it, or that machine is off"


def connect_from(via: str, endpoint: Endpoint) -> str:
    """The command that tests it on the server."""
    return f"on {via}: nc -vz -w 5 {shlex.quote(endpoint.host)} {endpoint.port}"


def client_chooses() -> str:
    """A remote proxy has no target."""
    return "clients choose it, within permit"


# --- listeners and targets on this machine -------------------------------------------------


def held_here(listen: str) -> str:
    """The daemon has the listener of the forward, at this address."""
    return f"the daemon listens on {listen} for it"


def is_free(endpoint: Endpoint) -> str:
    """The forward can listen here."""
    return f"{endpoint} is free"


def free_but_filtered(endpoint: Endpoint, rule: str) -> str:
    """The forward can listen here, and the packet filter may block its clients."""
    return f"{endpoint} is free, but this machine's firewall has:  {rule}"


def open_the_port() -> str:
    """The hint for it."""
    return "open the port to the clients that need it"


def allow_low_ports(port: int) -> Hint:
    """The hint for a port that is reserved for root."""
    sysctl = f"sudo sysctl net.ipv4.ip_unprivileged_port_start={port}"
    return Hint("or allow every user here to listen there", sysctl)


def own_addresses() -> Hint:
    """The hint for an address that this machine does not have."""
    return Hint("the addresses of this machine", "ip -brief address")


def hangs_up(target: Endpoint) -> str:
    """The service closes a connection without a word."""
    return f"{target} accepts connections and closes them at once"


def published_port() -> str:
    """The hint for it."""
    return (
        "a container's published port does so while the service inside listens on the "
        "container's own loopback: have it listen on 0.0.0.0 there"
    )


def listens_elsewhere(
    rule: Forward, target: Endpoint, endpoint: Endpoint, holder: PortHolder | None
) -> str:
    """The hint for a service that listens on `endpoint` only; `holder` is its program, if known."""
    who = f" ({holder})" if holder else ""
    return (
        f"port {target.port} has a listener only on {endpoint.host}{who}: "
        f"{_in_profile(rule, endpoint)}, or have it listen on {target.host} too"
    )


def start_service(port: int) -> str:
    """The hint for a port without a listener."""
    return f"nothing listens on port {port} here: start the service"


def start_or_leave_container(target: Endpoint) -> str:
    """The same inside a container."""
    return (
        f"{start_service(target.port)}, or name another host: {target.host} is this container's "
        "own loopback, and the machine around it is host.docker.internal or the gateway that "
        "ip route shows"
    )


def start_or_publish(port: int) -> str:
    """The same on loopback, where the service may be in a container."""
    return (
        f"{start_service(port)}, or publish its port if it runs in a container: "
        f"-p {LOOPBACK}:{port}:PORT"
    )


def dropped_here() -> str:
    """The hint for a target that does not answer this machine."""
    return "a firewall drops it, or that machine is off; for this machine's: sudo nft list ruleset"
