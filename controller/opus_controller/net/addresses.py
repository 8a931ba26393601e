"""Interfaces inside the current namespace: up, address, default route, by ioctl(2).

Four or five ioctls cost 0.35 ms a namespace where opening a netlink client costs 6 ms (DESIGN section 5), which is what
decides how fast hundreds of hosts start. Call these in a thread that has entered the namespace
(`namespaces.run_inside`). Every error is an OSError that names the interface and the step.
"""

from __future__ import annotations

import ctypes
import fcntl
import socket
import struct

_SIOCADDRT = 0x890B
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_SIOCSIFMTU = 0x8922
_SIOCSIFTXQLEN = 0x8943

_IFF_UP = 0x1
_RTF_UP = 0x1
_ROUTE = struct.Struct("@L16s16s16sHhLPhPLLH")  # struct rtentry
_REQUEST = struct.Struct("16s24s")  # struct ifreq
_NAME_BYTES = 16


def set_up(interface: str) -> None:
    """Bring an interface up."""
    with _socket() as sock:
        flags = struct.unpack_from("@h", _ioctl(sock, _SIOCGIFFLAGS, interface, b"", "read flags"), _NAME_BYTES)[0]
        _ioctl(sock, _SIOCSIFFLAGS, interface, struct.pack("@h", flags | _IFF_UP), "bring up")


def set_address(interface: str, address: str) -> None:
    """Give an interface, still down, the IPv4 address/32."""
    with _socket() as sock:
        _ioctl(sock, _SIOCSIFADDR, interface, _sockaddr(address), f"set address {address}")
        _ioctl(sock, _SIOCSIFNETMASK, interface, _sockaddr("255.255.255.255"), "set netmask")


def set_default_route(interface: str) -> None:
    """Send everything out of an interface (up), with no gateway: a scope-link default route."""
    name = ctypes.create_string_buffer(interface.encode())  # rtentry points to it: alive until the call has returned
    anywhere = _sockaddr("0.0.0.0")
    entry = _ROUTE.pack(0, anywhere, anywhere, anywhere, _RTF_UP, 0, 0, 0, 0, ctypes.addressof(name), 0, 0, 0)
    with _socket() as sock:
        try:
            fcntl.ioctl(sock, _SIOCADDRT, entry)
        except FileExistsError:
            return
        except OSError as error:
            raise OSError(error.errno, f"{interface}: set default route: {error.strerror}") from error


def set_mtu(interface: str, mtu: int) -> None:
    """Largest IP packet in bytes."""
    with _socket() as sock:
        _ioctl(sock, _SIOCSIFMTU, interface, struct.pack("@i", mtu), f"set mtu {mtu}")


def set_queue_length(interface: str, packets: int) -> None:
    """txqueuelen: of a TUN device, the packets the kernel keeps for its reader before it drops."""
    with _socket() as sock:
        _ioctl(sock, _SIOCSIFTXQLEN, interface, struct.pack("@i", packets), f"set txqueuelen {packets}")


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _ioctl(sock: socket.socket, request: int, interface: str, value: bytes, what: str) -> bytes:
    try:
        return fcntl.ioctl(sock, request, _REQUEST.pack(interface.encode(), value))
    except OSError as error:
        raise OSError(error.errno, f"{interface}: {what}: {error.strerror}") from error


def _sockaddr(address: str) -> bytes:
    return struct.pack("=HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))
