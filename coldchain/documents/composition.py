"""composition: the file of what is composed, read as a whole or not at all.

YAML → fields → rules → Compositions
"""

from coldchain.documents.composition_rules import composition_findings
from coldchain.documents.findings import Findings, TooMany
from coldchain.documents.shape import read
from coldchain.documents.text import parse_yaml
from coldchain.model.composition import Compositions
from coldchain.model.errors import InvalidDocument


def decode_yaml(text: bytes | str) -> Compositions:
    """Raises MalformedDocument, or InvalidDocument with everything that is wrong."""
    return decode_compositions(parse_yaml(text))


def decode_compositions(document: object) -> Compositions:
    """Raises InvalidDocument with everything that is wrong."""
    findings, found = Findings(), None
    try:
        found = read(Compositions, document, findings, {})
        if found is not None:
            findings.extend(composition_findings(found))
    except TooMany:
        found = None
    if problems := findings.problems(document):
        raise InvalidDocument(problems)
    assert found is not None, "nothing was read and nothing is wrong"
    return found
