"""Pushpin on Twisted: a reverse proxy that gives any web API realtime push."""

__version__ = "0.1.0"
