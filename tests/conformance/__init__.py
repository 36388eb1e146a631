"""The numbered cases of the specifications, through the whole service."""
