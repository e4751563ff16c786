"""The common shape of all nouns: frozen, keyword only, camelCase in documents."""

import msgspec


class Noun(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True, gc=False):
    """A value of the vocabulary. Field `grace_period_seconds` is `gracePeriodSeconds` in documents."""
