"""What a `mongodb:` URL says: PyMongo's own options, the database, and the few settings that are ours.

Parses text: it connects to nothing and asks no name server. A password never appears in a message or a `repr`; messages
name `Settings.shown`.
"""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from pymongo.common import MAX_POOL_SIZE
from pymongo.errors import ConfigurationError, InvalidURI
from pymongo.uri_parser import parse_uri

from mainspring.errors import DefinitionError, UnknownOption

SCHEMES = ("mongodb", "mongodb+srv")
OURS = ("prefix", "timeout")
DATABASE = "mainspring"
PREFIX = "mainspring_"
TIMEOUT = 10.0
APP = {"appname": "mainspring"}
"""What the server's log and `currentOp` call us, unless the URL says otherwise."""
TAGS = "readpreferencetags"
"""The one option that may come twice, and be empty. It says nothing here: all reads go to the primary."""
FEWEST = 4
"""Connections that a store has to be allowed: two are kept by what listens, for hints and for events."""
_FORMS = '"mongodb://user:password@host:27017/database?replicaSet=rs0" or "mongodb+srv://host/database"'
_DATABASE = re.compile(r"[^/\\. \"$*<>:|?\0]{1,63}")
_PREFIX = re.compile(r"[A-Za-z0-9_\-]{0,40}", re.ASCII)
_SRV_ONLY = ("srvservicename", "srvmaxhosts", "srvallowedhostssuffix")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    uri: str = field(repr=False)
    """For PyMongo: the URL without what is ours. With its database, which is where a user is looked for by default."""
    database: str
    prefix: str = PREFIX
    """Before the name of every collection."""
    timeout: float = TIMEOUT
    """Seconds that a call may take, waiting for a new primary included."""
    majority: bool = True
    """Whether writes wait for a majority: the URL says nothing else."""
    journal: bool | None = None
    """Whether writes wait for the disk; None: as the server does it."""
    retry_writes: bool = True
    shown: str
    """The URL, without its password."""


def parse(url: str) -> Settings:
    """The settings that `url` names. Raises `DefinitionError` for a bad one, `UnknownOption` for an option."""
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in SCHEMES:
        raise DefinitionError(f"bad store URL: {masked(url)!r}. Expected {_FORMS}.")
    place, _, query = rest.partition("?")
    netloc, _, path = place.partition("/")
    if "@" in path or "@" in query:
        # Most likely the rest of a password; whatever it is, no later message may quote it.
        raise _bad(url, '"@" after the first "/" or "?"', "percent-encode it where it is part of a password")
    given = _options(url, query)
    theirs = {name: value for name, value in given.items() if name not in OURS}
    read = _check(url, netloc, theirs)
    if read.get("w") == 0:
        raise _bad(url, "w=0: writes that nobody answers for", "leave it out for majority, or say w=1")
    _check_pool(url, read)
    options = "&".join(f"{name}={value}" for name, value in (APP | theirs).items())
    return Settings(
        uri=f"{scheme}://{netloc}/{path}?{options}",
        database=_database(url, unquote(path) or DATABASE),
        prefix=_prefix(url, given.get("prefix", PREFIX)),
        timeout=_seconds(url, given.get("timeout", str(TIMEOUT))),
        majority="w" not in theirs,
        journal=None if "journal" not in read else bool(read["journal"]),
        retry_writes=theirs.get("retrywrites", "true") == "true",
        shown=masked(url),
    )


def _options(url: str, query: str) -> dict[str, str]:
    """By their names in small letters, as PyMongo takes them in any."""
    found: dict[str, str] = {}
    for part in re.split("[&;]", query) if query else []:
        name, mark, value = part.partition("=")
        if not mark or not name or (not value and name.lower() not in (TAGS, "prefix")):
            raise _bad(url, f"an option that is none: {part!r}", "write options as name=value, with & between them")
        if name.lower() in found and name.lower() != TAGS:
            raise _bad(url, f"the option {name!r} twice", "keep one of them")
        found[name.lower()] = value
    return found


