"""Image-caption pairs: numbered rows of an image and its caption."""
