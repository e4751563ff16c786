"""nginx_list: plain nginx before a list of servers; a change of the list is a rewritten file and a reload."""

import os
import signal
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from coldchain.gateway.installation import find_installation

_CONFIGURATION = """
worker_processes 2;
pid {prefix}/nginx.pid;
error_log {prefix}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {prefix}/body;
    proxy_temp_path {prefix}/proxy;
    fastcgi_temp_path {prefix}/fastcgi;
    uwsgi_temp_path {prefix}/uwsgi;
    scgi_temp_path {prefix}/scgi;
    upstream apps {{ {servers} keepalive 64; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            {action}
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_connect_timeout 1s;
        }}
    }}
}}
"""
_NOBODY = "server 127.0.0.1:1 down;"


class NginxList:
    """One nginx below `directory`, which its workers must be able to reach, on 127.0.0.1:`port`."""

    def __init__(self, directory: Path, port: int) -> None:
        self.port = port
        self._directory = directory
        self._configuration = directory / "nginx.conf"
        self._servers: tuple[str, ...] = ()
        self._command = [str(find_installation().nginx), "-p", str(directory), "-c", str(self._configuration)]
        self._command += ["-e", str(directory / "error.log")]

    def start(self) -> None:
        """Without any server in the list."""
        self._directory.mkdir(parents=True)
        self._write()
        subprocess.run(self._command, check=True)

    def set_servers(self, servers: Iterable[str]) -> None:
        """The list, each as address:port, from now on. The reload takes effect a moment later."""
        wanted = tuple(sorted(servers))
        if wanted != self._servers:
            self._servers = wanted
            self._write()
            os.kill(self._pid(), signal.SIGHUP)

    def stop(self) -> None:
        pid = self._pid()
        os.kill(pid, signal.SIGTERM)
        while Path(f"/proc/{pid}").exists():
            time.sleep(0.01)

    def _pid(self) -> int:
        return int((self._directory / "nginx.pid").read_text())

    def _write(self) -> None:
        servers = " ".join(f"server {server};" for server in self._servers)
        text = _CONFIGURATION.format(
            prefix=self._directory,
            port=self.port,
            servers=servers or _NOBODY,
            action="proxy_pass http://apps;" if servers else "return 503;",
        )
        self._configuration.write_text(text)
