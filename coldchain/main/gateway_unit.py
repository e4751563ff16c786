"""gateway unit: how systemd starts a gateway."""

import math

from coldchain.main.gateway_settings import GatewayProcessSettings

UNIT = """\
[Unit]
Description=Coldchain: a gateway
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={command}
Restart=always
RestartSec=1
# nginx is no child of it, and is told by it when to end.
KillMode=process
TimeoutStopSec={stop_seconds}
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target
"""
STOP_SECONDS = 15
"""Beyond what connections may take to end."""


def gateway_unit(command: str, settings: GatewayProcessSettings) -> str:
    """`command`: one line, quoted as for a shell."""
    stop_seconds = math.ceil(settings.leave_seconds + settings.drain_seconds) + STOP_SECONDS
    return UNIT.format(command=command.replace("%", "%%"), stop_seconds=stop_seconds)
