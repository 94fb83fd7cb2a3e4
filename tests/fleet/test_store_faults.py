"""What a machine says when the store refuses it, or is not there: real etcd members, one line."""

from __future__ import annotations

import datetime
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.support.etcd import Cluster, Member, cluster
from tests.support.ports import free_port
from tests.support.services import Service
from tunnelctl.errors import Code, Failure
from tunnelctl.fleet.etcd import Etcd
from tunnelctl.fleet.file import StoreSettings
from tunnelctl.fleet.lease import Lease
from tunnelctl.fleet.members import members
from tunnelctl.fleet.records import Keys, RegisteredMachine, encoded
from tunnelctl.spec.secret import SecretRef, SecretSource

SECONDS = 8.0
PASSWORD = SecretRef(SecretSource.ENV, ("PASSWORD",))


@asynccontextmanager
async def lease_at(
    settings: StoreSettings, password: Callable[[], str] = lambda: "secret"
) -> AsyncIterator[Lease]:
    """A lease that nobody has asked for yet."""
    keys = Keys("test")
    etcd = Etcd(settings, lambda _: password(), keys.prefix)
    try:
        yield Lease(etcd, keys, SECONDS)
    finally:
        await etcd.close()


async def refusal(settings: StoreSettings) -> Failure:
    """What the first renewal fails with."""
    async with lease_at(settings) as lease:
        with pytest.raises(Failure) as caught:
            await lease.renew()
    assert caught.value.code is Code.STORE_LOST
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    return caught.value


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One member, with room for little."""
    options = ("--quota-backend-bytes=1000000",)
    with cluster(tmp_path_factory.mktemp("etcd"), 1, options) as made:
        yield made


async def test_a_watch_reports_first_that_it_was_created(store: Cluster) -> None:
    """What happened before that is looked for then (fleet/holder.py)."""
    etcd = Etcd(StoreSettings(tuple(store.urls)), lambda _: "", "/tunnelctl/test/")
    watch = {"create_request": {"key": encoded("/tunnelctl/test/")}}
    async with aclosing(etcd.watch(watch, SECONDS)) as lines:
        assert (await anext(lines))["result"]["created"] is True
    await etcd.close()


async def test_a_lease_is_kept_and_a_profile_taken_once(store: Cluster) -> None:
    settings = StoreSettings(tuple(store.urls))
    async with lease_at(settings) as mine, lease_at(settings) as other:
        await mine.renew()
        first = await mine.take("web", b'{"machine": "m1"}', b"{}")
        await other.renew()
        second = await other.take("web", b'{"machine": "m2"}', b"{}")
        assert first.holding == second.holding
        assert first.holding.token == first.revision
        view = await mine.renew()
        assert view.holdings["web"].lease == mine.id
        await mine.revoke(1.0)
        assert "web" not in (await other.renew()).holdings
        third = await other.take("web", b'{"machine": "m2"}', b"{}")
        assert third.holding.token > first.holding.token
        await other.revoke(1.0)


async def test_a_key_is_given_up_by_its_token_and_that_is_seen_until_it_is_taken(
    store: Cluster,
) -> None:
    settings = StoreSettings(tuple(store.urls))
    async with lease_at(settings) as mine, lease_at(settings) as other:
        await mine.renew()
        await other.renew()
        first = (await mine.take("given", b"{}", b"{}")).holding
        await mine.release("given", first.token)
        view = await other.renew()
        assert "given" not in view.holdings
        assert "given" in view.released
        second = (await other.take("given", b"{}", b"{}")).holding
        await other.release("given", first.token)  # as a request that arrives late
        view = await mine.renew()
        assert view.holdings["given"].token == second.token
        assert "given" not in view.released
        await mine.revoke(1.0)
        await other.revoke(1.0)


async def test_nobody_listens_and_the_next_endpoint_is_tried(store: Cluster) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    failure = await refusal(StoreSettings((nobody,)))
    assert failure.detail == "cannot connect to etcd: Connection refused"
    async with lease_at(StoreSettings((nobody, *store.urls))) as lease:
        await lease.renew()
        await lease.revoke(1.0)


async def test_an_endpoint_is_something_else() -> None:
    def page(client: socket.socket) -> None:
        client.recv(4096)
        client.sendall(b"HTTP/1.0 200 OK\r\n\r\n<html>")

    def banner(client: socket.socket) -> None:
        client.sendall(b"SSH-2.0-server\r\n")
        client.recv(4096)

    for other, words in ((page, "not as etcd"), (banner, "not in HTTP")):
        with Service(other) as service:
            failure = await refusal(StoreSettings((f"http://127.0.0.1:{service.port}",)))
        assert words in failure.message
        assert "a client URL of etcd" in failure.hint


async def test_an_endpoint_never_answers() -> None:
    def silent(client: socket.socket) -> None:
        while client.recv(4096):
            pass

    with Service(silent) as one:
        failure = await refusal(StoreSettings((f"http://127.0.0.1:{one.port}",)))
    assert "did not answer within" in failure.message


async def test_authentication_on_and_off_and_a_wrong_password(tmp_path: Path) -> None:
    with cluster(tmp_path, 1) as store:
        (member,) = store.members
        plain = StoreSettings(tuple(store.urls))
        settings = replace(plain, user="root", password=PASSWORD)
        passwords = ["secret"]
        async with lease_at(settings, lambda: passwords[-1]) as lease:
            await lease.renew()  # authentication is off
            enable_authentication(member)
            await lease.renew()
            assert "asks for a user" in (await refusal(plain)).message
            wrong = replace(settings, user="nobody")
            assert "refused user nobody" in (await refusal(wrong)).message
            lease_again = lease.id
            await lease.renew()
            assert lease.id == lease_again
            await lease.revoke(1.0)
        passwords.append("wrong")
        async with lease_at(settings, lambda: passwords[-1]) as lease:
            with pytest.raises(Failure) as caught:
                await lease.renew()
        assert "its password" in caught.value.message
        assert "wrong" not in str(caught.value)


def enable_authentication(member: Member) -> None:
    member.post("/v3/auth/user/add", {"name": "root", "password": "secret"})
    member.post("/v3/auth/role/add", {"name": "root"})
    member.post("/v3/auth/user/grant", {"user": "root", "role": "root"})
    member.post("/v3/auth/enable", {})


async def test_without_space_a_holder_goes_on_and_says_why_it_takes_nothing(
    store: Cluster,
) -> None:
    async with lease_at(StoreSettings(tuple(store.urls))) as lease:
        await lease.renew()
        assert lease.id is not None
        machine = RegisteredMachine("m1", lease.id)
        with pytest.raises(Failure) as caught:
            await fill(lease, machine)
        assert "no space left" in caught.value.message
        assert "etcdctl alarm disarm" in caught.value.hint
        before = lease.until
        await lease.renew()
        assert lease.until > before
        etcd = Etcd(StoreSettings(tuple(store.urls)), lambda _: "", "/tunnelctl/test/")
        (member,) = await members(etcd, SECONDS)
        assert (member.is_leader, member.error) == (True, caught.value.detail)
        await etcd.close()
        await lease.revoke(1.0)


async def fill(lease: Lease, machine: RegisteredMachine) -> None:
    """Write more than the store has room for."""
    for number in range(20):
        await lease.register(replace(machine, digests={"web": str(number % 10) * 400_000}))


# --- TLS -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `ca.pem`, `other.pem`, and `cert.pem` and `key.pem` of 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    key, ca = made_certificate("the authority", None)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    _, other = made_certificate("another authority", None)
    (folder / "other.pem").write_bytes(other.public_bytes(serialization.Encoding.PEM))
    own, certificate = made_certificate("127.0.0.1", (key, ca))
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        own.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder


SIGNS_CERTIFICATES = x509.KeyUsage(
    key_cert_sign=True,
    crl_sign=True,
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)
Issuer = tuple[ec.EllipticCurvePrivateKey, x509.Certificate]


def made_certificate(name: str, issuer: Issuer | None) -> Issuer:
    """A certificate, by an issuer or by itself.

    Python 3.13 and later verify as RFC 5280 has it: with the key usage of an authority, and with
    identifiers of keys.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    signer = (key if issuer is None else issuer[0]).public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer[1].subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer), critical=False)
    )
    if issuer is None:
        builder = builder.add_extension(SIGNS_CERTIFICATES, critical=True)
    else:
        address = x509.IPAddress(ipaddress.ip_address(name))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return key, builder.sign(key if issuer is None else issuer[0], hashes.SHA256())


