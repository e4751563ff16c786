"""Plain objects as YAML that `documents.text.parse_yaml` reads as what they were."""

from typing import Any

import yaml

from coldchain.documents.text import plain_scalar

LINE_CHARACTERS = 120


def write_yaml(document: Any) -> str:
    """In block style, members in their order. Raises ValueError for what YAML cannot hold."""
    try:
        return yaml.dump(
            document,
            Dumper=_Writer,
            sort_keys=False,
            allow_unicode=True,
            default_flow_style=False,
            width=LINE_CHARACTERS,
        )
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


class _Writer(yaml.SafeDumper):
    """Without anchors; text that would be read as something else is in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _write_text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    quotes = "'" if plain_scalar(text) != text else None if text.isprintable() else '"'
    style = "|" if _several_lines(text) else quotes
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def _several_lines(text: str) -> bool:
    """Whether it can stand line by line, as scripts are read best."""
    lines = text.split("\n")
    plain = all(line.isprintable() and line == line.rstrip() for line in lines)
    return plain and len(lines) > 1 and text[0] not in " \n"


_Writer.add_representer(str, _write_text)
