"""group: the commands as typer knows them, with their help in the user's language."""

from typing import Any

from typer.core import TyperGroup

from coldchain.cli.language import speaks_english, take_over, translated


class Group(TyperGroup):
    """Translates the help of all its commands and options when it is made; English costs nothing. A command may have a
    name of two words, such as one of the machine beside those of the API that begin with the same word."""

    def __init__(self, *arguments: Any, **fields: Any) -> None:
        super().__init__(*arguments, **fields)
        if speaks_english():
            return
        take_over()
        for command in (self, *self.commands.values()):
            command.help = translated(command.help or "")
            command.epilog = translated(command.epilog or "")
            for parameter in command.params:
                parameter.help = translated(getattr(parameter, "help", None) or "")  # type: ignore[attr-defined]

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        both = " ".join(args[:2])
        if both in self.commands:
            return both, self.commands[both], args[2:]
        return super().resolve_command(ctx, args)
