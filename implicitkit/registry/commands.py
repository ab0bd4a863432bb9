"""The built-in commands: name → ``module:function``. A new command needs its module and one line here.

Plugins must not take these names; :mod:`implicitkit.cli.main` imports the modules.
"""

COMMANDS = {
    "upscale": "implicitkit.cli.upscale:upscale",
    "restore": "implicitkit.cli.restore:restore",
    "demo": "implicitkit.cli.demo:demo",
    "train": "implicitkit.cli.train:train",
    "evaluate": "implicitkit.cli.evaluate:evaluate",
    "compare": "implicitkit.cli.compare:compare",
    "data": "implicitkit.cli.data:data",
    "degrade": "implicitkit.cli.degrade:degrade",
    "list": "implicitkit.cli.listing:list_names",
    "info": "implicitkit.cli.info:info",
    "convert": "implicitkit.cli.convert:convert",
    "export": "implicitkit.cli.export:export",
    "weights": "implicitkit.cli.weights:weights",
    "config-schema": "implicitkit.cli.config_schema:config_schema",
    "doctor": "implicitkit.cli.doctor:doctor",
    "plugins": "implicitkit.cli.plugins:plugins",
}
