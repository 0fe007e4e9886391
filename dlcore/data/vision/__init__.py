"""Images and clips from real sources, their augmentation, and their reading as sequences."""
