"""Which class every pixel belongs to, and how that is scored."""
