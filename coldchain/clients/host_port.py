"""HOST:PORT, as addresses are written: the host in brackets where it is one of IPv6."""


def host_port(host: str, port: int | None) -> str:
    """The address of a port on a host, which is a name or a number."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
