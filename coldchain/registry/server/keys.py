"""keys: `/v1/kv`, `/v1/session` and `/v1/txn`: keys, those who lock them, and several changes at once."""

import binascii
import uuid
from base64 import b64decode
from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from coldchain.decisions import key_value
from coldchain.decisions.key_value import Keys, Operation, Verb
from coldchain.documents import catalog_answers as answers
from coldchain.documents import catalog_definitions as definitions
from coldchain.model.catalog import KeyValue
from coldchain.model.errors import ColdchainError, MalformedDocument
from coldchain.registry.server import indices
from coldchain.registry.server.content import Content
from coldchain.registry.server.exchange import (
    Document,
    answer,
    check_consistency,
    content_of,
    fresh_index,
    index_headers,
    whole_number,
)
from coldchain.registry.server.records import sorted_by_id

VALUE_BYTES_MAX = 512 * 1024
KEY_CHARACTERS_MAX = 4096
OPERATIONS_MAX = 64
FLAGS_MAX = 2**64
CHANGES: dict[str, Verb] = {
    "set": "set",
    "cas": "cas",
    "lock": "lock",
    "unlock": "unlock",
    "delete": "delete",
    "delete-tree": "delete-tree",
    "delete-cas": "delete-cas",
}


class InvalidSession(ColdchainError):  # noqa: N818
    """Consul answers a server error, which its clients know."""


async def get_key(request: web.Request) -> web.Response:
    content, key = content_of(request), request.match_info["key"]
    query = request.query
    many = "recurse" in query or "keys" in query
    if not key and not many:
        raise MalformedDocument("Missing key name")

    def index() -> int:
        if many:
            return content.keys_index(key)
        known = content.keys.get(key)
        return max(known.modify_index, content.indices.start) if known else content.indices.of(indices.KEYS)

    current = await fresh_index(request, [indices.KEYS], index)
    found = content.keys_below(key) if many else [key] if key in content.keys else []
    if not found:
        return web.Response(status=404, headers=index_headers(request, current))
    if "keys" in query:
        return answer(request, list(key_value.folded(found, key, query.get("separator", ""))), index=current)
    if "raw" in query:
        # Never as what a browser would run: users' values are text of unknown kind.
        headers = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox"}
        return web.Response(
            body=content.keys[found[0]].value,
            content_type="text/plain",
            headers=index_headers(request, current) | headers,
        )
    return answer(request, [answers.key_answer(content.keys[one]) for one in found], index=current)


async def put_key(request: web.Request) -> web.Response:
    content, key = content_of(request), _key(request)
    verb = _chosen_verb(request, {"cas": "cas", "acquire": "lock", "release": "unlock"}, "set")
    session = request.query.get("acquire") or request.query.get("release") or ""
    operation = Operation(
        verb=verb,
        key=key,
        value=await request.read(),
        flags=_flags(whole_number(request, "flags")),
        index=whole_number(request, "cas"),
        session=session,
    )
    if verb == "lock":
        _check_session(content, session)
    return answer(request, await content.carry_out(operation))


async def delete_key(request: web.Request) -> web.Response:
    verb = _chosen_verb(request, {"recurse": "delete-tree", "cas": "delete-cas"}, "delete")
    key = request.match_info["key"] if verb == "delete-tree" else _key(request)
    operation = Operation(verb=verb, key=key, index=whole_number(request, "cas"))
    return answer(request, await content_of(request).carry_out(operation))


def _key(request: web.Request) -> str:
    check_consistency(request)
    key = request.match_info["key"]
    if not key:
        raise MalformedDocument("Missing key name")
    if len(key) > KEY_CHARACTERS_MAX:
        raise MalformedDocument(f"Invalid key: it is longer than {KEY_CHARACTERS_MAX} characters")
    return key


def _flags(flags: int) -> int:
    if not 0 <= flags < FLAGS_MAX:
        raise MalformedDocument("flags must be an unsigned number of 64 bits")
    return flags


def _chosen_verb(request: web.Request, verbs: Mapping[str, Verb], default: Verb) -> Verb:
    given = [name for name in verbs if name in request.query]
    if len(given) > 1:
        raise MalformedDocument(f"Conflicting flags: {request.query_string[:200]}")
    return verbs[given[0]] if given else default


def _check_session(content: Content, session: str) -> None:
    if session not in content.sessions:
        raise InvalidSession(f'invalid session "{session[:100]}"')


async def create_session(request: web.Request) -> web.Response:
    check_consistency(request)
    content = content_of(request)
    session = definitions.session_definition(definitions.parse_body(await request.read()), str(uuid.uuid4()))
    await content.open_session(session)
    return answer(request, {"ID": session.id})


async def destroy_session(request: web.Request) -> web.Response:
    await content_of(request).end_session(request.match_info["id"])
    return answer(request, True)


async def renew_session(request: web.Request) -> web.Response:
    content = content_of(request)
    return answer(request, [answers.session_answer(content.node, content.renew_session(request.match_info["id"]))])


async def show_session(request: web.Request) -> web.Response:
    return await _sessions(request, request.match_info["id"])


async def list_sessions(request: web.Request) -> web.Response:
    return await _sessions(request)


