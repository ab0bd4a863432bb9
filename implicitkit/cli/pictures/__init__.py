"""Commands on pictures: upscale, restore, degrade, demo; their options, how long they take, and who does which."""
