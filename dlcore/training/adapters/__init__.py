"""Models of libraries as pure functions: one module for each library, which is imported when it is first used."""