async def list_node_sessions(request: web.Request) -> web.Response:
    mine = request.match_info["name"].lower() == content_of(request).node.name.lower()
    return await _sessions(request, None if mine else "")


async def _sessions(request: web.Request, only: str | None = None) -> web.Response:
    content = content_of(request)
    index = await fresh_index(request, [indices.SESSIONS], lambda: content.indices.of(indices.SESSIONS))
    found = [one for one in sorted_by_id(content.sessions) if only in (None, one.id)]
    return answer(request, [answers.session_answer(content.node, one) for one in found], index=index)


async def transact(request: web.Request) -> web.Response:
    """All operations or none; 409 with the reasons where one of them cannot be."""
    check_consistency(request)
    given = definitions.parse_body(await request.read())
    if not isinstance(given, list):
        raise MalformedDocument("Failed to parse body: an array of operations is expected")
    if len(given) > OPERATIONS_MAX:
        raise web.HTTPRequestEntityTooLarge(
            max_size=OPERATIONS_MAX,
            actual_size=len(given),
            text=f"Transaction contains too many operations ({len(given)} > {OPERATIONS_MAX})",
        )
    content = content_of(request)
    transaction = _Transaction(content, given)
    await content.operate(transaction.decide)
    results = [
        {"KV": answers.key_answer(content.keys.get(one.key, one) if written else one, value=not written)}
        for one, written in transaction.results
    ]
    failed = bool(transaction.errors)
    document = {"Results": None if failed else results, "Errors": transaction.errors or None}
    return answer(request, document, status=409 if failed else 200)


class _Transaction:
    """`results`: keys in the order of the operations, and whether each was written."""

    def __init__(self, content: Content, given: list[Any]) -> None:
        self._content = content
        self._given = given
        self.results: list[tuple[KeyValue, bool]] = []
        self.errors: list[Document] = []

    def decide(self, keys: Mapping[str, KeyValue], delayed: set[str]) -> Keys | None:
        """The changes of all operations together; None with `errors` filled where one cannot be."""
        self.results, self.errors = [], []
        working = dict(keys)
        changes: Keys = {}
        for place, given in enumerate(self._given):
            try:
                self._one(given, working, changes, delayed)
            except MalformedDocument as error:
                self.errors.append({"OpIndex": place, "What": error.message})
        return None if self.errors else changes

    def _one(self, given: object, working: dict[str, KeyValue], changes: Keys, delayed: set[str]) -> None:
        fields = given.get("KV") if isinstance(given, dict) else None
        if not isinstance(fields, dict):
            raise MalformedDocument("only operations on KV are possible here")
        verb, operation = _operation(fields)
        known = working.get(operation.key)
        if verb in CHANGES:
            if verb == "lock" and operation.session not in self._content.sessions:
                raise MalformedDocument(f'invalid session "{operation.session[:100]}"')
            changed = key_value.carry_out(operation, working, delayed)
            if changed is None:
                raise MalformedDocument(f'failed to {verb} key "{operation.key}", it is held, stale or delayed')
            for key, one in changed.items():
                changes[key] = one
                if one is None:
                    working.pop(key, None)
                else:
                    working[key] = one
                    self.results.append((one, True))
        elif verb == "get-tree":
            self.results += [(working[key], False) for key in sorted(working) if key.startswith(operation.key)]
        elif verb == "check-not-exists":
            if known is not None:
                raise MalformedDocument(f'key "{operation.key}" exists')
        elif known is None:
            if verb != "get-or-empty":
                raise MalformedDocument(f'key "{operation.key}" doesn\'t exist')
            self.results.append((KeyValue(key=operation.key), False))
        else:
            self._look(verb, operation, known)

    def _look(self, verb: str, operation: Operation, known: KeyValue) -> None:
        if verb == "check-index" and known.modify_index != operation.index:
            raise MalformedDocument(
                f'failed index check for key "{operation.key}", current modify index'
                f" {known.modify_index} != {operation.index}"
            )
        if verb == "check-session" and known.session != operation.session:
            raise MalformedDocument(
                f'failed session check for key "{operation.key}", current session "{known.session}"'
                f' != "{operation.session[:100]}"'
            )
        self.results.append((known, False))


_READS = ("get", "get-or-empty", "get-tree", "check-index", "check-session", "check-not-exists")


class _Operation(msgspec.Struct, rename="pascal"):
    verb: str
    key: str = ""
    value: str | None = None
    flags: int = 0
    index: int = 0
    session: str = ""


def _operation(fields: Document) -> tuple[str, Operation]:
    try:
        given = msgspec.convert(fields, _Operation)
        value = b64decode(given.value or "", validate=True)
    except (msgspec.ValidationError, binascii.Error) as error:
        raise MalformedDocument(f"cannot be read: {error}") from error
    if given.verb not in CHANGES and given.verb not in _READS:
        raise MalformedDocument(f'unknown KV verb "{given.verb[:40]}"')
    if len(given.key) > KEY_CHARACTERS_MAX or (not given.key and not given.verb.endswith("-tree")):
        raise MalformedDocument("Invalid key: it is empty or too long")
    return given.verb, Operation(
        verb=CHANGES.get(given.verb, "set"),
        key=given.key,
        value=value,
        flags=_flags(given.flags),
        index=given.index,
        session=given.session,
    )
