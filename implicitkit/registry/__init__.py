"""Registries, plugins, and templates for new plugins."""
