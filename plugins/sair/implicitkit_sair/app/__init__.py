"""The plugin's tab of ``implicitkit app``."""