async def test_tls_with_the_right_authority_with_another_and_without_a_certificate(
    certificates: Path, tmp_path: Path
) -> None:
    cert, key, ca = (str(certificates / name) for name in ("cert.pem", "key.pem", "ca.pem"))
    options = (
        f"--cert-file={cert}",
        f"--key-file={key}",
        f"--trusted-ca-file={ca}",
        "--client-cert-auth",
    )
    reach = ssl.create_default_context(cafile=ca)
    reach.load_cert_chain(cert, key)
    with cluster(tmp_path, 1, options, reach) as store:
        settings = StoreSettings(tuple(store.urls), ca_file=ca, cert_file=cert, key_file=key)
        async with lease_at(settings) as lease:
            await lease.renew()
            await lease.revoke(1.0)
        other = replace(settings, ca_file=str(certificates / "other.pem"))
        assert "TLS with etcd failed" in (await refusal(other)).message
        failure = await refusal(replace(settings, cert_file=None, key_file=None))
        assert "without a certificate" in failure.message
        missing = replace(settings, ca_file=str(certificates / "missing.pem"))
        assert "missing.pem" in (await refusal(missing)).message
        (member,) = await members(Etcd(missing, lambda _: "", "/tunnelctl/test/"), SECONDS)
        assert "missing.pem" in str(member.error)  # `fleet` shows it too
        plain = StoreSettings(tuple(url.replace("https", "http") for url in store.urls))
        failure = await refusal(plain)
        assert "closed the connection" in failure.message
        assert "https://" in failure.hint
