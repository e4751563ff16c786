"""exposed_method: one method of a service as the answer to an HTTP request.

body → call → ServiceCaller → status and body
"""

from collections.abc import Mapping

import msgspec

from coldchain.documents.answers import error_answer
from coldchain.documents.exposed_method import call_of, render
from coldchain.model.errors import ColdchainError
from coldchain.model.service_call import ExposedMethod, RaisedByService
from coldchain.ports.service_caller import ServiceCaller


async def answer(
    caller: ServiceCaller, exposed: ExposedMethod, body: bytes, attachments: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    """Status and JSON. `attachments`: what goes along with the call. What the method raised is told by its class,
    without its stack: that is for who runs it."""
    try:
        return 200, render(await caller.call(call_of(exposed, body, attachments)))
    except RaisedByService as error:
        return error.status, msgspec.json.encode({"message": error.words or error.kind, "raised": error.kind})
    except ColdchainError as error:
        status, document = error_answer(error)
        return status, msgspec.json.encode(document)
