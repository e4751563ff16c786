"""trust: by what an executor knows an agent that speaks TLS, and by what the agent knows it."""

import ssl

from coldchain.engines.executor.environment import ExecutorEnvironment
from coldchain.model.errors import Rejected


def trust_of(environment: ExecutorEnvironment) -> ssl.SSLContext | None:
    """None for an agent that does not speak TLS. Without any authority those that the machine trusts count. Raises
    Rejected."""
    if not environment.url.startswith("https:"):
        return None
    try:
        context = ssl.create_default_context(
            cafile=environment.authority_file or None, cadata=environment.authority or None
        )
        if environment.certificate_file:
            context.load_cert_chain(environment.certificate_file, environment.key_file or None)
    except (OSError, ssl.SSLError) as error:
        raise Rejected(
            f"what the agent says of TLS cannot be used: {error}",
            todo="Look at the variables LIBPROCESS_SSL_… in its --executor_environment_variables.",
        ) from error
    # An agent is reached by the address of this very machine, and its certificate is of a name.
    context.check_hostname = False
    return context
