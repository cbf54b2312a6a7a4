"""Members of the laws: how every composition may be called, a file for each family."""
