"""What a URL of MongoDB may say, and that no message gives a password away."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from pymongo.common import URI_OPTIONS_VALIDATOR_MAP

from mainspring.errors import DefinitionError, UnknownOption
from mainspring.stores import open_store
from mainspring.stores.mongo.settings import parse

FILES = {"tlscafile", "tlscertificatekeyfile", "tlscrlfile"}
NOT_FOR_URLS = {"driver", "server_api", "datetime_conversion", "unicode_decode_error_handler", "fsync"}
"""In PyMongo's table, and for its Python callers."""
VALUES = {
    "authmechanism": "SCRAM-SHA-256", "authmechanismproperties": "SERVICE_NAME:mongodb", "compressors": "zlib",
    "maxstalenessseconds": "90", "readconcernlevel": "majority", "readpreference": "secondary", "authsource": "admin",
    "readpreferencetags": "dc:east,use:jobs", "replicaset": "rs0", "servermonitoringmode": "poll", "w": "2",
    "srvallowedhostssuffix": "example.com", "srvservicename": "mongodb", "uuidrepresentation": "standard",
    "appname": "shop", "tlscertificatekeyfilepassword": "secret", "zlibcompressionlevel": "6",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(URI_OPTIONS_VALIDATOR_MAP.keys() - NOT_FOR_URLS - FILES))
def test_every_option_of_pymongo_passes(name: str) -> None:
    takes_number = any(unit in name for unit in ("ms", "size", "connecting", "max", "multiple"))
    value = VALUES.get(name, "100" if takes_number else "true")
    user = "ann:p@" if name.startswith("auth") else ""
    try:
        settings = parse(f"mongodb+srv://{user}h.example.com/shop?{name}={value}")
    except DefinitionError as error:
        pytest.fail(str(error))
    assert f"{name}={value}" in settings.uri


@pytest.mark.parametrize("name", sorted(FILES))
def test_options_that_name_files(name: str, tmp_path: Path) -> None:
    certificate = tmp_path / "file.pem"
    certificate.write_text("")
    assert f"{name}=" in parse(f"mongodb://h/shop?tls=true&{name}={certificate}").uri
    with pytest.raises(DefinitionError, match="No such file"):
        parse(f"mongodb://h/shop?tls=true&{name}=/nowhere.pem")


@pytest.mark.parametrize(
    ("url", "database"),
    [
        ("mongodb://h", "mainspring"),
        ("mongodb://", None),
        ("mongodb://h/", "mainspring"),
        ("mongodb://h/shop", "shop"),
        ("mongodb://h1,h2:27018,[::1]:27019/shop-1_a?replicaSet=rs0", "shop-1_a"),
        ("mongodb://%2Frun%2Fmongodb.sock/shop", "shop"),
        ("mongodb+srv://cluster.example.com/shop?srvMaxHosts=2", "shop"),
        ("mongodb://h/gesch%C3%A4ft", "geschäft"),
        ("mongodb://h/" + "a" * 63, "a" * 63),
    ],
)
def test_databases(url: str, database: str | None) -> None:
    if database is None:
        with pytest.raises(DefinitionError, match="Empty host"):
            parse(url)
    else:
        assert parse(url).database == database


def test_no_name_server_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(*args: object, **options: object) -> None:
        raise AssertionError("asked a name server")

    monkeypatch.setattr(socket, "getaddrinfo", asked)
    monkeypatch.setattr("socket.socket.connect", asked)
    assert open_store("mongodb+srv://cluster.example.com/shop?srvServiceName=jobs").url.startswith("mongodb+srv")


def test_the_defaults() -> None:
    settings = parse("mongodb://h/shop")
    assert (settings.prefix, settings.timeout, settings.majority, settings.retry_writes) == (
        "mainspring_",
        10.0,
        True,
        True,
    )
    assert "appname=mainspring" in settings.uri


def test_our_options_are_not_pymongos_business() -> None:
    settings = parse("mongodb://ann:p%40@h/shop?prefix=a-&timeout=2.5&retryWrites=false&w=1&appName=shop")
    assert (settings.prefix, settings.timeout, settings.majority, settings.retry_writes) == ("a-", 2.5, False, False)
    assert settings.uri == "mongodb://ann:p%40@h/shop?appname=shop&retrywrites=false&w=1"
    assert parse("mongodb://h/shop?w=majority").majority is False, "what the URL says is left to PyMongo"
    assert parse("mongodb://h?prefix=").prefix == ""


@pytest.mark.parametrize(
    "options", ["maxPoolSize=4", "maxPoolSize=0", "maxPoolSize=0&minPoolSize=200", "minPoolSize=9"]
)
def test_pools_that_are_large_enough(options: str) -> None:
    assert options.lower() in parse(f"mongodb://h/shop?{options}").uri.lower()


def test_a_user_is_looked_for_where_pymongo_would() -> None:
    """In the URL's database, unless `authSource` says otherwise: so the database has to stay in what PyMongo gets."""
    assert parse("mongodb://ann:p@h/shop").uri.startswith("mongodb://ann:p@h/shop?")
    assert parse("mongodb://ann:p@h").uri.startswith("mongodb://ann:p@h/?")


