"""The page of ``implicitkit view``: windows of a field, rendered as somebody looks at them."""
