"""prepared: what a file declares, with expressions read and paths in order, so that no request pays for either."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from coldchain.decisions.composition import Needs
from coldchain.decisions.composition_path import Table
from coldchain.documents.composition_steps import needs_of
from coldchain.documents.expression import Expression
from coldchain.model.composition import Composition, Compositions, Service
from coldchain.model.service_call import ExposedMethod
from coldchain.ports.service_caller import HttpCaller, ServiceCaller


class Callers(NamedTuple):
    """`dubbo` None: the file names no service of Dubbo."""

    http: HttpCaller
    dubbo: ServiceCaller | None


class Prepared(NamedTuple):
    """One composition. `expressions`: by text."""

    declared: Composition
    services: Mapping[str, Service]
    needs: Needs
    expressions: Mapping[str, Expression]
    exposed: ExposedMethod | None


class Loaded:
    """A whole file that is served, and how many requests and calls are open by it."""

    def __init__(self, file: Compositions, callers: Callers) -> None:
        self.file = file
        self.callers = callers
        self.table = Table((one.method, one.path, _prepared(one, file)) for one in file.compositions)
        self.requests_open = 0
        self.calls_open: Counter[str] = Counter()
        """By service."""


def _prepared(one: Composition, file: Compositions) -> Prepared:
    texts = {text for step in one.steps.values() for text in step.expressions.values()}
    if one.answer is not None:
        texts.add(one.answer)
    return Prepared(
        declared=one,
        services=file.services,
        needs=needs_of(one.steps),
        expressions={text: Expression(text) for text in texts},
        exposed=one.exposed_method(file.services),
    )
