"""A look into the black box: what units of a network have to do with features that people have names for."""
