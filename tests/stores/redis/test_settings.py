"""What a URL of Redis may say, and that no message gives a password away."""

from __future__ import annotations

import pytest

from mainspring.errors import DefinitionError, UnknownOption
from mainspring.stores.redis.options import OWNED, Tls
from mainspring.stores.redis.settings import Address, Login, Settings, parse


def places(settings: Settings) -> list[str]:
    return [str(seed) for seed in settings.seeds]


@pytest.mark.parametrize(
    ("url", "kind", "seeds"),
    [
        ("redis://localhost", "standalone", ["localhost:6379"]),
        ("redis://", "standalone", ["localhost:6379"]),
        ("redis:///3", "standalone", ["localhost:6379"]),
        ("redis://redis.example.com:7000/0", "standalone", ["redis.example.com:7000"]),
        ("redis://[::1]:7000", "standalone", ["[::1]:7000"]),
        ("redis://[fe80::1%25eth0]", "standalone", ["[fe80::1%eth0]:6379"]),
        ("rediss://h", "standalone", ["h:6379"]),
        ("unix:///run/redis.sock", "standalone", ["/run/redis.sock"]),
        ("unix:///run/my%20redis.sock?db=2", "standalone", ["/run/my redis.sock"]),
        ("redis+sentinel://h1,h2:26380/main", "sentinel", ["h1:26379", "h2:26380"]),
        ("rediss+sentinel://h1/main/2", "sentinel", ["h1:26379"]),
        ("redis+cluster://h1:7000,[::1]:7001,h1:7000", "cluster", ["h1:7000", "[::1]:7001"]),
        ("rediss+cluster://h1/0", "cluster", ["h1:6379"]),
    ],
)
def test_places(url: str, kind: str, seeds: list[str]) -> None:
    settings = parse(url)
    assert (settings.kind, places(settings)) == (kind, seeds)
    assert (settings.tls is not None) == url.startswith("rediss")


@pytest.mark.parametrize(
    ("url", "login"),
    [
        ("redis://h", Login()),
        ("redis://h/7", Login(db=7)),
        ("redis://:secret@h", Login(password="secret")),
        ("redis://ann:p%40s%3As%2F%3F%25@h/1", Login(username="ann", password="p@s:s/?%", db=1)),
        ("redis://a%3Ab:p:q@h", Login(username="a:b", password="p:q")),
        ("unix://ann:secret@/run/r.sock?db=2", Login(username="ann", password="secret", db=2)),
        ("redis+sentinel://ann:secret@h/my%2Fmain/3", Login(username="ann", password="secret", db=3)),
        ("redis://h?client_name=shop-1", Login(client_name="shop-1")),
    ],
)
def test_logins(url: str, login: Login) -> None:
    assert parse(url).login == login


def test_the_sentinels_have_a_login_of_their_own() -> None:
    settings = parse("redis+sentinel://u:p@h/my%2Fmain?sentinel_username=s&sentinel_password=a%40b")
    assert settings.service == "my/main"
    assert settings.sentinel_login == Login(username="s", password="a@b")
    assert parse("redis+sentinel://u:p@h/main").sentinel_login == Login()


def test_the_defaults() -> None:
    settings = parse("redis://h")
    assert (settings.namespace, settings.timeout, settings.connect_timeout, settings.replicas) == (
        "mainspring",
        5.0,
        2.0,
        0,
    )


def test_options() -> None:
    settings = parse("redis://h?namespace=shop:eu&timeout=2.5&connect_timeout=500ms&replicas=1")
    assert (settings.namespace, settings.timeout, settings.connect_timeout, settings.replicas) == (
        "shop:eu",
        2.5,
        0.5,
        1,
    )


def test_an_attempt_to_connect_is_never_longer_than_a_call() -> None:
    assert parse("redis://h?timeout=1s").connect_timeout == 1.0


def test_tls() -> None:
    assert parse("rediss://h").tls == Tls()
    asked = "ssl_cert_reqs=optional&ssl_check_hostname=false&ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k"
    assert parse(f"rediss://h?{asked}").tls == Tls(
        cert_reqs="optional", check_hostname=False, ca_certs="/ca", certfile="/c", keyfile="/k"
    )
    assert parse("rediss://h?ssl_cert_reqs=none").tls == Tls(cert_reqs="none", check_hostname=False)


