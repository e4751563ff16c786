"""application: the commands put together. `main.command` adds those that start processes."""

import os
from typing import Annotated

import typer

from coldchain.cli import (
    agents,
    audit,
    certificate,
    changes,
    consumer,
    deploy,
    diff,
    events,
    gray,
    history,
    holds,
    init,
    login,
    logs,
    migrate,
    network,
    policy,
    pool,
    replay,
    routes,
    routing,
    secret,
    services,
    session,
    status,
    token,
    validate,
    versions,
    why,
)
from coldchain.cli.group import Group

EPILOG = (
    "Exit status: 0 done, 1 failed or rolled back, 2 invalid input or usage, 3 no platform answers, 4 timed out, "
    "130 interrupted."
)

application = typer.Typer(
    name="coldchain",
    cls=Group,
    help="Run services on containers, and release, scale and recover them without losing a request.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from coldchain._version import __version__

        typer.echo(__version__)
        raise typer.Exit


@application.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and end.")
    ] = False,
    authority: Annotated[
        str | None,
        typer.Option("--ca", envvar="COLDCHAIN_CA", help="PEM file of who vouches for the API's certificate."),
    ] = None,
) -> None:
    """Options of the whole program."""
    if authority:
        os.environ["COLDCHAIN_CA"] = authority  # for `way`, however deep a command asks it


for command in (
    init.init,
    validate.validate,
    deploy.deploy,
    diff.diff,
    status.status,
    why.why,
    services.services,
    changes.scale,
    changes.restart,
    changes.rollback,
    versions.versions,
    history.history,
    logs.logs,
    events.events,
    events.story,
    replay.bundle,
    replay.replay,
    holds.pause,
    holds.resume,
    holds.promote,
    gray.gray,
    changes.cancel,
    holds.release_brake,
    agents.agents,
    agents.drain,
    routing.routing,
    routes.routes,
    changes.delete,
    secret.secret,
    consumer.consumer,
    certificate.certificate,
    policy.policy,
    token.token,
    login.login,
    audit.audit,
    migrate.migrate,
    pool.pool,
    network.network,
):
    application.command()(command)
application.command("exec")(session.exec_)
