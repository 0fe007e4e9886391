"""Settings: plain dataclasses, their checks, and their way to and from flags and files."""
