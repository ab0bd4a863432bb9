"""The built-in commands: name → ``module:function``. A new command needs its module and one line here.

Plugins must not take these names; :mod:`implicitkit.cli.main` imports the modules. What the plugins of this repository
add is known too, so that a command whose plugin is missing says what to install.
"""

COMMANDS = {
    "upscale": "implicitkit.cli.pictures.upscale:upscale",
    "restore": "implicitkit.cli.pictures.restore:restore",
    "view": "implicitkit.cli.pictures.view:view",
    "demo": "implicitkit.cli.pictures.demo:demo",
    "app": "implicitkit.cli.pictures.app:app",
    "train": "implicitkit.cli.models.train:train",
    "evaluate": "implicitkit.cli.models.evaluate:evaluate",
    "compare": "implicitkit.cli.models.compare:compare",
    "data": "implicitkit.cli.data:data",
    "degrade": "implicitkit.cli.pictures.degrade:degrade",
    "list": "implicitkit.cli.listing:list_names",
    "info": "implicitkit.cli.info:info",
    "convert": "implicitkit.cli.models.convert:convert",
    "export": "implicitkit.cli.models.export:export",
    "weights": "implicitkit.cli.models.weights:weights",
    "config-schema": "implicitkit.cli.config_schema:config_schema",
    "doctor": "implicitkit.cli.doctor:doctor",
    "plugins": "implicitkit.cli.plugins:plugins",
}

SAIR = ("implicitkit-sair", "in a clone: pip install ./plugins/sair")
COMMANDS_OF_PLUGINS = {"inpaint": SAIR, "edit": SAIR, "segment": SAIR, "pretrain-mae": SAIR, "make-prototypes": SAIR}
