"""Makes a `Line`: socket, TLS, and the one round trip in which it logs in and learns who is there."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

from mainspring.core.duration import humanize
from mainspring.errors import StoreUnavailable, StoreUnusable
from mainspring.stores.redis import failures
from mainspring.stores.redis.failures import Broken, Refusal
from mainspring.stores.redis.line import Line, Server, answers
from mainspring.stores.redis.options import Tls
from mainspring.stores.redis.settings import Address, Login, Settings


async def connect(address: Address, settings: Settings, login: Login | None = None) -> Line:
    """A line to `address`, logged in with `login` (the settings' own unless given).

    Raises `Broken` where another try may do, `StoreUnusable` where it will not.
    """
    line = Line(address, settings.timeout)
    made = False
    try:
        async with asyncio.timeout(settings.connect_timeout):
            await _dial(line, settings)
            await _log_in(line, login or settings.login)
        made = True
    except TimeoutError:
        waited = humanize(round(settings.connect_timeout * 1_000))
        raise Broken(address, TimeoutError(f"no connection within {waited}")) from None
    except ssl.SSLCertVerificationError as error:
        raise StoreUnusable(
            f"{address}: the server's certificate does not hold ({error.verify_message}). Expected one for this host "
            "from a known authority; name its authority with ?ssl_ca_certs=."
        ) from error
    except Broken as error:
        raise Broken(address, error.reason) from error
    except OSError as error:
        raise Broken(address, error) from error
    finally:
        if not made:
            await line.close()
    return line


async def _dial(line: Line, settings: Settings) -> None:
    # Without `happy_eyeballs_delay`: Python 3.11 leaks the socket of a race that is cancelled.
    loop, address = asyncio.get_running_loop(), line.address
    if address.path:
        await loop.create_unix_connection(lambda: line, address.path)
        return
    if settings.tls is None:
        await loop.create_connection(lambda: line, address.host, address.port)
        return
    context = _context(settings.tls)
    await loop.create_connection(lambda: line, address.host, address.port, ssl=context)


def _context(tls: Tls) -> ssl.SSLContext:
    # Made for each connection, so that renewed certificates are taken up without a restart.
    try:
        context = ssl.create_default_context(cafile=tls.ca_certs)
        context.check_hostname = tls.check_hostname
        context.verify_mode = ssl.VerifyMode[f"CERT_{tls.cert_reqs.upper()}"]
        if tls.certfile:
            context.load_cert_chain(tls.certfile, tls.keyfile)
    except (OSError, ssl.SSLError) as error:
        files = ", ".join(path for path in (tls.ca_certs, tls.certfile, tls.keyfile) if path)
        raise StoreUnusable(
            f"the files for TLS cannot be used ({error}): {files}. Expected certificates and a key in PEM form; "
            "correct ?ssl_ca_certs=, ?ssl_certfile= or ?ssl_keyfile=."
        ) from error
    return context


async def _log_in(line: Line, login: Login) -> None:
    name = ("SETNAME", login.client_name)
    if login.password is None:
        hello: tuple[Any, ...] = ("HELLO", 2, *name)
    else:
        hello = ("HELLO", 2, "AUTH", login.username or "default", login.password, *name)
    commands = [hello]
    if login.db:
        commands.append(("SELECT", login.db))
    replies = await answers(line.send_many(commands))
    for error in replies:
        if isinstance(error, Exception):
            raise _kept_out(line.address, error)
    line.server, line.id = _introduced(replies[0])


def _kept_out(address: Address, error: Exception) -> Exception:
    reason = error.reason if isinstance(error, Broken) else error
    if not isinstance(reason, Refusal):
        return error
    refused = failures.login(address, reason)
    return Broken(address, reason) if isinstance(refused, StoreUnavailable) else refused


def _introduced(reply: list[Any]) -> tuple[Server, int]:
    facts = {key.decode(): value for key, value in zip(reply[::2], reply[1::2], strict=True)}
    words = {key: value.decode() for key, value in facts.items() if isinstance(value, bytes)}
    numbers = tuple(int(part) for part in words["version"].split(".") if part.isdigit())
    return Server(words["server"], numbers, words.get("mode", ""), words.get("role", "")), int(facts["id"])