BAD = [
    ("mongo://h/shop", "Expected"),
    ("mongodb:h/shop", "Expected"),
    ("mongodb://h:port/shop", "Port contains non-digit"),
    ("mongodb://h:99999/shop", "Port must be"),
    ("mongodb:///shop", "Empty host"),
    ("mongodb://h,,h2/shop", "Empty host"),
    ("mongodb://h/a.b", "the database 'a.b'"),
    ("mongodb://h/a/b", "the database 'a/b'"),
    ("mongodb://h/a%20b", "the database 'a b'"),
    ("mongodb://h/a%00b", "the database"),
    ("mongodb://h/$cmd", "the database '$cmd'"),
    ("mongodb://h/admin", "none of the server's own"),
    ("mongodb://h/local", "none of the server's own"),
    ("mongodb://h/config", "none of the server's own"),
    ("mongodb://h/" + "a" * 64, "the database"),
    ("mongodb://h/" + "%C3%A4" * 32, "the database"),
    ("mongodb://h/shop?prefix=a.b", "the prefix 'a.b'"),
    ("mongodb://h/shop?prefix=a%20b", "the prefix"),
    ("mongodb://h/shop?prefix=$a", "the prefix"),
    ("mongodb://h/shop?prefix=system_", "the prefix 'system_'"),
    ("mongodb://h/shop?prefix=" + "a" * 41, "at most 40"),
    ("mongodb://h/shop?timeout=0", "from 0.1 to 600"),
    ("mongodb://h/shop?timeout=soon", "timeout=soon"),
    ("mongodb://h/shop?timeout=nan", "timeout=nan"),
    ("mongodb://h/shop?timeout=601", "from 0.1 to 600"),
    ("mongodb://h/shop?timeout=1&Timeout=2", "twice"),
    ("mongodb://h/shop?tls", "none: 'tls'"),
    ("mongodb://h/shop?tls=", "none: 'tls='"),
    ("mongodb://h/shop?=true", "none: '=true'"),
    ("mongodb://h/shop?w=0", "w=0"),
    ("mongodb://h/shop?w=00", "w=0"),
    ("mongodb://h/shop?W=0", "w=0"),
    ("mongodb://h/shop?maxPoolSize=many", "maxpoolsize must be"),
    ("mongodb://h/shop?maxPoolSize=1", "4 at least"),
    ("mongodb://h/shop?MAXPOOLSIZE=3", "maxPoolSize=3: listening"),
    ("mongodb://h/shop?minPoolSize=200", "minPoolSize=200, which is over maxPoolSize=100"),
    ("mongodb://h/shop?maxPoolSize=5&minPoolSize=6", "minPoolSize=6, which is over maxPoolSize=5"),
    ("mongodb://h/shop?retryWrites=yes", "must be 'true' or 'false'"),
    ("mongodb://h/shop?tls=true&ssl=false", "conflicting values"),
    ("mongodb://h/shop?authMechanism=MAGIC", "must be in"),
]


@pytest.mark.parametrize(("url", "said"), BAD)
def test_bad_urls(url: str, said: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(url)
    assert said in str(caught.value)
    assert "xpected" in str(caught.value), "a message says what was expected"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("prefx=a_", "Did you mean 'prefix'?"),
        ("timeuot=3", "Did you mean 'timeout'?"),
        ("namespace=a", "the option 'namespace'"),
        ("colour=red", "neither PyMongo's nor one of prefix, timeout"),
    ],
)
def test_unknown_options(option: str, said: str) -> None:
    with pytest.raises(UnknownOption) as caught:
        parse(f"mongodb://h/shop?{option}")
    assert said in str(caught.value)


SECRETS = [
    "mongodb://ann:hunter2@h:port/shop",
    "mongodb://ann:hunter2/shop",
    "mongodb://ann:hunter2@h/admin",
    "mongodb://ann:hunter2@h/shop?colour=red",
    "mongodb://ann:hunter2@h/shop?w=0",
    "mongodb://ann:hunter2@h/shop?maxPoolSize=many",
    "mongodb://ann:hun/hunter2@h/shop",
    "mongodb://ann:hun?hunter2@h/shop",
    "mongodb://ann:a@hunter2@h/shop",
    "mongodb://ann:a@b/hunter2@h/shop",
    "mongodb://ann:%hunter2@h/shop",
    "mongodb://:hunter2@h/shop",
    "mongodb://hunter2@h/shop?colour=red",
    "mongodb+srv://ann:hunter2@h/shop?colour=red",
    "mongodb+srv://ann:hunter2@h/shop?prefix=.",
    "MongoDB://ann:hunter2@h/shop",
    "mongodb:ann:hunter2@h/shop",
    "ann:hunter2@h/shop",
    "mongodb://h/shop?tlsCertificateKeyFilePassword=hunter2&colour=red",
    "mongodb://h/shop?password=hunter2",
]


@pytest.mark.parametrize("url", SECRETS)
def test_no_error_gives_a_password_away(url: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        parse(url)
    assert "hunter2" not in str(caught.value)


def test_nothing_that_is_shown_has_a_password() -> None:
    settings = parse("mongodb://ann:hunter2@h/shop?tls=true&tlsCertificateKeyFilePassword=hunter2&timeout=1")
    assert "hunter2" in settings.uri
    assert settings.shown == "mongodb://ann:***@h/shop?tls=true&tlsCertificateKeyFilePassword=***&timeout=1"
    assert "hunter2" not in repr(settings)