BAD = [
    ("redis:/h", "Expected"),
    ("http://h", "Expected"),
    ("redis://h:port", "a bad port"),
    ("redis://h:0", "a bad port"),
    ("redis://h:65536", "a bad port"),
    ("redis://h:٣", "a bad port"),
    ("redis://::1", "in brackets"),
    ("redis://h/zero", "'zero'"),
    ("redis://h/-1", "'-1'"),
    ("redis://h/0/1", "'0/1'"),
    ("redis://h1,h2", "redis+sentinel://"),
    ("redis://ann@h", "without a password"),
    ("redis+sentinel://h", "/mymaster"),
    ("redis+sentinel:///main", "at least one host"),
    ("redis+cluster://h1,,h2", "at least one host"),
    ("redis+cluster://h/1", "database 0 only"),
    ("unix://run/redis.sock", "three slashes"),
    ("unix://", "three slashes"),
    ("unix:///r.sock?db=x", "bad db: 'x'"),
    ("redis://h?namespace=", "bad namespace: ''"),
    ("redis://h?namespace={a}", "bad namespace"),
    ("redis://h?namespace=a%20b", "bad namespace"),
    ("redis://h?namespace=a%0A", "bad namespace"),
    ("redis://h?namespace=" + "a" * 65, "1 to 64"),
    ("redis://h?timeout=0", "more than 0"),
    ("redis://h?timeout=soon", "bad timeout: 'soon'"),
    ("redis://h?timeout=2h", "at most 1h"),
    ("redis://h?connect_timeout=-1", "bad connect_timeout: '-1'"),
    ("redis://h?replicas=-1", "bad replicas: '-1'"),
    ("redis://h?replicas=one", "bad replicas: 'one'"),
    ("redis://h?client_name=a%20b", "bad client_name"),
    ("redis://h?timeout=1s&timeout=2s", "twice"),
    ("rediss://h?ssl_cert_reqs=maybe", "required, optional, none"),
    ("rediss://h?ssl_check_hostname=yes", "true, false"),
    ("rediss://h?ssl_check_hostname=true&ssl_cert_reqs=none", "drop one"),
    ("rediss://h?ssl_keyfile=/k", "without ssl_certfile"),
    ("rediss://h?ssl_ca_certs=", "the path of a file"),
    ("redis+sentinel://h/main?sentinel_username=s", "sentinel_password"),
]


@pytest.mark.parametrize(("url", "said"), BAD)
def test_bad_urls(url: str, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(url)
    assert said in str(caught.value)
    assert "xpected" in str(caught.value), "a message says what was expected"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h?colour=red", "Expected one of namespace, timeout"),
        ("redis://h?Timeout=1", "unknown option 'Timeout'"),
        ("redis://h?ssl_ca_certs=/ca", "rediss:// only"),
        ("redis://h?sentinel_password=x", "redis+sentinel:// only"),
        ("redis://h?db=1", "redis://host:6379/1"),
    ],
)
def test_unknown_options(url: str, said: str) -> None:
    with pytest.raises(UnknownOption) as caught:
        parse(url)
    assert said in str(caught.value)


@pytest.mark.parametrize("name", OWNED)
def test_options_of_other_libraries_are_refused_with_what_to_use_instead(name: str) -> None:
    with pytest.raises(UnknownOption, match="not yours to set") as caught:
        parse(f"redis://h?{name}=1")
    assert OWNED[name] in str(caught.value)


SECRETS = [
    "redis://ann:hunter2@h:port",
    "redis://:hunter2@h?colour=red",
    "redis://:hunter2@h?socket_timeout=1",
    "redis://ann:hun/hunter2@h",
    "redis://ann:hun?hunter2@h",
    "redis://ann:a@b?hunter2@h",
    "redis://ann:a@b/hunter2@h/0",
    "redis://hunter2@h?colour=red",
    "Redis://hunter2@h",
    "redis:///:hunter2@h",
    "redis::hunter2@h",
    "ann:hunter2@h/0",
    ":hunter2@h/0",
    "redis://ann:hunter2",
    "redis://ann:hunter2/0",
    "redis://:a:hunter2@h/x",
    "unix://:hunter2@run/r.sock",
    "http://ann:hunter2@h",
    "redis+sentinel://h/main?sentinel_password=hunter2&colour=red",
    "redis+sentinel://h?sentinel_password=hunter2",
    "redis://h?password=hunter2",
    "redis://h?password=hunter2&namespace={}",
]


@pytest.mark.parametrize("url", SECRETS)
def test_no_error_gives_a_password_away(url: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(url)
    assert "hunter2" not in str(caught.value)


def test_nothing_that_is_shown_has_a_password() -> None:
    url = "redis+sentinel://ann:hunter2@h:26379/main/0?sentinel_password=hunter2&timeout=1s"
    settings = parse(url)
    assert settings.login.password == settings.sentinel_login.password == "hunter2"
    assert settings.shown == "redis+sentinel://ann:***@h:26379/main/0?sentinel_password=***&timeout=1s"
    assert "hunter2" not in repr(settings)


def test_addresses_are_written_as_in_a_url() -> None:
    assert str(Address("::1", 1)) == "[::1]:1"
    assert str(Address("", 0, "/run/r.sock")) == "/run/r.sock"
