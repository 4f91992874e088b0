"""Teachers on vLLM: their towers run and pooled by it, everything around them as elsewhere."""
