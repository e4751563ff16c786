"""Coldchain: releases, scales and recovers services without losing one user request."""

from coldchain._version import __version__

__all__ = ["__version__"]
