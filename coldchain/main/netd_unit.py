"""netd unit: how systemd starts netd."""

UNIT = """\
[Unit]
Description=Coldchain: the container network of this machine
# Docker waits half a minute for each network whose driver does not answer when it starts.
Before=docker.service
Wants=network-online.target
After=network-online.target

[Service]
Type=notify
ExecStart={command}
Restart=always
RestartSec=1
# BIRD is its child, and stays when netd ends.
KillMode=process
TimeoutStopSec=20
LimitNOFILE=65536

[Install]
WantedBy=multi-user.target docker.service
"""


def unit(command: str) -> str:
    """`command`: one line, quoted as for a shell."""
    return UNIT.format(command=command.replace("%", "%%"))
