"""Documents to numbered spans: readers, sentence boundaries, spans, mixture, the corpus on disk."""
