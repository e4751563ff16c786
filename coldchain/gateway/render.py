"""render: settings → the text of nginx.conf. Pure; hosts, paths and endpoints are data in Lua and never come here."""

import hashlib
from pathlib import Path

from coldchain.gateway.settings import FirewallFiles, GatewaySettings
from coldchain.model.traffic import LATENCY_BOUNDS_SECONDS

_ERRORS_OF_PROXYING = "413 500 502 503 504"
_ERRORS_OF_PARSING = "400 405 414 494 501 505"
_TRACE = "(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
"""Trace, span and flags of a `traceparent`."""
_GRPC_TOO = ("proxy_set_header", "proxy_connect_timeout", "proxy_send_timeout", "proxy_read_timeout")
_GRPC_NOT = ("grpc_set_header Connection", "grpc_set_header Upgrade")
_TRAFFIC_MEMORY = "32m"  # a quarter of a kB for each endpoint, touched only as far as used

_POLICY_MEMORY = {"limits": "16m", "open": "8m", "tallies": "8m"}
"""What limits count by: tokens (100,000 addresses), open requests, and what metrics tell."""


def render(
    settings: GatewaySettings,
    *,
    modules: Path,
    lua: Path,
    lua_digest: str,
    firewall: FirewallFiles | None = None,
) -> str:
    """The whole configuration. `modules`: nginx's module directory; `lua`: where our Lua packages lie; `lua_digest`
    stands in the text so that changed code counts as a changed configuration; `firewall`: where ModSecurity and
    the core rules lie, None for none."""
    packages = _lua(settings, lua, lua_digest, firewall)
    text = "\n".join([*_main(settings, modules), "http {", *_http(settings, packages), "}", ""])
    return text.replace("@configuration@", digest(text))


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _main(settings: GatewaySettings, modules: Path) -> list[str]:
    user = [f"user {' '.join(settings.worker_user)};"] if settings.worker_user else []
    return [
        *user,
        f"worker_processes {settings.worker_processes or 'auto'};",
        f"pid {settings.prefix}/nginx.pid;",
        f"error_log {settings.error_log_file} warn;",
        f"load_module {modules}/ndk_http_module.so;",
        f"load_module {modules}/ngx_http_lua_module.so;",
        "events {",
        "    worker_connections 16384;",
        "}",
    ]


def _http(settings: GatewaySettings, packages: list[str]) -> list[str]:
    sections = [
        _basics(settings),
        packages,
        _forwarding(settings),
        [*_access_log(settings), *_firewall_log(settings)],
        _upstream(settings, "coldchain"),
        # connections that are kept speak HTTP/1.1 or gRPC, and an address may have both
        _upstream(settings, "coldchain_grpc"),
        _consumer_server(settings),
        _status_server(settings),
        _control_server(settings),
    ]
    return [f"    {line}" for section in sections for line in section]


def _basics(settings: GatewaySettings) -> list[str]:
    return [
        "server_tokens off;",
        "uninitialized_variable_warn off;",
        "default_type application/octet-stream;",
        "keepalive_requests 10000;",
        "merge_slashes off;",
        f"client_max_body_size {settings.request_body_bytes_max};",
        *(
            f"{name}_temp_path {settings.prefix}/temporary/{name};"
            for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        ),
    ]


