"""Finding things by name, and who brings them: registries, plugins, and a new plugin's first files."""
