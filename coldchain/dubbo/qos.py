"""qos: how a provider itself is told to leave its consumers, and to come back."""

from coldchain.clients.dubbo.qos import QosForeign, QosRefused, QosUnreachable, command
from coldchain.model.errors import Rejected, Unavailable

ANSWER_SECONDS = 3.0


class HttpDubboQos:
    """Implements ports.dubbo_qos.DubboQos."""

    async def offline(self, host: str, port: int) -> None:
        await self._tell(host, port, "offline")

    async def online(self, host: str, port: int) -> None:
        await self._tell(host, port, "online")

    async def _tell(self, host: str, port: int, word: str) -> None:
        try:
            await command(host, port, word, within_seconds=ANSWER_SECONDS)
        except QosUnreachable as error:
            raise Unavailable(str(error)) from error
        except QosForeign as error:
            todo = (
                "Let the provider take commands of the controller's address (qos.accept.foreign.ip, or a whitelist),"
                " and from Dubbo 3.2 on let who is anonymous give protected ones (qos.anonymous.access...)"
            )
            raise Rejected(str(error), todo=todo) from error
        except QosRefused as error:
            raise Rejected(str(error)) from error
