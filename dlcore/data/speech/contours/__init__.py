"""Contours of speech: recordings with numbers for each frame of 40 ms, and where they come from."""
