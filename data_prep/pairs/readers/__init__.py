"""One module per kind of source of pairs.

A reader takes a source's settings and the pairs' and yields what it finds, in a fixed order: a
``Found`` for every image with a caption, a ``Skipped`` for what cannot be one.
"""