def _lua(settings: GatewaySettings, lua: Path, lua_digest: str, firewall: FirewallFiles | None) -> list[str]:
    log_accesses = "true" if settings.access_log else "false"
    trusted_proxies = ", ".join(f'"{network}"' for network in settings.trusted_proxies)
    return [
        f"# code {lua_digest}",
        f'lua_package_path "{lua}/?.lua;/usr/share/lua/5.1/?.lua;;";',
        'lua_package_cpath "/usr/lib/x86_64-linux-gnu/lua/5.1/?.so;/usr/lib/aarch64-linux-gnu/lua/5.1/?.so;;";',
        f"lua_shared_dict coldchain_rotation {settings.memory.rotation};",
        f"lua_shared_dict coldchain_control {settings.memory.control};",
        f"lua_shared_dict coldchain_nonces {settings.memory.nonces};",
        f"lua_shared_dict coldchain_traffic {_TRAFFIC_MEMORY};",
        *(f"lua_shared_dict coldchain_{name} {size};" for name, size in _POLICY_MEMORY.items()),
        "# regular expressions of routes: each compiled once, and none takes long, whatever the path",
        "lua_regex_cache_max_entries 8192;",
        "lua_regex_match_limit 10000;",
        "init_by_lua_block {",
        '    require("coldchain.start").init({',
        '        configuration = "@configuration@",',
        f"        acknowledge_seconds = {settings.acknowledge_timeout_seconds:.3f},",
        f"        log_accesses = {log_accesses},",
        f"        trusted_proxies = {{{trusted_proxies}}},",
        f"        mark_trusted = {'true' if settings.mark_trusted else 'false'},",
        f"        open_requests_max = {settings.open_requests_max},",
        f"        lag_seconds_max = {settings.lag_seconds_max:.3f},",
        f"        latency_bounds = {{{', '.join(f'{bound:g}' for bound in LATENCY_BOUNDS_SECONDS)}}},",
        *([f'        firewall = {{library = "{firewall.library}", rules = "{firewall.rules}"}},'] if firewall else []),
        "    })",
        "}",
        'init_worker_by_lua_block { require("coldchain.start").worker() }',
    ]


def _forwarding(settings: GatewaySettings) -> list[str]:
    """What of the consumer's headers is believed: a request id of plain characters, and a wish for a WebSocket."""
    lines = [
        "map $http_upgrade $coldchain_upgrade {",
        "    websocket websocket;",
        "}",
        "map $coldchain_upgrade $coldchain_connection {",
        "    websocket upgrade;",
        "}",
        "map $http_x_request_id $coldchain_request_id {",
        '    "~^[A-Za-z0-9._:/+=@-]{1,128}$" $http_x_request_id;',
        "    # $request_id asks for random numbers, which costs a tenth of a request; this is as unique",
        "    default $hostname-$connection-$connection_requests-$msec;",
        "}",
        "# W3C trace context: a traceparent that is one goes on with its state; what is none does not",
        "map $http_traceparent $coldchain_trace {",
        '    "" "";',
        f'    "~^00-{_TRACE}$" $http_traceparent;',
        f'    "~^(?!00|ff)[0-9a-f]{{2}}-{_TRACE}(-|$)" $http_traceparent;',
        '    default "";',
        "}",
        "map $coldchain_trace $coldchain_tracestate {",
        '    "" "";',
        "    default $http_tracestate;",
        "}",
    ]
    if settings.mark_trusted:
        lines += [
            "geo $coldchain_mark_trusted {",
            *(f"    {network} 1;" for network in settings.mark_trusted),
            "    default 0;",
            "}",
            "# what a request says of its own version; empty for who is not believed, so that nobody passes it on",
            "map $coldchain_mark_trusted $coldchain_mark {",
            f"    1 ${_header_variable(settings.mark_header)};",
            '    default "";',
            "}",
        ]
    if settings.trusted_proxies:
        lines += [
            "geo $coldchain_trusted {",
            *(f"    {network} 1;" for network in settings.trusted_proxies),
            "    default 0;",
            "}",
            "map $coldchain_trusted $coldchain_forwarded_for {",
            "    1 $proxy_add_x_forwarded_for;",
            "    default $remote_addr;",
            "}",
            'map "$coldchain_trusted$http_x_forwarded_proto" $coldchain_forwarded_proto {',
            "    1http http;",
            "    1https https;",
            "    default $scheme;",
            "}",
        ]
    return lines


def _header_variable(name: str) -> str:
    """As nginx calls a header of the request."""
    return f"http_{name.lower().replace('-', '_')}"


def _access_log(settings: GatewaySettings) -> list[str]:
    if not settings.access_log:
        return []  # the firewall's log keeps nginx from a default of its own
    fields = {
        "time": "$msec",
        "seconds": "$request_time",
        "method": '"$request_method"',
        "host": '"$http_host"',
        "uri": '"$coldchain_uri"',
        "status": "$coldchain_status",
        "requestId": '"$coldchain_request_id"',
        "trace": '"$coldchain_trace"',
        "service": '"$coldchain_service"',
        "version": '"$coldchain_version"',
        "instances": '"$coldchain_instances"',
        "addresses": '"$upstream_addr"',
        "statuses": '"$upstream_status"',
        "reason": '"$coldchain_reason"',
        "bytes": "$body_bytes_sent",
        "client": '"$remote_addr"',
        "consumer": '"$coldchain_consumer"',
    }
    line = ", ".join(f'"{name}": {value}' for name, value in fields.items())
    return [
        "map $status $coldchain_status {",
        "    000 0;",
        "    default $status;",
        "}",
        "# without the API key that may stand in it",
        'map "" $coldchain_uri {',
        "    default $request_uri;",
        "}",
        f"log_format coldchain escape=json '{{{line}}}';",
        f"access_log {settings.access_log_file} coldchain buffer=64k flush=1s;",
    ]


