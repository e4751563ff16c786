"""The reference of the app definition names every field, and its example is accepted."""

import re
from pathlib import Path

from msgspec import inspect, structs

from coldchain.documents.application import decode_yaml
from coldchain.model.app import (
    App,
    Command,
    Docker,
    Fetch,
    HeaderChanges,
    HealthCheck,
    Network,
    PortDefinition,
    PortMapping,
    ReadinessCheck,
    Redirect,
    ResourceLimits,
    Route,
    RouteFilters,
    UnreachableStrategy,
    UpgradeStrategy,
    Volume,
)
from coldchain.model.firewall import Firewall, FirewallExclusion
from coldchain.model.limit import Ejection, Limit, LimitQueue

REFERENCE = (Path(__file__).parents[2] / "docs" / "howto" / "definitions.md").read_text()
NOUNS = (
    App,
    Command,
    Fetch,
    Firewall,
    FirewallExclusion,
    HeaderChanges,
    Docker,
    Ejection,
    Limit,
    LimitQueue,
    PortMapping,
    PortDefinition,
    Network,
    HealthCheck,
    ReadinessCheck,
    Redirect,
    ResourceLimits,
    Route,
    RouteFilters,
    UnreachableStrategy,
    UpgradeStrategy,
    Volume,
)


def test_every_field_is_named() -> None:
    text = re.sub(r"```.*?```", "", REFERENCE, flags=re.DOTALL)
    words = set(re.findall(r"[A-Za-z0-9]+", " ".join(re.findall(r"`([^`]+)`", text))))
    names = {field.encode_name for noun in NOUNS for field in structs.fields(noun)} - {"secretEnv"}  # in env
    assert names - words == set()


def test_defaults_are_as_said() -> None:
    for field in structs.fields(App):
        if not isinstance(field.default, bool | int | float | str):
            continue
        row = next(line for line in REFERENCE.splitlines() if line.startswith("|") and f"`{field.encode_name}`" in line)
        written = str(field.default).lower() if isinstance(field.default, bool) else field.default
        text = written if isinstance(written, str) else f"{written:g}"
        assert re.search(rf"\b{re.escape(text)}\b", row.split("|")[2]), field.encode_name


def test_choices_are_named() -> None:
    for noun in NOUNS:
        kind = inspect.type_info(noun)
        assert isinstance(kind, inspect.StructType)
        for field in kind.fields:
            if isinstance(field.type, inspect.LiteralType):
                for choice in field.type.values:
                    assert f"`{choice}`" in REFERENCE, choice


def test_the_example_is_accepted() -> None:
    example = re.search(r"```yaml\n(.*?)```", REFERENCE, re.DOTALL)
    assert example is not None
    app = decode_yaml(example[1])
    assert (app.id, app.instances, app.service_name) == ("/shop/cart", 4, "shop-cart")