def _check(url: str, netloc: str, options: dict[str, str]) -> Mapping[str, object]:
    """Let PyMongo judge its own part, as if the hosts were named by a `mongodb:` URL: no name is looked up. Answers the
    options as PyMongo reads them."""
    kept = "&".join(f"{name}={value}" for name, value in options.items() if name not in _SRV_ONLY)
    try:
        with warnings.catch_warnings(record=True) as doubts:
            warnings.simplefilter("always")
            read: Mapping[str, object] = parse_uri(f"mongodb://{netloc}/?{kept}", warn=True)["options"]
    except (InvalidURI, ConfigurationError, ValueError, OSError) as e:
        raise _bad(url, f"what PyMongo does not take ({_quiet(str(e), netloc)})", "correct it") from None
    for doubt in doubts:
        unknown = re.match(r"Unknown option:? '?(\w+)", str(doubt.message))
        if unknown:
            raise _unknown(url, unknown[1])
        raise _bad(url, f"what PyMongo warns of ({doubt.message})", "correct it")
    return read


def _check_pool(url: str, read: Mapping[str, object]) -> None:
    most, fewest = read.get("maxPoolSize", MAX_POOL_SIZE), read.get("minPoolSize", 0)
    assert isinstance(most, int), "PyMongo has seen to it"
    assert isinstance(fewest, int), "here, too"
    if 0 < most < FEWEST:
        raise _bad(
            url,
            f"maxPoolSize={most}: listening for hints and for events keeps two connections, and calls need others",
            f"leave it out for {MAX_POOL_SIZE}, or expected {FEWEST} at least (0: no limit)",
        )
    if 0 < most < fewest:
        raise _bad(
            url,
            f"minPoolSize={fewest}, which is over maxPoolSize={most}",
            "raise maxPoolSize, or leave minPoolSize out",
        )


def _quiet(text: str, netloc: str) -> str:
    """A message of PyMongo's without the part of the URL in which a password may be."""
    login = netloc.rpartition("@")[0]
    return text.replace(netloc, "...").replace(login, "...") if login else text


def _unknown(url: str, name: str) -> UnknownOption:
    near = difflib.get_close_matches(name.lower(), OURS, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return UnknownOption(
        f"bad store URL: {masked(url)!r} has the option {name!r}, which is neither PyMongo's nor one of "
        f"{', '.join(OURS)}.{hint}"
    )


def _database(url: str, name: str) -> str:
    if not _DATABASE.fullmatch(name) or len(name.encode()) > 63 or name in ("admin", "local", "config"):
        raise _bad(url, f"the database {name!r}", 'expected a name such as "shop", and none of the server\'s own')
    return name


def _prefix(url: str, prefix: str) -> str:
    if not _PREFIX.fullmatch(prefix) or prefix.startswith("system"):
        raise _bad(url, f"the prefix {prefix!r}", "expected at most 40 letters, digits, underscores and hyphens")
    return prefix


def _seconds(url: str, text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 600:
        raise _bad(url, f"timeout={text}", "expected seconds from 0.1 to 600")
    return seconds


def _bad(url: str, what: str, hint: str) -> DefinitionError:
    return DefinitionError(f"bad store URL: {masked(url)!r} has {what}; {hint}. Expected {_FORMS}.")


def masked(url: str) -> str:
    """`url` without what may be a password, however badly it is written."""
    before, at, after = url.rpartition("@")
    if at:
        known = re.match(r"(?:[\w+]*://)?(?:[^:/@?#\s]*:(?!//))?", before)
        url = f"{known[0] if known else ''}***@{after}"
    else:  # what stands where a port belongs and is none
        url = re.sub(r"(://[^/?#:,\[]*:)(?!\d+(?:[/?,]|$))[^/?#,]*", r"\1***", url)
    return re.sub(r"((?:password|passwd|pwd|tlscertificatekeyfilepassword)=)[^&]*", r"\1***", url, flags=re.IGNORECASE)