def _firewall_log(settings: GatewaySettings) -> list[str]:
    """Only of requests that the firewall of their route has something to say about, as JSON made in Lua."""
    return [
        "log_format coldchain_firewall escape=none $coldchain_firewall;",
        f"access_log {settings.firewall_log_file} coldchain_firewall if=$coldchain_firewall buffer=64k flush=1s;",
    ]


def _upstream(settings: GatewaySettings, name: str) -> list[str]:
    return [
        f"upstream {name} {{",
        "    server 0.0.0.1;",
        '    balancer_by_lua_block { require("coldchain.proxy").balance() }',
        "    # after the balancer, or connections are silently not kept",
        "    keepalive 512;",
        "    keepalive_requests 10000;",
        f"    keepalive_timeout {_milliseconds(settings.upstream_keepalive_seconds)};",
        "}",
    ]


def _grpc(settings: GatewaySettings) -> list[str]:
    """The same for gRPC. Its streams flow both ways at once, so nothing is taken in before."""
    same = [line.replace("proxy_", "grpc_", 1) for line in _proxying(settings) if line.startswith(_GRPC_TOO)]
    return [
        *(line for line in same if not line.startswith(_GRPC_NOT)),
        "client_max_body_size 0;",
        "grpc_buffer_size 16k;",
        "grpc_next_upstream error timeout non_idempotent;",
        'header_filter_by_lua_block { require("coldchain.proxy").header_filter() }',
        "grpc_pass grpc://coldchain_grpc;",
    ]


def _proxying(settings: GatewaySettings) -> list[str]:
    forwarded_for = "$coldchain_forwarded_for" if settings.trusted_proxies else "$remote_addr"
    forwarded_proto = "$coldchain_forwarded_proto" if settings.trusted_proxies else "$scheme"
    read_timeout = _milliseconds(settings.upstream_read_timeout_seconds)
    return [
        "proxy_http_version 1.1;",
        "proxy_set_header Host $http_host$coldchain_hostless;",
        "proxy_set_header Connection $coldchain_connection;",
        "proxy_set_header Upgrade $coldchain_upgrade;",
        f"proxy_set_header X-Forwarded-For {forwarded_for};",
        f"proxy_set_header X-Forwarded-Proto {forwarded_proto};",
        "proxy_set_header X-Forwarded-Host $http_host;",
        "proxy_set_header X-Real-IP $remote_addr;",
        "proxy_set_header X-Request-Id $coldchain_request_id;",
        "proxy_set_header traceparent $coldchain_trace;",
        "proxy_set_header tracestate $coldchain_tracestate;",
        "proxy_set_header X-Consumer-Name $coldchain_consumer;",
        "proxy_set_header X-Consumer-Groups $coldchain_consumer_groups;",
        f"proxy_set_header {settings.mark_header} $coldchain_mark;",
        *(f'proxy_set_header {name} "";' for name in ("Forwarded", "Proxy", "Proxy-Connection", "HTTP2-Settings")),
        f"proxy_connect_timeout {_milliseconds(settings.upstream_connect_timeout_seconds)};",
        f"proxy_send_timeout {read_timeout};",
        f"proxy_read_timeout {read_timeout};",
        "# what an app sends goes on at once: streams are not held up, and no answer needs room on the disk",
        "proxy_buffering off;",
        "proxy_buffer_size 16k;",
        "proxy_buffers 4 16k;",
        "# the balancer decides in Lua whether there is a next try; nginx would repeat requests that reached an app.",
        "proxy_next_upstream error timeout non_idempotent;",
    ]


