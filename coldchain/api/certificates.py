"""certificates: `/v1/certificates`: what the gateways show consumers over TLS. Keys come in and are never shown."""

from http import HTTPStatus
from typing import Any

from aiohttp import web

from coldchain.api.context import context_of
from coldchain.api.exchange import HEADERS, answer, caller_of, flag
from coldchain.documents.answers import timestamp
from coldchain.documents.rules import SECRET_NAME
from coldchain.model.certificate import KeptCertificate
from coldchain.model.errors import InvalidDocument, MalformedDocument, Problem


async def list_certificates(request: web.Request) -> web.Response:
    """All, with their domains and until when they are good."""
    certificates = context_of(request).controller.state.certificates
    return answer({"certificates": [_shown(certificates[name]) for name in sorted(certificates)]})


async def set_certificate(request: web.Request) -> web.Response:
    """The body is PEM: the certificate, those that signed it, and its key. No document, so that no error about it can
    show a part of it."""
    context, name = context_of(request), request.match_info["certificate"]
    if not SECRET_NAME.fullmatch(name):
        reason = "must be letters, digits and `_.-`, at most 128, the first a letter or a digit"
        raise InvalidDocument([Problem(path="/name", reason=reason)])
    try:
        text = (await request.read()).decode("ascii")
    except UnicodeDecodeError:
        raise MalformedDocument("A certificate is text (PEM)", todo="`openssl x509` makes it of other forms.") from None
    certificates = context.controller.certificates
    kept, is_new = await certificates.set(name, text, caller_of(request).name, default=flag(request, "default"))
    return answer(_shown(kept), HTTPStatus.CREATED if is_new else HTTPStatus.OK)


async def delete_certificate(request: web.Request) -> web.Response:
    """Whoever asks for its domains is shown another, or none, from now on."""
    await context_of(request).controller.certificates.delete(request.match_info["certificate"])
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=HEADERS)


def _shown(one: KeptCertificate) -> dict[str, Any]:
    return {
        "name": one.name,
        "domains": list(one.domains),
        "default": one.default,
        "fingerprint": one.fingerprint,
        "notBefore": timestamp(one.not_before),
        "notAfter": timestamp(one.not_after),
        "changedAt": timestamp(one.changed_at),
        "cause": one.cause,
    }
