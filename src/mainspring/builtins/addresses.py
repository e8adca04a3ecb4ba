"""Which addresses a webhook may connect to: those of the public internet, unless the app says otherwise.

A name is judged by what it resolves to, and the connection goes to the very address that was judged: a name that says
something else a moment later leads nowhere. Nothing is connected to here.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

Address = IPv4Address | IPv6Address

NAT64 = ip_network("64:ff9b::/96")
"""Where IPv6-only networks show the addresses of IPv4: judged by the address inside."""
UNICAST = ip_network("2000::/3")
"""All that is public in IPv6."""
CLOSED = [
    ip_network(block)
    for block in (
        "100.64.0.0/10",  # between a provider and its customers; some clouds' metadata
        "168.63.129.16/32",  # a cloud's own services, at an address that looks public
        "192.0.0.0/24",  # protocol assignments; some clouds' metadata
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, Teredo (which holds an IPv4 address) among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which holds an IPv4 address
        "3fff::/20",  # documentation
    )
]
"""Not public, whatever this version of Python says of them."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which to try them; an address is its own. Raises `OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


def refusal(address: str) -> str | None:
    """Why nothing may connect to this address, None where it is public. Raises `ValueError` for what is none."""
    ip = _inner(ip_address(address))
    if ip.is_unspecified:
        return "unspecified"
    if ip.is_loopback:
        return "loopback"
    if ip.is_link_local:
        return "link-local"
    if ip.is_multicast:
        return "multicast"
    if ip.is_private:
        return "private"
    if ip.is_reserved or not ip.is_global or any(ip in block for block in CLOSED):
        return "reserved"
    if isinstance(ip, IPv6Address) and ip not in UNICAST:
        return "reserved"
    return None


def _inner(ip: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, else itself."""
    if isinstance(ip, IPv4Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip in NAT64:
        return IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip
