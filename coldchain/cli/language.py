"""language: what commands say, in the language of the user: LANGUAGE, LC_ALL, LC_MESSAGES or LANG choose it.

English stands in the code and is what is said where a translation is missing. What the platform answers (reasons,
causes, mistakes in definitions) comes in English whoever asks: scripts and logs read it too.
"""

import functools
import gettext
from gettext import GNUTranslations, NullTranslations, translation
from pathlib import Path

DOMAIN = "coldchain"
CATALOGUES = Path(__file__).with_name("locale")
"""Below it `LANGUAGE/LC_MESSAGES/coldchain.po`, from which the build makes the `.mo` that is read."""


@functools.cache
def _catalogue() -> NullTranslations:
    return translation(DOMAIN, CATALOGUES, fallback=True)


def speaks_english() -> bool:
    """True where nothing is translated."""
    return not isinstance(_catalogue(), GNUTranslations)


def take_over() -> None:
    """Have the few words that typer itself says translated from our catalogue, too."""
    gettext.bindtextdomain(DOMAIN, str(CATALOGUES))
    gettext.textdomain(DOMAIN)


def translated(message: str) -> str:
    """A message as it stands in the catalogue, fields and all."""
    return _catalogue().gettext(message) if message else ""


def _(message: str, **fields: object) -> str:
    """The message in the user's language, its `{fields}` filled in."""
    said = translated(message)
    return said.format(**fields) if fields else said


def plural(one: str, many: str, number: int, **fields: object) -> str:
    """As `_`, in the form that the number asks for; it is the field `number`."""
    return _catalogue().ngettext(one, many, number).format(number=number, **fields)
