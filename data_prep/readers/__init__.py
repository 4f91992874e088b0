"""One module per format: the pieces of a source, and the ``(doc_id, text)`` pairs of a piece.

A document's id never holds a machine's path: it is a file's name within the source with a line or
row number, a field of the record, or the name of a Python object.
"""