def _consumer_server(settings: GatewaySettings) -> list[str]:
    lines = [
        *(f"listen {address} backlog=4096;" for address in settings.listen),
        *_encryption(settings),
        *_proxying(settings),
        f"error_page {_ERRORS_OF_PROXYING} @fault;",
        f"error_page {_ERRORS_OF_PARSING} /.coldchain/fault;",
    ]
    lines += [
        'log_by_lua_block { require("coldchain.proxy").log() }',
        "location / {",
        "    # a consumer that leaves while it waits for a limit is not waited for",
        "    lua_check_client_abort on;",
        '    access_by_lua_block { require("coldchain.proxy").access() }',
        "    # the slash: what is passed on is the normalised path that the route was chosen by",
        "    proxy_pass http://coldchain/;",
        "}",
        "location @closing {",
        "    keepalive_timeout 0;",
        '    header_filter_by_lua_block { require("coldchain.proxy").header_filter() }',
        "    proxy_pass http://coldchain;",
        "}",
        "location @filtered {",
        '    header_filter_by_lua_block { require("coldchain.proxy").header_filter() }',
        "    proxy_pass http://coldchain;",
        "}",
        "location @grpc {",
        *(f"    {line}" for line in _grpc(settings)),
        "}",
        "location @fault {",
        '    content_by_lua_block { require("coldchain.proxy").fault() }',
        "}",
        "location = /.coldchain/fault {",
        "    internal;",
        '    content_by_lua_block { require("coldchain.proxy").fault() }',
        "}",
        "# nobody comes here: it makes these variables known, which are empty until Lua sets them; a map, or a `set`",
        "# that is carried out, would cost every request something for each of them",
        "location @variables {",
        *(f'    set $coldchain_{name} "";' for name in _told(settings)),
        "}",
    ]
    return _server(lines)


def _told(settings: GatewaySettings) -> list[str]:
    """What Lua tells nginx of a request: its Host where it said none, who asks where a route wanted to know it (empty
    else, so that nobody can say it of himself), the mark of a gray one, and what the logs say of it."""
    names = ["hostless", "consumer", "consumer_groups", "firewall"]
    if not settings.mark_trusted:
        names.append("mark")
    if settings.access_log:
        names += ["service", "version", "instances", "reason"]
    return names


def _encryption(settings: GatewaySettings) -> list[str]:
    if not settings.tls_listen:
        return []
    return [
        *(f"listen {address} ssl http2 backlog=4096;" for address in settings.tls_listen),
        f"ssl_certificate {settings.placeholder_file};",
        f"ssl_certificate_key {settings.placeholder_file};",
        "ssl_protocols TLSv1.2 TLSv1.3;",
        "ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;",
        "ssl_session_cache shared:coldchain_tls:10m;",
        "ssl_session_timeout 1h;",
        "# of 1.3 the tickets go on; those of 1.2 would be read with a key that is never renewed",
        "ssl_session_tickets off;",
        "error_page 497 /.coldchain/unencrypted;",
        "location = /.coldchain/unencrypted {",
        "    internal;",
        '    content_by_lua_block { require("coldchain.proxy").fault("this port speaks TLS") }',
        "}",
        'ssl_certificate_by_lua_block { require("coldchain.certificates").serve() }',
    ]


def _status_server(settings: GatewaySettings) -> list[str]:
    return _server(
        [
            f"listen {settings.status_listen};",
            "access_log off;",
            "location = /.coldchain/ready {",
            '    content_by_lua_block { require("coldchain.control").ready() }',
            "}",
            "location = /metrics {",
            '    content_by_lua_block { require("coldchain.control").metrics() }',
            "}",
            "location / {",
            "    return 404;",
            "}",
        ]
    )


def _control_server(settings: GatewaySettings) -> list[str]:
    return _server(
        [
            f"listen unix:{settings.control_socket};",
            "access_log off;",
            "# a connection that is kept would stay with a worker that a reload has replaced",
            "keepalive_timeout 0;",
            "client_max_body_size 256m;",
            "client_body_buffer_size 256m;",
            "location / {",
            '    content_by_lua_block { require("coldchain.control").control() }',
            "}",
        ]
    )


def _server(lines: list[str]) -> list[str]:
    return ["server {", *(f"    {line}" for line in lines), "}"]


def _milliseconds(seconds: float) -> str:
    return f"{max(1, round(seconds * 1000))}ms"
